// The page of the server, while spans arrive.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { launch, open, serve } from './harness.mjs';
import { attributes, newSpan, newTrace, resource, span } from './traces.mjs';

let browser;
before(async () => {
  browser = await launch();
});
after(() => browser.close());

async function send(url, document) {
  const answer = await fetch(`${url}v1/traces`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(document) });
  assert.equal(answer.status, 200, await answer.text());
}

test('traces appear, grow, and stay when the server is gone', async () => {
  const server = await serve();
  const shown = await open(browser, server.url);
  assert.match(await shown.locator('.traces').getAttribute('data-empty'), /Waiting for traces/);
  const [trace, root] = [newTrace(), newSpan()];
  await send(server.url, { resourceSpans: [resource('shop', [span(trace, root, null, 'GET /live', 0, 1000)])] });
  await shown.locator('.trace-row', { hasText: 'GET /live' }).click();
  await shown.waitForSelector('.row:has-text("GET /live")');
  const failed = span(trace, newSpan(), root, 'SELECT late', 10, 900, { status: { code: 2, message: 'too late' } });
  await send(server.url, { resourceSpans: [resource('stock', [failed])] });
  await shown.waitForSelector('.row:has-text("SELECT late")');
  await shown.click('.errors');
  assert.equal(await shown.text('.details .error'), '✗ too late');
  assert.match(await shown.text('.live'), /^live · 2 spans/);

  await shown.click('#tab-traces');
  await shown.click('button:has-text("Pause")');
  await send(server.url, { resourceSpans: [resource('shop', [span(newTrace(), newSpan(), null, 'while paused', 0, 10)])] });
  assert.equal(await shown.text('.live'), 'paused');
  assert.equal(await shown.locator('.trace-row', { hasText: 'while paused' }).count(), 0);
  await shown.click('button:has-text("Continue")');
  await shown.waitForSelector('.trace-row:has-text("while paused")');
  assert.deepEqual(shown.problems, []);

  await server.stop();
  await shown.waitForSelector('.live.failed');
  assert.match(await shown.text('.live'), /the server does not answer/);
  assert.equal(await shown.locator('.item:not([hidden])').count(), 2, 'what was received stays');

  await shown.locator('.trace-row', { hasText: 'while paused' }).click();
  await shown.waitForSelector('.live:has-text("was not loaded")');
  // A poll, which fails as well, does not replace the reason.
  await shown.waitForEvent('requestfailed');
  await shown.waitForEvent('requestfailed');
  assert.match(await shown.text('.live'), /^The trace [0-9a-f]{32} was not loaded: /);
  assert.ok(await shown.locator('.view.list').isVisible());
  assert.equal(new URL(shown.url()).hash, '');
  await shown.locator('.trace-row', { hasText: 'GET /live' }).click();
  await shown.waitForSelector('.row:has-text("SELECT late")', { timeout: 5_000 });
  assert.deepEqual(shown.problems.filter((problem) => problem.startsWith('error')), []);
  await shown.context().close();
});

test('a late answer does not return to a trace that was left', async () => {
  const server = await serve();
  const shown = await open(browser, server.url);
  const [trace, root] = [newTrace(), newSpan()];
  await send(server.url, { resourceSpans: [resource('shop', [span(trace, root, null, 'GET /left', 0, 1000)])] });
  await shown.locator('.trace-row', { hasText: 'GET /left' }).click();
  await shown.waitForSelector('.row:has-text("GET /left")');
  let release;
  const released = new Promise((resolve) => { release = resolve; });
  await shown.route('**/trace/*', async (route) => {
    await released;
    await route.continue();
  });
  const asked = shown.waitForRequest('**/trace/*');
  const answered = shown.waitForResponse('**/trace/*');
  await send(server.url, { resourceSpans: [resource('shop', [span(trace, newSpan(), root, 'one more', 10, 900)])] });
  await asked;
  await shown.keyboard.press('t');
  await shown.waitForSelector('.view.list:not([hidden])');
  release();
  await (await answered).finished();
  // The next poll comes after the answer was read.
  await shown.waitForResponse('**/changes*');
  assert.ok(await shown.locator('.view.list').isVisible());
  assert.deepEqual(shown.problems, []);
  await shown.context().close();
  await server.stop();
});

test('the open trace stays after the server has forgotten it', async () => {
  const server = await serve('--max-mib', '1');
  const shown = await open(browser, server.url);
  const trace = newTrace();
  await send(server.url, { resourceSpans: [resource('shop', [span(trace, newSpan(), null, 'GET /old', 0, 1000)])] });
  await shown.locator('.trace-row', { hasText: 'GET /old' }).click();
  await shown.waitForSelector('.row:has-text("GET /old")');
  const text = attributes({ text: 'x'.repeat(1_000) });
  const others = Array.from({ length: 2_000 }, () => span(newTrace(), newSpan(), null, 'GET /new', 0, 10, { attributes: text }));
  await send(server.url, { resourceSpans: [resource('shop', others)] });
  await shown.waitForSelector('.live:has-text("traces forgotten")');
  assert.equal((await fetch(`${server.url}trace/${trace}`)).status, 404);
  // A poll after the one that forgot the trace.
  for (let polls = 0; polls < 2; polls += 1) await shown.waitForResponse('**/changes*');
  assert.ok(await shown.locator('.row', { hasText: 'GET /old' }).isVisible());
  assert.match(new URL(shown.url()).hash, new RegExp(`^#trace=${trace}`));
  assert.deepEqual(shown.problems, []);
  await shown.context().close();
  await server.stop();
});

test('another site reads nothing', async () => {
  const server = await serve('--demo');
  const context = await browser.newContext();
  const other = await context.newPage();
  await other.goto('data:text/html,<p>another site</p>');
  const result = await other.evaluate(async (url) => {
    const tried = [];
    for (const path of ['', 'changes?after=0']) tried.push(await fetch(url + path).then((answer) => answer.text(), () => 'refused'));
    tried.push(await fetch(`${url}v1/traces`, { method: 'POST', mode: 'no-cors', body: '{}' }).then((answer) => answer.type, () => 'refused'));
    return tried;
  }, server.url);
  assert.deepEqual(result.slice(0, 2), ['refused', 'refused']);
  const changes = await (await fetch(`${server.url}changes?after=0`)).json();
  assert.ok(changes.stats.spans > 2000, 'the data of the demo, and nothing of the other site');
  await context.close();
  await server.stop();
});

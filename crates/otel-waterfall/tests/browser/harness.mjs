// Pages in a headless Chromium, and the assertions that the tests share.

import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const setting = (name) => {
  if (!process.env[name]) throw new Error(`${name} is not set; \`cargo xtask ci browser\` sets it`);
  return process.env[name];
};

/** The program, the browser, and the folder into which npm installed playwright-core. */
export const PROGRAM = setting('OTEL_WATERFALL');
const { chromium } = createRequire(`${setting('NODE_MODULES_FOLDER')}/`)('playwright-core');
export const FOLDER = mkdtempSync(join(tmpdir(), 'otel-waterfall-browser-'));
process.on('exit', () => rmSync(FOLDER, { recursive: true, force: true }));
export const PHONE = { width: 390, height: 844 };
export const LAPTOP = { width: 1400, height: 900 };

export const launch = () => chromium.launch({ executablePath: setting('CHROMIUM'), args: ['--no-sandbox'] });

/** Writes the demo as a page; returns its URL. */
export function demo() {
  const path = join(FOLDER, 'demo.html');
  execFileSync(PROGRAM, ['--demo', '--html', path]);
  return `file://${path}`;
}

/** Writes OTLP JSON documents as a page; returns its URL. */
export function page(name, documents) {
  const [json, html] = [join(FOLDER, `${name}.json`), join(FOLDER, `${name}.html`)];
  writeFileSync(json, documents.map((document) => JSON.stringify(document)).join('\n'));
  execFileSync(PROGRAM, ['--html', html, json]);
  return `file://${html}`;
}

/** Opens a URL in a page that fails the test by any error, dialog, or request to elsewhere. */
export async function open(browser, url, { viewport = LAPTOP, ...options } = {}) {
  const context = await browser.newContext({ viewport, hasTouch: viewport === PHONE, ...options });
  const opened = await context.newPage();
  opened.problems = [];
  const problem = (text) => opened.problems.push(text);
  opened.on('pageerror', (error) => problem(`error: ${error.stack ?? error}`));
  opened.on('console', (message) => problem(`console: ${message.text()}`));
  opened.on('dialog', (dialog) => {
    problem(`dialog: ${dialog.message()}`);
    dialog.dismiss();
  });
  const { origin } = new URL(url);
  opened.on('request', (request) => {
    const to = request.url();
    if (to !== url.split('#')[0] && !to.startsWith('data:') && (origin === 'null' || !to.startsWith(origin))) problem(`request: ${to}`);
  });
  const began = performance.now();
  await opened.goto(url);
  await opened.waitForSelector('html[data-ready]');
  opened.openedAfter = performance.now() - began;
  opened.click1 = (selector) => opened.locator(selector).first().click();
  opened.text = (selector) => opened.locator(selector).first().innerText();
  opened.rows = () => opened.locator('.waterfall .row:not([hidden])');
  opened.selected = () => opened.locator('.row.selected:not([hidden]) .text').innerText();
  return opened;
}

/** Starts the server with free ports; returns its URLs, and `stop`. */
export async function serve(...more) {
  const child = spawn(PROGRAM, ['--serve', '--http-port', '0', '--grpc-port', '0', ...more], { stdio: ['ignore', 'pipe', 'inherit'] });
  let printed = '';
  const started = new Promise((resolve, reject) => {
    child.stdout.on('data', (chunk) => {
      printed += chunk;
      if (/gRPC {2}http:\S+\n/.test(printed)) resolve();
    });
    child.on('exit', (code) => reject(new Error(`the server ended with ${code}: ${printed}`)));
  });
  await started;
  const stop = () => new Promise((resolve) => {
    child.removeAllListeners('exit');
    child.on('exit', resolve);
    child.kill();
  });
  return { url: /page +(\S+)/.exec(printed)[1], stop, pid: child.pid };
}

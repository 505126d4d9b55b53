// The details of a span: attributes, events, links, resource, log records.

import { copy, h } from './dom.js';
import { clock, count, duration, moment } from './format.js';
import { KINDS, oddities } from './tree.js';

const CUT = 600;

/** Creates the panel's content. `go(trace, span)` follows a link, `close()` closes the panel. */
export function details({ store, waterfall, row, go, close }) {
  const { trace, rows, rowOf } = waterfall.tree;
  const { span, missing } = row;
  const title = h('h2', { tabindex: '-1', dir: 'auto' }, span ? span.n || '(no name)' : 'Missing parent');
  const head = h('header', {}, title, h('button', { type: 'button', class: 'close', 'aria-label': 'Close the details', onclick: close }, '✕'));
  if (!span) return [head, h('p', {}, `No span with the id ${missing} was received: it has not ended, was not sampled, or its exporter failed.`)];

  const service = trace.services[span.s];
  const parts = [head];
  parts.push(
    h('p', { class: 'facts' }, h('i', { class: `dot ${store.color(service)}` }), ' ', h('bdi', {}, service || 'unknown'), ` · ${KINDS[span.k]} · ${duration(span.d)}`),
  );
  if (span.e !== undefined) parts.push(h('p', { class: 'error', role: 'note' }, h('b', {}, '✗ '), h('bdi', {}, span.e || 'error without a description')));
  for (const note of oddities(rows, row, duration)) parts.push(h('p', { class: 'oddity' }, `! ${note}`));

  const jump = (label, index) => jumpButton(label, () => waterfall.select(index, { open: true }));
  const path = waterfall.path.get(rows.indexOf(row)) ?? [];
  const own = path.reduce((sum, [from, to]) => sum + to - from, 0);
  const basics = [
    ['starts at', `+${duration(span.t)} · ${moment(trace.t + span.t / 1000)}`],
    ['critical path', own ? `${duration(own)}, ${percentText(own / waterfall.tree.total)} of the trace` : 'not on it'],
    ['span id', span.i],
    ['trace id', trace.id],
  ];
  if (span.p !== undefined) basics.push(['parent', rowOf.has(span.p) ? jump('↑ go to the parent', rowOf.get(span.p)) : span.p]);
  if (row.children.length) basics.push(['children', jump(`↓ ${count(row.children.length, 'child').replace('childs', 'children')}`, row.children[0])]);
  if (span.o) basics.push(['recorded by', span.o]);
  parts.push(pairList(basics));

  if (span.a?.length) parts.push(foldable('Attributes', span.a.length, pairList(span.a)));
  if (span.ev?.length) {
    parts.push(
      foldable('Events', span.ev.length, ...span.ev.map(([name, at, attributes]) =>
        h('div', { class: 'event' }, h('p', {}, h('b', { class: 'mark' }), h('bdi', {}, name), h('small', {}, ` +${duration(at)}`)), pairList(attributes ?? [])))),
    );
  }
  if (span.l?.length) {
    parts.push(foldable('Links', span.l.length, ...span.l.map(([traceId, spanId, attributes]) => linkEntry({ store, trace, rowOf, jump, go }, traceId, spanId, attributes))));
  }
  const incoming = incomingLinks(waterfall.tree, span);
  if (incoming.length) parts.push(foldable('Linked from', incoming.length, ...incoming.map((index) => h('p', {}, jump(`← ${rows[index].span.n}`, index)))));
  const logs = store.logs.filter((record) => record.trace === trace.id && record.span === span.i);
  if (logs.length) {
    parts.push(foldable('Log records', logs.length, ...logs.map((record) =>
      h('div', { class: 'event' }, h('p', {}, h('small', {}, `${clock(record.t)} ${record.level} `), h('bdi', {}, record.body)), pairList(record.a ?? [])))));
  }
  const resource = trace.resources?.[span.r];
  if (resource?.length) parts.push(foldable('Resource', resource.length, pairList(resource)));
  return parts;
}

function percentText(share) {
  return share > 0 && share < 0.01 ? 'under 1 %' : `${Math.round(100 * share)} %`;
}

function incomingLinks({ rows, trace }, span) {
  const found = [];
  rows.forEach((row, index) => row.span?.l?.some(([traceId, spanId]) => traceId === trace.id && spanId === span.i) && found.push(index));
  return found;
}

function linkEntry({ store, trace, rowOf, jump, go }, traceId, spanId, attributes) {
  let target;
  if (traceId === trace.id && rowOf.has(spanId)) target = jump(`→ ${waterfallName(trace, spanId)}`, rowOf.get(spanId));
  else if (store.byId.has(traceId)) target = jumpButton(`→ ${store.byId.get(traceId).name} (another trace)`, () => go(traceId, spanId));
  else target = h('span', {}, `→ trace ${traceId}, span ${spanId}: not on this page`);
  return h('div', { class: 'event' }, h('p', {}, target), pairList(attributes ?? []));
}

function waterfallName(trace, spanId) {
  return trace.spans.find((span) => span.i === spanId)?.n ?? spanId;
}

function jumpButton(label, onclick) {
  return h('button', { type: 'button', class: 'jump', dir: 'auto', onclick }, label);
}

function foldable(title, number, ...children) {
  return h('details', { open: number <= 40 }, h('summary', {}, title, h('small', {}, ` ${number}`)), ...children);
}

function pairList(pairs) {
  return h('dl', {}, pairs.flatMap(([key, value]) => [h('dt', { dir: 'auto' }, key), h('dd', { dir: 'auto' }, value instanceof Node ? value : valueText(value))]));
}

/** A value; a long one is cut until it is asked for, a short one can be copied. */
function valueText(value) {
  const shown = h('bdi', {}, value.slice(0, CUT));
  if (value.length <= CUT) {
    return h('span', { class: 'value' }, shown, h('button', {
      type: 'button', class: 'copy', 'aria-label': `Copy ${value.slice(0, 60)}`,
      onclick: async (event) => {
        const { currentTarget } = event;
        currentTarget.textContent = (await copy(value)) ? 'copied' : 'not permitted';
      },
    }, 'copy'));
  }
  const rest = value.length - CUT;
  return h('span', { class: 'value' }, shown, h('button', {
    type: 'button', class: 'jump',
    onclick: (event) => {
      shown.textContent = value;
      event.currentTarget.remove();
    },
  }, `… ${count(rest, 'more character')}`));
}

// The page: tabs, the view of one trace, keyboard shortcuts, theme, address.

import { details } from './details.js';
import { h, setAttribute } from './dom.js';
import { count, duration, moment } from './format.js';
import { TraceList } from './list.js';
import { Logs } from './logs.js';
import { ServiceMap } from './map.js';
import { Metrics } from './metrics.js';
import { Store } from './store.js';
import { Waterfall } from './waterfall.js';

const KEYS = [
  ['↑ ↓ Home End', 'select a span'],
  ['← →', 'collapse and expand, go to the parent and the child'],
  ['Enter', 'go to the details; Escape goes back'],
  ['e  E', 'next and previous error; the first is where the errors begin'],
  ['n  N', 'next and previous match of the search'],
  ['/', 'search'],
  ['+  −  0', 'zoom in, zoom out, complete trace'],
  ['z', 'zoom to the selected span'],
  ['Shift ← →', 'move the shown range'],
  ['c', 'critical path'],
  ['t', 'list of traces'],
  ['?', 'this help'],
];

const data = JSON.parse(document.getElementById('data').textContent);
const store = new Store(data);
const main = document.querySelector('main');

const list = new TraceList(store);
const map = new ServiceMap(store, (service) => {
  list.service.value = service;
  go('');
});
const metrics = new Metrics(store);
const logs = new Logs(store, (trace, span) => go(address(trace, span)));
const waterfall = new Waterfall(store, { select: onSelect, changed: onZoom });
const tabs = [['traces', 'Traces', list], ['map', 'Services', map], ['metrics', 'Metrics', metrics], ['logs', 'Logs', logs]];

const panel = h('aside', { class: 'details', 'aria-label': 'Details of the span', hidden: true });
const trace = traceView();
const tabButtons = tabs.map(([id, label]) => h('a', { href: id === 'traces' ? '#' : `#${id}`, id: `tab-${id}` }, label));
const status = h('span', { class: 'live', role: 'status' });
const pause = h('button', { type: 'button', hidden: !store.live, onclick: onPause }, 'Pause');
const help = h('dialog', { 'aria-label': 'Keys' }, h('h2', {}, 'Keys'), h('dl', {}, KEYS.flatMap(([keys, what]) => [h('dt', {}, keys), h('dd', {}, what)])), h('form', { method: 'dialog' }, h('button', {}, 'Close')));

document.querySelector('header.top').append(
  h('nav', { 'aria-label': 'Views' }, ...tabButtons),
  h('span', { class: 'space' }), status, pause,
  h('button', { type: 'button', 'aria-label': 'Light or dark', title: 'Light or dark', onclick: onTheme }, '◐'),
  h('button', { type: 'button', class: 'keys', 'aria-label': 'Keys', title: 'Keys', onclick: () => help.showModal() }, '?'),
);
document.body.append(help);
main.append(...tabs.map(([, , view]) => view.element), trace.element);

let shown = null;
let opened = '';
/** The reason why the last trace was not loaded, until another view is opened. */
let loadProblem = '';
let updating = false;

function traceView() {
  const title = h('h1', { tabindex: '-1', dir: 'auto' });
  const facts = h('p', { class: 'facts' });
  const search = h('input', { type: 'search', placeholder: 'Search spans', 'aria-label': 'Search spans', oninput: onFind, onkeydown: onFindKey });
  const matches = h('span', { class: 'facts', role: 'status' });
  const errors = h('button', { type: 'button', class: 'errors', onclick: () => waterfall.nextError(1) });
  const critical = h('button', { type: 'button', 'aria-pressed': 'true', title: 'Critical path (c)', onclick: onCritical }, 'Critical path');
  const tool = (label, title, action) => h('button', { type: 'button', title, 'aria-label': title, onclick: action }, label);
  const reset = tool('⟲', 'Complete trace (0)', () => waterfall.zoom(0, waterfall.tree.total));
  const records = h('button', { type: 'button', onclick: () => { logs.filter(opened); go('logs'); } });
  const legend = h('ul', { class: 'legend', 'aria-label': 'Services' });
  const announce = h('p', { class: 'announce', role: 'status' });
  const element = h(
    'section', { class: 'view trace', hidden: true },
    h('div', { class: 'title-row' }, h('a', { class: 'back', href: '#', 'aria-label': 'List of traces' }, '‹'), title, errors),
    facts,
    h('div', { class: 'toolbar' }, search, matches, h('span', { class: 'group' }, tool('−', 'Zoom out (−)', () => waterfall.zoomBy(2)), tool('+', 'Zoom in (+)', () => waterfall.zoomBy(0.5)), reset), critical,
      h('span', { class: 'group' }, tool('⊟', 'Collapse what has no error', () => waterfall.collapseAll(true)), tool('⊞', 'Expand all', () => waterfall.collapseAll(false))), records),
    legend,
    h('div', { class: 'split' }, waterfall.element, panel),
    announce,
  );
  return { element, title, facts, search, matches, errors, critical, reset, legend, announce, records };
}

function address(traceId, spanId) {
  return `trace=${traceId}${spanId ? `&span=${spanId}` : ''}`;
}

/** Returns the parameters of the address. */
function addressParameters() {
  return new URLSearchParams(location.hash.slice(1));
}

function go(hash) {
  if (location.hash.slice(1) === hash) route();
  else location.hash = hash;
}

/** Shows the view that the address names. */
async function route() {
  const hash = location.hash.slice(1);
  const id = addressParameters().get('trace');
  if (id) return openTrace(id, addressParameters().get('span'));
  opened = '';
  loadProblem = '';
  showStatus();
  const found = tabs.find(([name]) => name === hash) ?? tabs[0];
  if (found[0] !== 'logs') logs.trace = '';
  show(found[2].element, found[0]);
  found[2].refresh();
  document.title = found[1];
  return undefined;
}

function show(element, tab) {
  const changed = shown !== element;
  shown = element;
  for (const view of main.children) view.hidden = view !== element;
  tabButtons.forEach((button, index) => setAttribute(button, 'aria-current', tabs[index][0] === tab ? 'page' : null));
  return changed;
}

async function openTrace(id, spanId) {
  let loaded;
  let problem = `The trace ${id} is not on this page.`;
  try {
    loaded = await store.load(id);
  } catch (error) {
    problem = `The trace ${id} was not loaded: ${error.message}`;
  }
  // The user has left the trace meanwhile.
  if (addressParameters().get('trace') !== id) return;
  // The trace that was shown last stays, also after the server has forgotten it.
  if (!loaded && waterfall.tree?.trace.id === id) loaded = waterfall.tree.trace;
  if (!loaded) {
    history.replaceState(null, '', `#${opened && address(opened, waterfall.row()?.span?.i)}`);
    if (!opened) route();
    loadProblem = problem;
    showStatus();
    return;
  }
  loadProblem = '';
  showStatus();
  const other = opened !== id;
  opened = id;
  show(trace.element, 'traces');
  if (other) {
    closeDetails();
    trace.search.value = '';
    waterfall.words = [];
  }
  document.title = loaded.name;
  const { errors, notKept } = loaded;
  trace.title.replaceChildren(h('bdi', {}, loaded.name || '(no name)'));
  const facts = [duration(loaded.d), count(loaded.n, 'span'), count(loaded.services.length, 'service'), moment(loaded.t)];
  if (loaded.continued) facts.push('more of a trace drawn before');
  if (notKept) facts.push(`${count(notKept, 'more span')} not kept`);
  trace.facts.replaceChildren(`${facts.join(' · ')} · `, h('code', {}, id));
  trace.errors.hidden = !errors;
  setAttribute(trace.errors, 'aria-label', `${count(errors, 'error')}: go to the next one`);
  trace.errors.textContent = `✗ ${count(errors, 'error')} ›`;
  const records = store.logs.filter((record) => record.trace === id).length;
  trace.records.hidden = !records;
  trace.records.textContent = count(records, 'log record');
  trace.legend.replaceChildren(...loaded.services.map((service) => h('li', {}, h('button', { type: 'button', title: 'Search the spans of this service', onclick: () => find(service) }, h('i', { class: `dot ${store.color(service)}` }), h('bdi', {}, service || 'unknown')))));
  waterfall.show(loaded);
  const index = spanId ? waterfall.tree.rowOf.get(spanId) : undefined;
  updating = true;
  if (index !== undefined && waterfall.row()?.span?.i !== spanId) waterfall.select(index, { open: true });
  updating = false;
  if (other && index === undefined) waterfall.element.focus({ preventScroll: true });
}

function onSelect(row, open, focus) {
  const visible = open || !panel.hidden;
  if (visible) {
    panel.replaceChildren(...details({ store, waterfall, row, go: (traceId, spanId) => go(address(traceId, spanId)), close: () => { closeDetails(); waterfall.element.focus(); } }));
    panel.scrollTop = 0;
    if (panel.hidden) {
      panel.hidden = false;
      waterfall.virtual.center(waterfall.placeOf.get(waterfall.selected));
    }
    if (focus) panel.querySelector('h2').focus();
  }
  const { all } = waterfall.tree.errors;
  const at = all.indexOf(waterfall.selected);
  trace.announce.textContent = at >= 0 ? `Error ${at + 1} of ${all.length}: ${row.span.n}` : '';
  if (at >= 0) trace.errors.textContent = `✗ ${at + 1} of ${count(all.length, 'error')} ›`;
  // The address names the span, so that it can be kept and sent; it is no step of the history.
  if (!updating && row.span) history.replaceState(null, '', `#${address(opened, row.span.i)}`);
}

function closeDetails() {
  panel.hidden = true;
  panel.replaceChildren();
}

function onZoom() {
  const complete = waterfall.from === 0 && waterfall.to === waterfall.tree.total;
  trace.reset.disabled = complete;
  trace.element.classList.toggle('zoomed', !complete);
}

function find(text) {
  trace.search.value = text;
  onFind();
}

function onFind() {
  waterfall.find(trace.search.value);
  trace.matches.textContent = trace.search.value.trim() ? count(waterfall.found.length, 'match').replace('matchs', 'matches') : '';
}

function onFindKey(event) {
  if (event.key === 'Enter') waterfall.step(waterfall.found, event.shiftKey ? -1 : 1);
  if (event.key === 'Escape') {
    find('');
    waterfall.element.focus();
  }
}

function onCritical() {
  waterfall.setCritical(!waterfall.critical);
  setAttribute(trace.critical, 'aria-pressed', String(waterfall.critical));
}

function onPause() {
  store.paused = !store.paused;
  pause.textContent = store.paused ? 'Continue' : 'Pause';
  refresh();
}

function onTheme() {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === 'dark' : matchMedia('(prefers-color-scheme: dark)').matches;
  root.dataset.theme = dark ? 'light' : 'dark';
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || help.open) return;
  const typing = event.target.closest('input, select, textarea');
  if (typing) return;
  const inTrace = !trace.element.hidden;
  const actions = {
    '?': () => help.showModal(),
    '/': () => (inTrace ? trace.search : list.search).focus(),
    t: () => go(''),
  };
  if (inTrace) {
    Object.assign(actions, {
      e: () => waterfall.nextError(1),
      E: () => waterfall.nextError(-1),
      n: () => waterfall.step(waterfall.found, 1),
      N: () => waterfall.step(waterfall.found, -1),
      '+': () => waterfall.zoomBy(0.5),
      '=': () => waterfall.zoomBy(0.5),
      '-': () => waterfall.zoomBy(2),
      0: () => waterfall.zoom(0, waterfall.tree.total),
      z: () => waterfall.zoomToSelected(),
      c: onCritical,
      Escape: () => {
        if (panel.hidden) go('');
        else {
          closeDetails();
          waterfall.element.focus();
        }
      },
    });
  }
  if (Object.hasOwn(actions, event.key)) {
    actions[event.key]();
    event.preventDefault();
  }
}

/** Updates the shown view after a change of the data. */
function refresh() {
  showStatus();
  const tab = tabs.find(([, , view]) => view.element === shown);
  if (tab) tab[2].refresh();
  else if (opened && store.byId.has(opened) && store.byId.get(opened).n !== waterfall.tree?.trace.n) openTrace(opened);
}

/** Shows a problem, otherwise the state of the server. */
function showStatus() {
  const problem = loadProblem || store.problem;
  status.textContent = problem || (store.live ? (store.paused ? 'paused' : liveFacts()) : '');
  status.classList.toggle('failed', Boolean(problem));
}

function liveFacts() {
  const { stats } = store;
  return stats ? `live · ${count(stats.spans, 'span')}${stats.forgotten ? `, ${stats.forgotten} traces forgotten` : ''}` : 'live';
}

addEventListener('keydown', onKey);
addEventListener('hashchange', route);
store.listeners.add(refresh);
refresh();
// A page with one trace opens it.
if (!location.hash && !store.live && store.traces.length === 1) history.replaceState(null, '', `#${address(store.traces[0].id)}`);
await route();
document.documentElement.dataset.ready = '';

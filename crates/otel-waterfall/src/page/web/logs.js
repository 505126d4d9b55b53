// Log records, each with a way to its span.

import { VirtualRows, h, setAttribute } from './dom.js';
import { clock, count } from './format.js';
import { searchWords } from './tree.js';

const LEVELS = [['0', 'all levels'], ['5', 'debug and above'], ['9', 'info and above'], ['13', 'warn and above'], ['17', 'errors']];

export class Logs {
  /** `open(trace, span)` shows the span of a record. */
  constructor(store, open) {
    Object.assign(this, { store, open, trace: '' });
    this.search = h('input', { type: 'search', placeholder: 'Search log records', 'aria-label': 'Search log records', oninput: () => this.refresh() });
    this.level = h('select', { 'aria-label': 'Level', onchange: () => this.refresh() }, ...LEVELS.map(([value, text]) => h('option', { value }, text)));
    this.only = h('button', { type: 'button', hidden: true, onclick: () => this.filter('') });
    this.facts = h('p', { class: 'facts', role: 'status' });
    this.rows = h('div', { class: 'rows', role: 'presentation' });
    this.scroller = h('div', { class: 'records', role: 'list', 'aria-label': 'Log records' }, this.rows);
    this.element = h('section', { class: 'view logs' }, h('div', { class: 'toolbar' }, this.search, this.level, this.only, this.facts), this.scroller);
    this.virtual = new VirtualRows(this.scroller, this.rows, () => this.createRow(), (element, index) => this.updateRow(element, index));
  }

  /** Shows only the records of one trace; of all for an empty id. */
  filter(trace) {
    this.trace = trace;
    this.refresh();
  }

  refresh() {
    const words = searchWords(this.search.value);
    const least = Number(this.level.value);
    const { logs } = this.store;
    this.shown = logs.filter((record) => {
      if (record.severity < least || (this.trace && record.trace !== this.trace)) return false;
      if (!words.length) return true;
      const text = `${record.body}\n${record.service}\n${record.trace ?? ''}\n${record.a.map((pair) => pair.join('=')).join('\n')}`.toLowerCase();
      return words.every((word) => text.includes(word));
    });
    this.shown.sort((a, b) => (this.trace ? a.t - b.t : b.t - a.t));
    this.only.hidden = !this.trace;
    this.only.textContent = `only trace ${this.trace.slice(0, 8)}… ✕`;
    this.facts.textContent = logs.length ? count(this.shown.length, 'log record') : 'No log records.';
    this.virtual.resize(this.shown.length, 46);
  }

  createRow() {
    const go = h('button', { type: 'button', class: 'jump', onclick: () => this.open(element.record.trace, element.record.span) }, '→ span');
    const element = h('div', { class: 'item record', role: 'listitem' }, h('span', { class: 'when' }), h('span', { class: 'level' }), h('i', { class: 'dot' }), h('span', { class: 'body', dir: 'auto' }), go, h('span', { class: 'attributes', dir: 'auto' }));
    return element;
  }

  updateRow(element, index) {
    const record = this.shown[index];
    if (element.record === record) return;
    element.record = record;
    const [when, level, dot, body, go, attributes] = element.children;
    when.textContent = clock(record.t);
    level.textContent = record.level;
    element.classList.toggle('failed', record.severity >= 17);
    element.classList.toggle('warning', record.severity >= 13 && record.severity < 17);
    dot.className = `dot ${this.store.color(record.service)}`;
    setAttribute(dot, 'title', record.service);
    body.textContent = record.body;
    setAttribute(body, 'title', record.body.slice(0, 2000));
    attributes.textContent = [record.service || 'unknown', ...record.a.map((pair) => pair.join('='))].join(' · ');
    go.hidden = !this.store.byId.has(record.trace);
  }
}

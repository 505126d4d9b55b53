// The list of traces, with search, filter and order.

import { VirtualRows, h, setAttribute } from './dom.js';
import { clock, count, duration } from './format.js';
import { matches, searchWords } from './tree.js';

const ORDERS = {
  newest: (a, b) => b.t - a.t,
  slowest: (a, b) => b.d - a.d,
  errors: (a, b) => b.errors - a.errors || b.t - a.t,
  largest: (a, b) => b.n - a.n,
};

export class TraceList {
  constructor(store, open) {
    Object.assign(this, { store, open });
    this.search = h('input', { type: 'search', id: 'search-traces', placeholder: 'Search names, services, attributes, ids', 'aria-label': 'Search traces' });
    this.failed = h('input', { type: 'checkbox', id: 'only-failed' });
    this.service = h('select', { 'aria-label': 'Service' });
    this.order = h('select', { 'aria-label': 'Order' }, ...[['newest', 'newest first'], ['slowest', 'slowest first'], ['errors', 'most errors first'], ['largest', 'most spans first']].map(([value, label]) => h('option', { value }, label)));
    this.facts = h('p', { class: 'facts', role: 'status' });
    this.rows = h('div', { class: 'rows', role: 'presentation' });
    this.scroller = h('div', { class: 'traces', role: 'list', 'aria-label': 'Traces' }, this.rows);
    this.element = h(
      'section',
      { class: 'view list' },
      h('div', { class: 'toolbar' }, this.search, h('label', { class: 'check', for: 'only-failed' }, this.failed, 'errors only'), this.service, this.order, this.facts),
      this.scroller,
    );
    this.virtual = new VirtualRows(this.scroller, this.rows, () => this.createRow(), (element, index) => this.updateRow(element, index));
    for (const [input, type] of [[this.search, 'input'], [this.failed, 'change'], [this.service, 'change'], [this.order, 'change']]) {
      input.addEventListener(type, () => {
        this.scroller.scrollTop = 0;
        this.refresh();
      });
    }
    this.scroller.addEventListener('keydown', (event) => this.onKey(event));
  }

  refresh() {
    const words = searchWords(this.search.value);
    this.fillServices();
    const service = this.service.value;
    const shown = (trace) => (!this.failed.checked || trace.errors > 0)
      && (!service || trace.services.includes(service))
      && (!words.length || hasWords(trace, words));
    this.traces = this.store.traces.filter(shown).sort(ORDERS[this.order.value]);
    this.longest = this.traces.reduce((longest, trace) => Math.max(longest, trace.d), 1);
    const failed = this.traces.filter((trace) => trace.errors).length;
    const all = this.store.traces.length;
    const shownText = this.traces.length === all ? count(all, 'trace') : `${this.traces.length} of ${count(all, 'trace')}`;
    this.facts.textContent = `${shownText}${failed ? `, ${failed} with errors` : ''}`;
    this.scroller.classList.toggle('empty', !this.traces.length);
    setAttribute(this.scroller, 'data-empty', all ? 'No trace matches.' : this.store.live ? 'Waiting for traces: send OTLP to this server.' : 'No traces.');
    this.virtual.resize(this.traces.length, 58);
  }

  fillServices() {
    const names = [...this.store.services.keys()].sort();
    if (names.join('\n') === this.names) return;
    this.names = names.join('\n');
    const { value } = this.service;
    this.service.replaceChildren(h('option', { value: '' }, 'all services'), ...names.map((name) => h('option', { value: name }, name || 'unknown')));
    this.service.value = names.includes(value) ? value : '';
  }

  createRow() {
    const link = h('a', { class: 'trace-row' }, h('span', { class: 'title', dir: 'auto' }), h('span', { class: 'time' }), h('span', { class: 'line' }), h('span', { class: 'size' }, h('i')));
    return h('div', { class: 'item', role: 'listitem' }, link);
  }

  updateRow(element, index) {
    const trace = this.traces[index];
    const link = element.firstChild;
    if (element.trace === trace && element.longest === this.longest) return;
    Object.assign(element, { trace, longest: this.longest });
    const [title, time, line, size] = link.children;
    link.href = `#trace=${trace.id}`;
    link.classList.toggle('failed', trace.errors > 0);
    title.replaceChildren(trace.errors ? h('b', { class: 'cross' }, '✗ ') : '', h('bdi', {}, trace.name || '(no name)'));
    time.textContent = duration(trace.d);
    const dots = trace.services.slice(0, 12).map((service) => h('i', { class: `dot ${this.store.color(service)}`, title: service }));
    const facts = `${trace.services.length > 1 ? count(trace.services.length, 'service') : trace.services[0] || 'unknown'} · ${count(trace.n, 'span')}`;
    line.replaceChildren(
      h('span', { class: 'dots' }, ...dots),
      h('span', {}, h('bdi', {}, facts), h('span', { class: 'when' }, ` · ${clock(trace.t)}`)),
      trace.errors ? h('span', { class: 'reason' }, `${count(trace.errors, 'error')}: `, h('bdi', {}, trace.error?.name ?? ''), trace.error?.text ? h('bdi', {}, ` — ${trace.error.text}`) : '') : '',
    );
    size.firstChild.style.width = `${(100 * trace.d) / this.longest}%`;
    setAttribute(link, 'aria-label', `${trace.name}, ${duration(trace.d)}, ${count(trace.n, 'span')}, ${count(trace.errors, 'error')}`);
  }

  onKey(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const item = event.target.closest('.item');
    if (!step || !item) return;
    event.preventDefault();
    const index = Math.max(0, Math.min(this.traces.length - 1, item.index + step));
    this.virtual.show(index);
    this.virtual.element(index)?.firstChild.focus();
  }
}

/** Returns true if one text of the trace, or of one of its spans, has all the words. */
function hasWords(trace, words) {
  const text = `${trace.name}\n${trace.id}\n${trace.services.join('\n')}\n${trace.error?.name ?? ''}\n${trace.error?.text ?? ''}`.toLowerCase();
  return words.every((word) => text.includes(word)) || trace.spans?.some((span) => matches(span, trace.services[span.s], words));
}

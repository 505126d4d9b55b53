// The waterfall of one trace: rows, zoom, selection, keyboard.

import { VirtualRows, h, setAttribute } from './dom.js';
import { count, duration, niceStep } from './format.js';
import { KINDS, criticalPath, layOut, matches, searchWords, visibleRows } from './tree.js';

const MAX_INDENT = 16;
const MAX_MARKS = 32;
const NARROW = matchMedia('(max-width: 700px)');

export class Waterfall {
  /** `events.select(row, focus)` is called when a span is selected, `events.open(row)` to show its details. */
  constructor(store, events) {
    Object.assign(this, { store, events, collapsed: new Set(), selected: -1, words: [], found: [], critical: true });
    this.axis = h('div', { class: 'axis', title: 'Drag to zoom in; double-click to see the complete trace' });
    this.grid = h('div', { class: 'grid', 'aria-hidden': 'true' });
    this.brush = h('div', { class: 'brush', hidden: true });
    this.spacer = h('div', { class: 'rows', role: 'presentation' }, this.grid, this.brush);
    this.element = h(
      'div',
      { class: 'waterfall', role: 'tree', tabindex: '0', 'aria-label': 'Spans of the trace', 'aria-multiselectable': 'false' },
      h('div', { class: 'head', role: 'presentation' }, h('span', { class: 'label' }, 'Span'), h('span', { class: 'label service' }, 'Service'), h('span', { class: 'label time' }, 'Duration'), this.axis),
      this.spacer,
    );
    this.virtual = new VirtualRows(this.element, this.spacer, () => this.createRow(), (element, place) => this.updateRow(element, place));
    this.element.addEventListener('keydown', (event) => this.onKey(event));
    this.element.addEventListener('click', (event) => this.onClick(event));
    this.element.addEventListener('dblclick', (event) => this.onDoubleClick(event));
    this.element.addEventListener('pointerdown', (event) => this.onPointerDown(event));
    this.axis.addEventListener('dblclick', () => this.zoom(0, this.tree.total));
    NARROW.addEventListener('change', () => this.tree && this.refresh());
    new ResizeObserver(() => this.tree && this.drawAxis()).observe(this.axis);
  }

  /** Shows a trace; of the trace that is shown already only the data are replaced. */
  show(trace) {
    const same = this.tree?.trace.id === trace.id;
    const selected = same ? this.row()?.span?.i : undefined;
    const complete = !same || (this.from === 0 && this.to === this.tree.total);
    this.tree = layOut(trace);
    this.path = criticalPath(this.tree.rows);
    if (!same) this.collapsed.clear();
    if (complete) Object.assign(this, { from: 0, to: this.tree.total });
    this.selected = selected === undefined ? -1 : (this.tree.rowOf.get(selected) ?? -1);
    if (!same) this.element.scrollTop = 0;
    this.find(this.words.join(' '));
  }

  refresh() {
    this.version = (this.version ?? 0) + 1;
    this.visible = visibleRows(this.tree.rows, this.collapsed);
    this.placeOf = new Map(this.visible.map((row, place) => [row, place]));
    this.drawAxis();
    this.virtual.resize(this.visible.length, NARROW.matches ? 44 : 26, this.axis.parentElement.offsetHeight);
    setAttribute(this.element, 'aria-activedescendant', this.placeOf.has(this.selected) ? `row-${this.selected}` : null);
    this.events.changed?.();
  }

  row() {
    return this.tree.rows[this.selected];
  }

  share(time) {
    return (100 * (time - this.from)) / (this.to - this.from);
  }

  drawAxis() {
    const parts = Math.max(2, Math.floor(this.axis.clientWidth / 85));
    const step = niceStep(this.to - this.from, parts);
    const first = Math.ceil(this.from / step) * step;
    // Counted, because a step below the precision of `first` adds nothing to it.
    const ticks = Array.from({ length: parts + 1 }, (_, number) => first + number * step).filter((at) => at <= this.to);
    const line = (at) => {
      const element = h('i');
      element.style.left = `${this.share(at)}%`;
      return element;
    };
    const label = (at) => {
      const element = h('span', {}, at === 0 ? '0' : duration(at));
      const share = this.share(at);
      element.style.left = `${share}%`;
      // A label at either end stays inside of the axis.
      element.className = share > 99 ? 'tick last' : share < 4 ? 'tick first' : 'tick';
      return element;
    };
    // The end is labelled, unless the last tick is next to it.
    const room = 100 - (100 * 125) / Math.max(this.axis.clientWidth, 1);
    const labelled = ticks.filter((at) => this.share(at) < room);
    this.axis.replaceChildren(...labelled.map(label), label(this.to));
    this.grid.replaceChildren(h('div', {}, ...ticks.map(line)));
  }

  createRow() {
    const toggle = h('span', { class: 'toggle', 'aria-hidden': 'true' });
    const name = h('span', { class: 'name' }, toggle, h('i', { class: 'dot' }), h('span', { class: 'text', dir: 'auto' }));
    const track = h('span', { class: 'track', 'aria-hidden': 'true' });
    return h('div', { class: 'row', role: 'treeitem' }, name, h('span', { class: 'service', dir: 'auto' }), h('span', { class: 'time' }), track);
  }

  updateRow(element, place) {
    const index = this.visible[place];
    const row = this.tree.rows[index];
    setAttribute(element, 'aria-selected', String(index === this.selected));
    element.classList.toggle('selected', index === this.selected);
    if (element.drawn === index && element.version === this.version) return;
    Object.assign(element, { drawn: index, version: this.version, id: `row-${index}` });
    const { span, missing } = row;
    const [name, service, time, track] = element.children;
    const [toggle, dot, text] = name.children;
    const id = span?.i ?? missing;
    const open = row.children.length ? !this.collapsed.has(id) : null;
    name.style.setProperty('--depth', Math.min(row.depth, MAX_INDENT));
    toggle.textContent = open === null ? '' : open ? '▾' : '▸';
    setAttribute(element, 'aria-level', row.depth + 1);
    setAttribute(element, 'aria-expanded', open === null ? null : String(open));
    setAttribute(element, 'aria-posinset', place + 1);
    setAttribute(element, 'aria-setsize', this.visible.length);
    element.classList.toggle('failed', row.failing);
    element.classList.toggle('found', this.foundSet?.has(index) ?? false);
    element.classList.toggle('dim', Boolean(this.words.length && !this.foundSet.has(index)));
    if (!span) {
      text.textContent = `(missing parent ${missing})`;
      dot.className = 'dot none';
      service.textContent = time.textContent = '';
      track.replaceChildren();
      setAttribute(element, 'aria-label', `missing parent ${missing}`);
      return;
    }
    const serviceName = this.tree.trace.services[span.s];
    const color = this.store.color(serviceName);
    const hidden = open === false ? row.end - index - 1 : 0;
    text.replaceChildren(
      row.failing ? h('b', { class: 'cross' }, '✗ ') : '',
      h('bdi', {}, span.n || '(no name)'),
      row.failing && span.e ? h('bdi', { class: 'reason' }, span.e) : '',
      hidden ? h('span', { class: row.failures ? 'more failed' : 'more' }, `+${hidden}${row.failures ? ` · ${row.failures} ✗` : ''}`) : '',
    );
    setAttribute(element, 'title', `${span.n}\n${serviceName} · ${KINDS[span.k]} · ${duration(span.d)}`);
    dot.className = `dot ${color}`;
    service.textContent = serviceName;
    time.textContent = duration(span.d);
    track.replaceChildren(...this.bar(index, span, color, row.failing));
    const label = [span.n, serviceName, KINDS[span.k], duration(span.d)];
    if (row.failing) label.push(`error: ${span.e || 'no description'}`);
    else if (row.failures) label.push(`${count(row.failures, 'error')} below`);
    setAttribute(element, 'aria-label', label.join(', '));
  }

  bar(index, span, color, failed) {
    const clamp = (share) => Math.max(0, Math.min(100, share));
    const place = (element, from, to) => {
      element.style.left = `${clamp(this.share(from))}%`;
      element.style.width = `${clamp(this.share(to)) - clamp(this.share(from))}%`;
      return element;
    };
    const inside = (from, to) => to >= this.from && from <= this.to;
    const parts = [];
    if (!inside(span.t, span.t + span.d)) {
      return [h('i', { class: span.t > this.to ? 'beyond after' : 'beyond before' }, span.t > this.to ? '▸' : '◂')];
    }
    parts.push(place(h('i', { class: `bar ${color}${failed ? ' failed' : ''}` }), span.t, span.t + span.d));
    if (this.critical) {
      for (const [from, to] of (this.path.get(index) ?? []).slice(0, MAX_MARKS)) {
        if (inside(from, to)) parts.push(place(h('i', { class: 'critical' }), from, to));
      }
    }
    for (const [name, at] of (span.ev ?? []).slice(0, MAX_MARKS)) {
      if (!inside(at, at)) continue;
      const mark = h('b', { class: 'mark', title: `${name} +${duration(at)}` });
      mark.style.left = `${clamp(this.share(at))}%`;
      parts.push(mark);
    }
    return parts;
  }

  /** Selects a row; its parents are expanded. */
  select(index, { center = true, open = false } = {}) {
    if (index < 0 || index >= this.tree.rows.length) return;
    this.selected = index;
    let expanded = false;
    for (let above = this.tree.rows[index].parent; above >= 0; above = this.tree.rows[above].parent) {
      expanded = this.collapsed.delete(this.tree.rows[above].span?.i ?? this.tree.rows[above].missing) || expanded;
    }
    if (expanded) this.refresh();
    const place = this.placeOf.get(index);
    if (center) this.virtual.center(place);
    else this.virtual.show(place);
    this.bringIntoView(this.row().span);
    setAttribute(this.element, 'aria-activedescendant', `row-${index}`);
    this.events.select(this.row(), open);
  }

  bringIntoView(span) {
    if (!span) return;
    if (span.t > this.to || span.t + span.d < this.from) {
      const half = (this.to - this.from) / 2;
      const middle = span.t + span.d / 2;
      this.zoom(middle - half, middle + half);
    }
  }

  /** Shows a range of time, in nanoseconds since the start of the trace. */
  zoom(from, to) {
    const { total } = this.tree;
    // Far from the start, numbers are less precise than a nanosecond: the range has at least some 200 of them.
    const length = Math.min(Math.max(to - from, 10, Math.min(to, total) * 2 ** -44), total);
    this.from = Math.max(0, Math.min(from, total - length));
    this.to = this.from + length;
    this.refresh();
  }

  /** Zooms by a factor around the selected span, or around the middle. */
  zoomBy(factor) {
    const { span } = this.row() ?? {};
    const middle = span && span.t <= this.to && span.t + span.d >= this.from
      ? (Math.max(span.t, this.from) + Math.min(span.t + span.d, this.to)) / 2
      : (this.from + this.to) / 2;
    const length = (this.to - this.from) * factor;
    this.zoom(middle - length / 2, middle + length / 2);
  }

  pan(share) {
    const shift = (this.to - this.from) * share;
    this.zoom(this.from + shift, this.to + shift);
  }

  zoomToSelected() {
    const { span } = this.row() ?? {};
    if (span) this.zoom(span.t - span.d * 0.1, span.t + span.d * 1.1);
  }

  setCritical(on) {
    this.critical = on;
    this.refresh();
  }

  setCollapsed(index, on) {
    const row = this.tree.rows[index];
    if (!row.children.length) return;
    const id = row.span?.i ?? row.missing;
    if (on) this.collapsed.add(id);
    else this.collapsed.delete(id);
    this.refresh();
  }

  /** Collapses every span that has neither an error nor a match below it, or expands all. */
  collapseAll(on) {
    this.collapsed.clear();
    if (on) {
      this.tree.rows.forEach((row, index) => {
        if (row.children.length && row.depth > 0 && !row.failures) this.collapsed.add(row.span?.i ?? row.missing);
        return index;
      });
    }
    this.refresh();
    if (!this.placeOf.has(this.selected)) this.selected = -1;
    this.virtual.draw();
  }

  /** Marks the spans that have the words. */
  find(text) {
    this.words = searchWords(text);
    const { rows, trace } = this.tree;
    this.found = [];
    if (this.words.length) {
      rows.forEach((row, index) => row.span && matches(row.span, trace.services[row.span.s], this.words) && this.found.push(index));
    }
    this.foundSet = new Set(this.found);
    this.refresh();
  }

  /** Selects the next or previous row of a list, around its end. */
  step(list, direction) {
    if (!list.length) return;
    const at = list.indexOf(this.selected);
    if (at >= 0) return this.select(list[(at + direction + list.length) % list.length], { open: true });
    const after = list.find((index) => index > this.selected);
    this.select(direction > 0 ? (after ?? list[0]) : (list.findLast((index) => index < this.selected) ?? list.at(-1)), { open: true });
  }

  /** Selects the next failed span. The first ones are those where errors begin. */
  nextError(direction) {
    const { all } = this.tree.errors;
    const at = all.indexOf(this.selected);
    if (all.length) this.select(all[at < 0 ? (direction > 0 ? 0 : all.length - 1) : (at + direction + all.length) % all.length], { open: true });
  }

  onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const place = this.placeOf.get(this.selected) ?? -1;
    const page = Math.max(1, Math.floor(this.element.clientHeight / this.virtual.height) - 2);
    const go = (to) => this.select(this.visible[Math.max(0, Math.min(this.visible.length - 1, to))], { center: false });
    const row = this.row();
    const actions = {
      ArrowDown: () => go(place + 1),
      ArrowUp: () => go(place < 0 ? 0 : place - 1),
      PageDown: () => go(place + page),
      PageUp: () => go(place - page),
      Home: () => go(0),
      End: () => go(this.visible.length - 1),
      ArrowRight: () => {
        if (event.shiftKey) this.pan(0.2);
        else if (row?.children.length && this.collapsed.has(row.span?.i ?? row.missing)) this.setCollapsed(this.selected, false);
        else if (row?.children.length) go(place + 1);
      },
      ArrowLeft: () => {
        if (event.shiftKey) this.pan(-0.2);
        else if (row?.children.length && !this.collapsed.has(row.span?.i ?? row.missing)) this.setCollapsed(this.selected, true);
        else if (row && row.parent >= 0) this.select(row.parent, { center: false });
      },
      Enter: () => row && this.events.select(row, true, true),
      ' ': () => row && this.setCollapsed(this.selected, !this.collapsed.has(row.span?.i ?? row.missing)),
    };
    if (actions[event.key]) {
      actions[event.key]();
      event.preventDefault();
    }
  }

  onClick(event) {
    if (this.dragged) return;
    const element = event.target.closest('.row');
    if (!element) return;
    const index = this.visible[element.index];
    if (event.target.closest('.toggle') && this.tree.rows[index].children.length) {
      const row = this.tree.rows[index];
      this.setCollapsed(index, !this.collapsed.has(row.span?.i ?? row.missing));
    } else this.select(index, { center: false, open: true });
  }

  onDoubleClick(event) {
    if (event.target.closest('.row') && !event.target.closest('.toggle')) this.zoomToSelected();
  }

  /** A drag over the axis, or with a mouse over the tracks, selects a range of time. */
  onPointerDown(event) {
    this.dragged = false;
    const area = event.target.closest('.axis') ?? (event.pointerType === 'touch' ? null : event.target.closest('.track'));
    if (!area || event.button !== 0) return;
    const box = this.axis.getBoundingClientRect();
    const at = (x) => this.from + ((this.to - this.from) * Math.max(0, Math.min(box.width, x - box.left))) / box.width;
    const start = event.clientX;
    const move = (moved) => {
      if (Math.abs(moved.clientX - start) < 5 && !this.dragged) return;
      this.dragged = true;
      const [left, right] = [Math.min(start, moved.clientX), Math.max(start, moved.clientX)];
      const origin = this.spacer.getBoundingClientRect();
      this.brush.hidden = false;
      this.brush.style.left = `${Math.max(left, box.left) - origin.left}px`;
      this.brush.style.width = `${Math.min(right, box.right) - Math.max(left, box.left)}px`;
      moved.preventDefault();
    };
    const end = (last) => {
      removeEventListener('pointermove', move);
      removeEventListener('pointerup', end);
      removeEventListener('pointercancel', end);
      this.brush.hidden = true;
      if (this.dragged && last.type === 'pointerup') {
        this.zoom(at(Math.min(start, last.clientX)), at(Math.max(start, last.clientX)));
        // The click that follows a drag is none.
        setTimeout(() => { this.dragged = false; });
      } else this.dragged = false;
    };
    addEventListener('pointermove', move);
    addEventListener('pointerup', end);
    addEventListener('pointercancel', end);
  }
}

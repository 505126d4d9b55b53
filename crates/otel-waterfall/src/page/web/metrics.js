// Metrics as small charts: one card for each instrument of a service, one line for each set of attributes.

import { h } from './dom.js';
import { clock, count, duration, quantity } from './format.js';
import { searchWords } from './tree.js';

const CHART_WIDTH = 320;
const CHART_HEIGHT = 84;
const MAX_LINES = 6;
const MAX_CARDS = 200;
const INSTANCE = 'service.instance.id';

export class Metrics {
  constructor(store) {
    this.store = store;
    this.search = h('input', { type: 'search', placeholder: 'Search metrics and services', 'aria-label': 'Search metrics', oninput: () => this.refresh() });
    this.facts = h('p', { class: 'facts', role: 'status' });
    this.cards = h('div', { class: 'cards' });
    this.element = h('section', { class: 'view metrics' }, h('div', { class: 'toolbar' }, this.search, this.facts), this.cards);
  }

  refresh() {
    const words = searchWords(this.search.value);
    const shown = this.store.metrics.filter((metric) => {
      const text = `${metric.name}\n${metric.service}\n${metric.description}`.toLowerCase();
      return words.every((word) => text.includes(word));
    });
    this.facts.textContent = this.store.metrics.length ? count(shown.length, 'metric') : 'No metrics.';
    this.cards.replaceChildren(...shown.slice(0, MAX_CARDS).map((metric) => this.card(metric)));
  }

  card(metric) {
    const lines = metric.series.toSorted((a, b) => lastValue(b) - lastValue(a)).slice(0, MAX_LINES);
    const points = lines.flatMap((series) => series.points);
    const times = points.map(([at]) => at);
    const [from, to] = [Math.min(...times), Math.max(...times)];
    const most = Math.max(...points.map(([, value]) => value), 0);
    const least = Math.min(...points.map(([, value]) => value), 0);
    const x = (at) => (to > from ? ((at - from) / (to - from)) * (CHART_WIDTH - 4) + 2 : CHART_WIDTH / 2);
    const y = (value) => CHART_HEIGHT - 3 - (most > least ? ((value - least) / (most - least)) * (CHART_HEIGHT - 8) : 0);
    const drawn = lines.map((series, index) => {
      const path = series.points.map(([at, value]) => `${x(at).toFixed(1)},${y(value).toFixed(1)}`);
      const end = series.points.at(-1);
      return h('g', { class: `line c${index}` }, path.length > 1 ? h('polyline', { points: path.join(' ') }) : null, h('circle', { cx: x(end[0]).toFixed(1), cy: y(end[1]).toFixed(1), r: 2.5 }));
    });
    // The instance is shown only where it tells lines apart.
    const instances = new Set(metric.series.map((series) => series.a.find(([key]) => key === INSTANCE)?.[1]));
    const attributes = (series) => series.a.filter(([key]) => key !== INSTANCE || instances.size > 1).map(([key, text]) => `${key}=${text}`);
    const title = metric.kind === 'histogram' ? `${metric.name} (mean)` : metric.name;
    const value = (number) => formatValue(number, metric.unit);
    return h(
      'article', { class: 'card' },
      h('h3', { dir: 'auto' }, title),
      h('p', { class: 'facts' }, h('i', { class: `dot ${this.store.color(metric.service)}` }), ' ', h('bdi', {}, metric.service || 'unknown'), ` · ${metric.kind}`),
      h('svg', { viewBox: `0 0 ${CHART_WIDTH} ${CHART_HEIGHT}`, role: 'img', preserveAspectRatio: 'none', 'aria-label': `${title}: last value ${value(lastValue(lines[0]))}, largest ${value(most)}` },
        h('title', {}, `largest ${value(most)}`), h('line', { x1: 0, x2: CHART_WIDTH, y1: y(0), y2: y(0), class: 'zero' }), ...drawn),
      h('p', { class: 'times' }, h('span', {}, to > from ? clock(from) : ''), h('span', {}, `max ${value(most)}`), h('span', {}, clock(to))),
      h('ul', {}, ...lines.map((series, index) => h('li', {}, h('i', { class: `dot c${index}` }), h('b', {}, value(lastValue(series))), h('bdi', { class: 'attributes' }, attributes(series).join(' '))))),
      metric.series.length > MAX_LINES ? h('p', { class: 'facts' }, `and ${metric.series.length - MAX_LINES} more`) : null,
      metric.description ? h('p', { class: 'description', dir: 'auto' }, metric.description) : null,
    );
  }
}

function lastValue(series) {
  return series?.points.at(-1)?.[1] ?? 0;
}

function formatValue(value, unit) {
  if (unit === 's') return duration(Math.abs(value) * 1e9);
  if (unit === 'ms') return duration(Math.abs(value) * 1e6);
  const shown = unit.startsWith('{') || unit === '1' ? '' : ` ${unit}`;
  return `${quantity(value)}${shown}`;
}

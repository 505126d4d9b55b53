// The service map: calls between services with rates, errors and durations, as a drawing and as a table.

import { h } from './dom.js';
import { count, duration, integer, quantile } from './format.js';

const NODE_WIDTH = 172;
const NODE_HEIGHT = 46;
const GAP_X = 190;
const GAP_Y = 34;

/** Adds up the calls of all traces: one edge for each pair of services. */
export function edgesOf(traces) {
  const edges = new Map();
  for (const trace of traces) {
    for (const [from, to, calls] of trace.edges ?? []) {
      const key = JSON.stringify([from, to]);
      if (!edges.has(key)) edges.set(key, { from, to, durations: [], calls: 0, errors: 0 });
      const edge = edges.get(key);
      edge.calls += calls[0];
      edge.errors += calls[1];
      edge.durations.push(...calls[2]);
    }
  }
  for (const edge of edges.values()) edge.durations.sort((a, b) => a - b);
  return [...edges.values()].sort((a, b) => b.calls - a.calls);
}

/**
 * Assigns a column to each service, by the longest path from a service that no other one calls, and a line within the
 * column, next to those that call it. `routes` has the bends of each edge that does not close a cycle.
 */
export function placesOf(services, edges) {
  const next = new Map(services.map((service) => [service, []]));
  for (const { from, to } of edges) if (from !== to) next.get(from)?.push(to);
  const state = new Map();
  const order = [];
  const forward = [];
  for (const start of services) {
    const stack = [[start, 0]];
    if (state.has(start)) continue;
    state.set(start, 'open');
    while (stack.length) {
      const top = stack.at(-1);
      const [service] = top;
      const to = next.get(service)[top[1]];
      top[1] += 1;
      if (to === undefined) {
        state.set(service, 'done');
        order.unshift(service);
        stack.pop();
      } else if (state.get(to) !== 'open') {
        forward.push([service, to]);
        if (!state.has(to)) {
          state.set(to, 'open');
          stack.push([to, 0]);
        }
      }
    }
  }
  const column = new Map(services.map((service) => [service, 0]));
  for (const service of order) {
    for (const [from, to] of forward) if (from === service) column.set(to, Math.max(column.get(to), column.get(from) + 1));
  }
  // An edge over several columns has a place of its own in each between, so that it passes no service.
  const columns = [];
  for (const service of order) (columns[column.get(service)] ??= []).push({ service, callers: [] });
  const nodes = new Map(columns.flat().map((node) => [node.service, node]));
  const routes = new Map();
  for (const [from, to] of forward) {
    let above = nodes.get(from);
    const route = [];
    for (let at = column.get(from) + 1; at < column.get(to); at += 1) {
      const bend = { callers: [above], column: at };
      columns[at].push(bend);
      route.push(bend);
      above = bend;
    }
    nodes.get(to).callers.push(above);
    routes.set(JSON.stringify([from, to]), route);
  }
  for (const members of columns) {
    const wanted = ({ callers }) => callers.reduce((sum, caller) => sum + caller.line, 0) / (callers.length || 1);
    const sorted = members.map((node) => [wanted(node), node]).sort((a, b) => a[0] - b[0]);
    sorted.forEach(([, node], at) => {
      node.line = at - (members.length - 1) / 2;
    });
  }
  for (const [service, node] of nodes) node.column = column.get(service);
  return { nodes, routes };
}

export class ServiceMap {
  constructor(store, open) {
    Object.assign(this, { store, open });
    this.element = h('section', { class: 'view map' });
  }

  refresh() {
    const { traces } = this.store;
    const edges = edgesOf(traces);
    const services = [...new Set([...traces.flatMap((trace) => trace.services.map((service) => service || 'unknown')), ...edges.flatMap(({ from, to }) => [from, to])])];
    if (!services.length) return this.element.replaceChildren(h('p', { class: 'empty-note' }, 'No traces, so no services.'));
    const first = traces.reduce((least, trace) => Math.min(least, trace.t), Infinity);
    const last = traces.reduce((most, trace) => Math.max(most, trace.t + trace.d / 1000), 0);
    const seconds = (last - first) / 1e6;
    this.element.replaceChildren(
      h('p', { class: 'facts' }, `${count(services.length, 'service')}, ${count(traces.length, 'trace')} within ${duration(seconds * 1e9)}. A line shows the rate of calls, their median duration and the share of errors; the table also has numbers and percentiles.`),
      h('div', { class: 'drawing', tabindex: '0', 'aria-label': 'Drawing of the services; the table below has the same data' }, this.drawing(services, edges, seconds)),
      this.table(edges, seconds),
    );
    return undefined;
  }

  drawing(services, edges, seconds) {
    const { nodes, routes } = placesOf(services, edges);
    const all = [...nodes.values(), ...[...routes.values()].flat()];
    const lines = all.map(({ line }) => line);
    const top = Math.min(...lines);
    const columns = Math.max(...all.map(({ column }) => column)) + 1;
    const at = ({ column, line }) => ({ x: 12 + column * (NODE_WIDTH + GAP_X), y: 30 + (line - top) * (NODE_HEIGHT + GAP_Y) });
    const width = columns * NODE_WIDTH + (columns - 1) * GAP_X + 24;
    const height = (Math.max(...lines) - top + 1) * (NODE_HEIGHT + GAP_Y) + 40;
    const tips = ['arrow', 'failed-arrow'].map((id) => h('marker', { id, viewBox: '0 0 8 8', refX: '8', refY: '4', markerWidth: '9', markerHeight: '9', markerUnits: 'userSpaceOnUse', orient: 'auto' }, h('path', { d: 'M0 0 8 4 0 8z', class: `tip ${id}` })));
    const svg = h('svg', { viewBox: `0 0 ${width} ${height}`, width, height, role: 'img', 'aria-label': `${services.length} services and ${edges.length} connections` }, h('defs', {}, ...tips));
    const most = Math.max(1, ...edges.map((edge) => edge.calls));
    const labels = [];
    for (const edge of edges) {
      const [a, b] = [at(nodes.get(edge.from)), at(nodes.get(edge.to))];
      const route = routes.get(JSON.stringify([edge.from, edge.to]));
      const middle = NODE_HEIGHT / 2;
      let path;
      let label;
      if (route) {
        // From the right side of the caller over its bends to the left side of the called service.
        let from = { x: a.x + NODE_WIDTH, y: a.y + middle };
        path = `M${from.x} ${from.y}`;
        for (const [place, bend] of [...route.map(at), b].entries()) {
          const to = { x: bend.x, y: bend.y + middle };
          path += `C${from.x + GAP_X / 2} ${from.y} ${to.x - GAP_X / 2} ${to.y} ${to.x} ${to.y}`;
          if (place === 0) label = { x: from.x + GAP_X * 0.53, y: curve(from.y, to.y, 0.55) - 6 };
          if (place < route.length) path += `H${to.x + NODE_WIDTH}`;
          from = { x: to.x + NODE_WIDTH, y: to.y };
        }
      } else {
        // A call back, or to itself, arches over both.
        const [from, to] = [{ x: a.x + NODE_WIDTH / 2, y: a.y }, { x: b.x + NODE_WIDTH / 2 - 12, y: b.y }];
        path = `M${from.x} ${from.y}C${from.x} ${from.y - 34} ${to.x} ${to.y - 34} ${to.x} ${to.y}`;
        label = { x: (from.x + to.x) / 2, y: (from.y + to.y) / 2 - 27 };
      }
      const line = h('path', { d: path, class: edge.errors ? 'edge failed' : 'edge', 'marker-end': edge.errors ? 'url(#failed-arrow)' : 'url(#arrow)', 'stroke-width': (1 + (3 * edge.calls) / most).toFixed(2) });
      const [median, slow] = [0.5, 0.95].map((share) => duration(quantile(edge.durations, share)));
      const often = seconds >= 1 ? `${formatRate(edge.calls / seconds)}/s` : `${integer(edge.calls)}×`;
      line.append(h('title', {}, `${edge.from} → ${edge.to}: ${count(edge.calls, 'call')}, ${count(edge.errors, 'error')}, p50 ${median}, p95 ${slow}`));
      svg.append(line);
      labels.push(h('text', { ...label, class: edge.errors ? 'label failed' : 'label' }, `${often} · ${median}${edge.errors ? ` · ${percent(edge.errors, edge.calls)} ✗` : ''}`));
    }
    svg.append(...labels);
    for (const service of services) {
      const { x, y } = at(nodes.get(service));
      const shown = service.length > 20 ? `${service.slice(0, 19)}…` : service || 'unknown';
      const calls = edges.filter((edge) => edge.to === service).reduce((sum, edge) => sum + edge.calls, 0);
      const node = h('g', { class: `node ${this.store.color(service)}`, role: 'button', tabindex: '0', 'aria-label': `Show the traces of ${service}`, onclick: () => this.open(service), onkeydown: (event) => event.key === 'Enter' && this.open(service) },
        h('title', {}, service),
        h('rect', { x, y, width: NODE_WIDTH, height: NODE_HEIGHT, rx: 7 }),
        h('rect', { x, y, width: 7, height: NODE_HEIGHT, rx: 3, class: 'fill' }),
        h('text', { x: x + 17, y: y + 20, class: 'service-name' }, shown),
        h('text', { x: x + 17, y: y + 36, class: 'service-calls' }, calls ? count(calls, 'call') : 'entry'));
      svg.append(node);
    }
    return svg;
  }

  table(edges, seconds) {
    const head = ['From', 'To', 'Calls', 'Rate', 'Errors', 'p50', 'p95', 'Max'];
    const rows = edges.map((edge) => h('tr', { class: edge.errors ? 'failed' : null },
      h('td', { dir: 'auto' }, h('i', { class: `dot ${this.store.color(edge.from)}` }), edge.from || 'unknown'),
      h('td', { dir: 'auto' }, h('i', { class: `dot ${this.store.color(edge.to)}` }), edge.to || 'unknown'),
      h('td', { class: 'n' }, integer(edge.calls)),
      h('td', { class: 'n' }, seconds >= 1 ? `${formatRate(edge.calls / seconds)}/s` : '–'),
      h('td', { class: 'n' }, edge.errors ? `${integer(edge.errors)} (${percent(edge.errors, edge.calls)})` : '0'),
      ...[0.5, 0.95, 1].map((share) => h('td', { class: 'n' }, duration(quantile(edge.durations, share))))));
    return h('div', { class: 'table', tabindex: '0', role: 'region', 'aria-label': 'Calls between services' }, h('table', {}, h('thead', {}, h('tr', {}, ...head.map((text, index) => h('th', { scope: 'col', class: index > 1 ? 'n' : null }, text)))), h('tbody', {}, ...rows)));
  }
}

function curve(from, to, share) {
  const rest = 1 - share;
  return rest ** 3 * from + 3 * rest ** 2 * share * from + 3 * rest * share ** 2 * to + share ** 3 * to;
}

function percent(part, total) {
  const share = (100 * part) / total;
  return `${share < 10 && share > 0 ? share.toFixed(1) : Math.round(share)} %`;
}

function formatRate(value) {
  return value >= 10 ? integer(Math.round(value)) : Number(value.toPrecision(2)).toString();
}

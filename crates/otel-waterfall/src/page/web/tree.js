// A trace as a tree of rows, its critical path, and its errors. Pure functions.

export const KINDS = ['internal', 'server', 'client', 'producer', 'consumer'];

/** Lays out a trace: every span has a row, so has a missing parent, and a cycle of parents is cut. */
export function layOut(trace) {
  const { spans } = trace;
  const byId = new Map();
  spans.forEach((span, index) => byId.has(span.i) || byId.set(span.i, index));
  const parents = spans.map((span) => (span.p === undefined ? undefined : byId.get(span.p)));
  const children = spans.map(() => []);
  parents.forEach((parent, index) => parent !== undefined && children[parent].push(index));
  const byStart = (a, b) => spans[a].t - spans[b].t || a - b;
  for (const siblings of children) siblings.sort(byStart);

  const rows = [];
  const seen = new Uint8Array(spans.length);
  const grow = (tops, parent, depth, cycle) => {
    const stack = tops.toReversed().map((index) => [index, parent, depth]);
    let note = cycle;
    while (stack.length) {
      const [index, above, level] = stack.pop();
      if (seen[index]) continue;
      seen[index] = 1;
      const row = { span: spans[index], depth: level, parent: above, children: [], end: 0, cycle: note };
      note = false;
      rows.push(row);
      if (above >= 0) rows[above].children.push(rows.length - 1);
      const here = rows.length - 1;
      for (const child of children[index].toReversed()) if (!seen[child]) stack.push([child, here, level + 1]);
    }
  };

  const order = spans.map((_, index) => index).sort(byStart);
  const tops = order.filter((index) => parents[index] === undefined);
  const orphans = Map.groupBy(
    tops.filter((index) => spans[index].p !== undefined && !spans[index].rp),
    (index) => spans[index].p,
  );
  for (const index of tops) {
    const missing = spans[index].rp ? undefined : spans[index].p;
    if (missing === undefined) grow([index], -1, 0, false);
    else if (orphans.has(missing)) {
      rows.push({ missing, depth: 0, parent: -1, children: [], end: 0 });
      grow(orphans.get(missing), rows.length - 1, 1, false);
      orphans.delete(missing);
    }
  }
  // The remaining spans descend from cycles.
  for (const index of order) if (!seen[index]) grow([onCycle(parents, index)], -1, 0, true);

  // `end` is the index after the last descendant.
  for (let index = rows.length - 1; index >= 0; index -= 1) {
    const row = rows[index];
    row.end = row.children.length ? rows[row.children.at(-1)].end : index + 1;
    row.failing = Boolean(row.span?.e !== undefined);
    row.failures = row.children.reduce((sum, child) => sum + rows[child].failures + Number(rows[child].failing), 0);
  }
  const rowOf = new Map();
  rows.forEach((row, index) => row.span && !rowOf.has(row.span.i) && rowOf.set(row.span.i, index));
  return { trace, rows, rowOf, total: Math.max(trace.d, 1), errors: errorsOf(rows) };
}

function onCycle(parents, start) {
  const passed = new Set();
  let index = start;
  while (!passed.has(index)) {
    passed.add(index);
    if (parents[index] === undefined) return index;
    index = parents[index];
  }
  return index;
}

/** Returns the rows of failed spans: first those without a failed descendant, where errors begin, then their callers. */
function errorsOf(rows) {
  const failed = rows.map((_, index) => index).filter((index) => rows[index].failing);
  const origins = failed.filter((index) => rows[index].failures === 0);
  return { origins, all: [...origins, ...failed.filter((index) => rows[index].failures > 0)] };
}

/**
 * Returns the segments of the critical path by row: the spans that ran when the trace waited for nothing else. It is
 * followed backwards from the end of each root, always into the child that ended last.
 */
export function criticalPath(rows) {
  const segments = new Map();
  const add = (row, from, to) => {
    if (to <= from) return;
    if (!segments.has(row)) segments.set(row, []);
    segments.get(row).push([from, to]);
  };
  const root = rows.reduce((best, row, index) => {
    if (row.parent !== -1 || !row.span) return best;
    return best === -1 || row.span.d > rows[best].span.d ? index : best;
  }, -1);
  const stack = root === -1 ? [] : [[root, Infinity]];
  while (stack.length) {
    const [index, until] = stack.pop();
    const { span, children } = rows[index];
    let cursor = Math.min(span.t + span.d, until);
    const byEnd = children.filter((child) => rows[child].span);
    byEnd.sort((a, b) => rows[b].span.t + rows[b].span.d - rows[a].span.t - rows[a].span.d);
    for (const child of byEnd) {
      const { t, d } = rows[child].span;
      const end = Math.min(t + d, cursor);
      if (t >= cursor || end <= span.t) continue;
      add(index, end, cursor);
      stack.push([child, end]);
      cursor = Math.max(t, span.t);
    }
    add(index, span.t, cursor);
  }
  return segments;
}

/** Returns the rows to draw, without the descendants of collapsed spans. */
export function visibleRows(rows, collapsed) {
  const visible = [];
  for (let index = 0; index < rows.length; ) {
    visible.push(index);
    const { span, missing, end } = rows[index];
    index = collapsed.has(span?.i ?? missing) ? end : index + 1;
  }
  return visible;
}

/** Returns true if any text of the span has the words, in any case. */
export function matches(span, service, words) {
  const pairs = (attributes) => attributes?.map(([key, value]) => `${key}=${value}`).join('\n') ?? '';
  const events = span.ev?.map(([name, , attributes]) => `${name}\n${pairs(attributes)}`).join('\n') ?? '';
  const text = `${span.n}\n${service}\n${span.i}\n${span.e ?? ''}\n${KINDS[span.k]}\n${pairs(span.a)}\n${events}`.toLowerCase();
  return words.every((word) => text.includes(word));
}

/** Splits a search into lower-case words. */
export function searchWords(text) {
  return text.toLowerCase().split(/\s+/).filter(Boolean);
}

/** Returns notes about a cycle, a parent in another process, and inconsistent times. */
export function oddities(rows, row, duration) {
  const { span } = row;
  const parent = rows[row.parent]?.span;
  const notes = [];
  if (row.cycle) notes.push('its parents lead back to itself');
  if (!parent && !row.cycle && span.p !== undefined && span.rp) notes.push(`called from elsewhere: parent ${span.p}`);
  if (parent && parent.t > span.t) notes.push(`starts ${duration(parent.t - span.t)} before its parent`);
  if (span.back) notes.push(`ends ${duration(span.back)} before it starts`);
  return notes;
}

// The data of the page: embedded in it, or polled from the server that sent it.

const INTERVAL = 1000;
const MAX_LOGS = 5000;

/** Traces as summaries with the newest first, log records, metrics; `load` returns a trace with its spans. */
export class Store {
  constructor(data) {
    this.live = Boolean(data.live);
    this.paused = false;
    this.problem = '';
    this.revision = 0;
    this.listeners = new Set();
    this.byId = new Map();
    this.logs = data.logs ?? [];
    this.metrics = data.metrics ?? [];
    this.services = new Map();
    for (const trace of data.traces ?? []) this.byId.set(trace.id, trace);
    this.sort();
    if (this.live) this.poll();
  }

  sort() {
    this.traces = [...this.byId.values()].sort((a, b) => b.t - a.t);
    for (const trace of this.traces) for (const service of trace.services) this.color(service);
    for (const record of this.logs) this.color(record.service);
    for (const metric of this.metrics) this.color(metric.service);
  }

  /** Returns the class of a service's colour; the same one on every view. */
  color(service) {
    if (!this.services.has(service)) this.services.set(service, this.services.size);
    const number = this.services.get(service);
    return `c${number % 12}${number >= 12 ? ' striped' : ''}`;
  }

  async load(id) {
    const known = this.byId.get(id);
    if (!this.live || known?.spans) return known;
    const answer = await fetch(`trace/${encodeURIComponent(id)}`);
    return answer.ok ? answer.json() : undefined;
  }

  async poll() {
    let more = false;
    if (!this.paused && !document.hidden) {
      try {
        const answer = await fetch(`changes?after=${this.revision}`);
        if (!answer.ok) throw new Error(`status ${answer.status}`);
        more = this.merge(await answer.json());
      } catch (error) {
        this.problem = `the server does not answer: ${error.message}`;
        this.notify();
      }
    }
    setTimeout(() => this.poll(), more ? 50 : INTERVAL);
  }

  /** Returns true if the server has more changes. */
  merge(changes) {
    if (this.server !== undefined && changes.server !== this.server) {
      // The server was restarted.
      this.byId.clear();
      this.logs = [];
      this.metrics = [];
      Object.assign(this, { server: undefined, revision: 0 });
      return true;
    }
    const changed = changes.revision !== this.revision || changes.server !== this.server || this.problem;
    Object.assign(this, { server: changes.server, revision: changes.revision, stats: changes.stats, problem: '' });
    for (const trace of changes.traces) this.byId.set(trace.id, trace);
    for (const [id, trace] of this.byId) if (trace.q < changes.oldest) this.byId.delete(id);
    this.logs = [...changes.logs, ...this.logs].slice(0, MAX_LOGS);
    if (changes.metrics) this.metrics = changes.metrics;
    if (changed) {
      this.sort();
      this.notify();
    }
    return changes.more;
  }

  notify() {
    for (const listener of this.listeners) listener();
  }
}

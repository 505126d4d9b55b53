// Durations, numbers and times as text; the same rules as `duration.rs`.

const UNITS = [[1e3, 'µs', 1e3], [1e6, 'ms', 1e3], [1e9, 's', 60]];

/** Formats nanoseconds with three significant digits and one unit below a minute, two units above. */
export function duration(nanos) {
  if (nanos < 1e3) return `${Math.round(nanos)} ns`;
  for (const [unit, name, limit] of UNITS) {
    const value = nanos / unit;
    if (Math.round(value * 100) < 1000) return `${value.toFixed(2)} ${name}`;
    const tenths = Math.round(value * 10);
    if (tenths < 1000 && tenths < limit * 10) return `${(tenths / 10).toFixed(1)} ${name}`;
    if (Math.round(value) < limit) return `${Math.round(value)} ${name}`;
  }
  const seconds = Math.round(nanos / 1e9);
  if (seconds < 3600) return `${Math.floor(seconds / 60)}m ${seconds % 60}s`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)}h ${Math.floor(seconds / 60) % 60}m`;
  const days = Math.floor(seconds / 86400);
  return days < 100 ? `${days}d ${Math.floor(seconds / 3600) % 24}h` : `${days}d`;
}

/** Formats an integer with thousands separators. */
export function integer(number) {
  return String(number).replace(/\B(?=(\d{3})+(?!\d))/g, ',');
}

/** Formats a number with a noun, in the plural unless the number is 1. */
export function count(number, noun) {
  return `${integer(number)} ${noun}${number === 1 ? '' : 's'}`;
}

/** Formats a value of a metric with at most four significant digits. */
export function quantity(value) {
  if (!Number.isFinite(value)) return String(value);
  if (Number.isInteger(value) && Math.abs(value) < 1e7) return integer(value);
  const size = Math.abs(value);
  for (const [limit, unit] of [[1e9, 'G'], [1e6, 'M'], [1e4, 'k']]) {
    if (size >= limit) return `${Number((value / (unit === 'k' ? 1e3 : limit)).toPrecision(4))}${unit}`;
  }
  return String(Number(value.toPrecision(4)));
}

const pad = (number, digits = 2) => String(number).padStart(digits, '0');

/** Formats microseconds since the Unix epoch as the local time of day. */
export function clock(micros) {
  const at = new Date(micros / 1000);
  return `${pad(at.getHours())}:${pad(at.getMinutes())}:${pad(at.getSeconds())}.${pad(at.getMilliseconds(), 3)}`;
}

/** Formats microseconds since the Unix epoch as the local date and time. */
export function moment(micros) {
  const at = new Date(micros / 1000);
  return `${at.getFullYear()}-${pad(at.getMonth() + 1)}-${pad(at.getDate())} ${clock(micros)}`;
}

/** Returns a step of 1, 2 or 5 times a power of ten, so that about `parts` steps cover the range. */
export function niceStep(range, parts) {
  const rough = Math.max(range / parts, 1);
  const power = 10 ** Math.floor(Math.log10(rough));
  return power * ([1, 2, 5].find((factor) => factor * power >= rough) ?? 10);
}

/** Returns the value at a quantile of sorted numbers; 0 if there are none. */
export function quantile(sorted, share) {
  return sorted.length ? sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] : 0;
}

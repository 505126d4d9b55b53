// OTLP JSON for the tests.

let ids = 1;
const hex = (number, digits) => number.toString(16).padStart(digits, '0');
export const newTrace = () => hex(0xabc000 + (ids += 1), 32);
export const newSpan = () => hex(0xdef000 + (ids += 1), 16);

const START = 1_767_225_600_000_000_000n;

export function attributes(pairs) {
  return Object.entries(pairs).map(([key, value]) => ({ key, value: { stringValue: value } }));
}

/** A span; times are microseconds since the start. */
export function span(trace, id, parent, name, from, to, more = {}) {
  const time = (micros) => String(START + BigInt(Math.round(micros * 1000)));
  return { traceId: trace, spanId: id, parentSpanId: parent ?? '', name, kind: 1, startTimeUnixNano: time(from), endTimeUnixNano: time(to), ...more };
}

export function resource(service, spans, more = {}) {
  return { resource: { attributes: attributes({ 'service.name': service, ...more }) }, scopeSpans: [{ scope: { name: 'tests' }, spans }] };
}

/** One trace with many spans, one of them failed. */
export function large(number, failed) {
  const trace = newTrace();
  const root = newSpan();
  const spans = [span(trace, root, null, 'large', 0, number * 10)];
  let parent = root;
  for (let index = 1; index < number; index += 1) {
    if (index % 50 === 1) parent = root;
    const id = newSpan();
    const status = index === failed ? { status: { code: 2, message: 'the one that failed' } } : {};
    spans.push(span(trace, id, parent, `span ${index}`, index * 10, index * 10 + 9 + (index % 7), { ...status, attributes: attributes({ number: String(index) }) }));
    if (index % 10 === 1) parent = id;
  }
  return { resourceSpans: [resource('large', spans)] };
}

/** A trace of many services, each called by the one before it. */
export function services(number) {
  const trace = newTrace();
  let parent = null;
  const resources = [];
  for (let index = 0; index < number; index += 1) {
    const id = newSpan();
    resources.push(resource(`service-${index}`, [span(trace, id, parent, `work ${index}`, index, 200 - index, { flags: 0x300 })]));
    parent = id;
  }
  return { resourceSpans: resources };
}

export const EVIL = [
  '<script>window.pwned = 1</script>',
  '</script><script>window.pwned = 2</script>',
  '<img src=x onerror="window.pwned = 3">',
  '" onmouseover="window.pwned = 4" x="',
  "'><svg onload=window.pwned=5>",
  'javascript:window.pwned=6',
  '</style><style>body { display: none }</style>',
  'red; } * { display: none !important; } x {',
  'url(http://evil.example/x)',
  '\u202e\u2066evil\u2069 tfel ot thgir',
  '__proto__', 'constructor', 'toString', 'hasOwnProperty',
  '\u0000\u001b[31m\u0007',
  '${window.pwned = 7}', '{{7*7}}',
  'e' + '\u0301'.repeat(500),
  '<!--', ']]>', '&lt;b&gt;',
  'x'.repeat(200_000),
];

/** Traces in which every text is hostile. */
export function hostile() {
  const resourceSpans = EVIL.map((evil) => {
    const trace = newTrace();
    const root = newSpan();
    const pairs = [{ key: evil, value: { stringValue: evil } }];
    const one = span(trace, root, null, evil, 0, 100, {
      status: { code: 2, message: evil },
      attributes: pairs,
      events: [{ name: evil, timeUnixNano: String(START + 50_000n), attributes: pairs }],
      links: [{ traceId: trace, spanId: root, attributes: pairs }],
    });
    return { resource: { attributes: [{ key: 'service.name', value: { stringValue: evil } }, ...pairs] }, scopeSpans: [{ scope: { name: evil }, spans: [one] }] };
  });
  const resourceLogs = EVIL.map((evil) => ({
    resource: { attributes: attributes({ 'service.name': evil }) },
    scopeLogs: [{ logRecords: [{ timeUnixNano: String(START), severityText: evil, body: { stringValue: evil }, attributes: [{ key: evil, value: { stringValue: evil } }] }] }],
  }));
  const resourceMetrics = EVIL.map((evil) => ({
    resource: { attributes: attributes({ 'service.name': evil }) },
    scopeMetrics: [{ metrics: [{ name: evil, unit: evil, description: evil, gauge: { dataPoints: [{ timeUnixNano: String(START), asDouble: 1, attributes: [{ key: evil, value: { stringValue: evil } }] }] } }] }],
  }));
  return { resourceSpans, resourceLogs, resourceMetrics };
}

/** One trace with all that is odd: a cycle, a missing parent, a caller elsewhere, a repeated id, extreme times. */
export function odd() {
  const trace = newTrace();
  const [root, a, b, below, missing] = [newSpan(), newSpan(), newSpan(), newSpan(), newSpan()];
  const spans = [
    span(trace, root, null, 'root', 100, 100),
    span(trace, a, b, 'cycle a', 110, 120),
    span(trace, b, a, 'cycle b', 111, 119),
    span(trace, below, missing, 'orphan', 120, 130),
    span(trace, newSpan(), missing, 'orphan', 121, 131),
    span(trace, newSpan(), missing, 'called', 122, 132, { flags: 0x300 }),
    span(trace, root, null, 'repeated', 130, 140),
    span(trace, newSpan(), root, 'early', 90, 95),
    span(trace, newSpan(), root, 'backwards', 150, 140),
    { ...span(trace, newSpan(), root, 'forever', 150, 160), endTimeUnixNano: '18446744073709551615' },
  ];
  return { resourceSpans: [resource('', spans)] };
}

/** A trace in which one span has no start time: it seems to take 56 years, and numbers at its end are precise to 256 ns. */
export function epoch() {
  const trace = newTrace();
  const root = newSpan();
  const spans = [
    { ...span(trace, root, null, 'no start', 0, 1_000), startTimeUnixNano: '0' },
    span(trace, newSpan(), root, 'short', 500, 500.3),
  ];
  return { resourceSpans: [resource('shop', spans)] };
}

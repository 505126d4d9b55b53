//! The bounds of the store, and what the page polls.

use opentelemetry::trace::SpanId;
use serde_json::Value;

use super::*;

const MIB: usize = 1 << 20;

fn span(trace: u128, id: u64) -> Span {
    Span::new(TraceId::from(trace), SpanId::from(id), "work", 1_000, 2_000).with_service("shop")
}

fn spans(spans: impl IntoIterator<Item = Span>) -> Signals {
    Signals { spans: spans.into_iter().collect(), ..Signals::default() }
}

fn log(time: u64, body: &str) -> LogRecord {
    LogRecord {
        time,
        severity: 9,
        level: "INFO".to_owned(),
        body: body.to_owned(),
        service: "shop".into(),
        attributes: Vec::new(),
        trace_id: None,
        span_id: None,
    }
}

fn changes(store: &Store, after: u64) -> Value {
    serde_json::from_str(&store.changes(after, 7)).unwrap()
}

#[test]
fn the_oldest_traces_are_forgotten() {
    let mut store = Store::new(MIB);
    let text = "x".repeat(1_000);
    for number in 1..=5_000 {
        store.add(spans([span(number, 1).with_attribute("text", text.as_str())]));
        assert!(store.trace_bytes <= MIB && store.traces.len() == store.order.len());
    }
    assert!(store.trace(TraceId::from(1)).is_none() && store.trace(TraceId::from(5_000)).is_some());
    assert_eq!(store.forgotten as usize + store.traces.len(), 5_000);
    let answer = changes(&store, 0);
    assert_eq!(answer["oldest"], store.forgotten + 1);
    assert_eq!(answer["stats"]["spans"], 5_000);
}

#[test]
fn one_large_trace_leaves_room_for_others() {
    let mut store = Store::new(MIB);
    store.add(spans([span(1, 1)]));
    for id in 1..=10_000 {
        store.add(spans([span(2, id)]));
    }
    assert!(store.trace(TraceId::from(1)).is_some(), "the older trace is kept");
    let kept = &store.traces[&TraceId::from(2)];
    assert!(kept.bytes <= MIB / 2 && kept.trace.not_kept > 0);
    assert_eq!(kept.trace.spans.len() as u64 + kept.trace.not_kept, 10_000);
}

#[test]
fn a_huge_span_is_cut() {
    let mut store = Store::new(MIB);
    let huge = "y".repeat(MIB);
    store.add(spans([span(1, 1).with_attribute(huge.as_str(), huge.as_str()), span(1, 2)]));
    assert!(store.trace_bytes < 10_000, "{}", store.trace_bytes);
    store.add(Signals { logs: vec![log(1, &huge)], ..Signals::default() });
    assert!(store.log_bytes < 10_000, "{}", store.log_bytes);
}

#[test]
fn changes_come_in_parts_and_none_is_lost() {
    let mut store = Store::new(64 * MIB);
    for number in 1..=1_000 {
        store.add(spans([span(number, 1)]));
        store.add(Signals { logs: vec![log(number as u64, "a")], ..Signals::default() });
    }
    let (mut after, mut traces, mut logs, mut answers) = (0, 0, 0, 0);
    loop {
        let answer = changes(&store, after);
        traces += answer["traces"].as_array().unwrap().len();
        logs += answer["logs"].as_array().unwrap().len();
        after = answer["revision"].as_u64().unwrap();
        answers += 1;
        if answer["more"] == false {
            break;
        }
    }
    assert_eq!((traces, logs), (1_000, 1_000));
    assert!(answers <= 5, "{answers}");
    assert_eq!(changes(&store, after)["traces"], serde_json::json!([]));
    store.add(spans([span(500, 2)]));
    let answer = changes(&store, after);
    assert_eq!((&answer["traces"][0]["n"], &answer["server"]), (&2.into(), &7.into()));
    assert!(answer["traces"][0].get("spans").is_none());
}

#[test]
fn log_records_are_bounded() {
    let mut store = Store::new(64 * MIB);
    let logs = (0..MAX_LOGS as u64 + 10).map(|time| log(time, "a")).collect();
    store.add(Signals { logs, ..Signals::default() });
    assert_eq!((store.logs.len(), store.logs[0].1.time), (MAX_LOGS, 10));
}

#[test]
fn metrics_are_sent_after_a_change() {
    let mut store = Store::new(MIB);
    let instrument = Instrument {
        service: "shop".into(),
        name: "n".repeat(5_000),
        unit: String::new(),
        description: String::new(),
        kind: "sum",
    };
    let attributes = vec![("k".to_owned(), "v".repeat(5_000)); 100];
    let point = MetricPoint { instrument: instrument.into(), attributes, time: 1_000, value: 2.0 };
    store.add(Signals { points: vec![point], ..Signals::default() });
    let answer = changes(&store, 0);
    let metric = &answer["metrics"][0];
    assert_eq!(metric["name"].as_str().unwrap().len(), MAX_SERIES_TEXT);
    assert_eq!(metric["series"][0]["a"].as_array().unwrap().len(), MAX_SERIES_ITEMS);
    let after = answer["revision"].as_u64().unwrap();
    assert!(changes(&store, after).get("metrics").is_none());
}

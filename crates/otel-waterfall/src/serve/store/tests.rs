//! The bounds of the store, and what the page polls.

use opentelemetry::trace::SpanId;
use serde_json::Value;

use super::*;
use crate::sdk::{MAX_ITEMS, MAX_TEXT};

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
fn names_and_resources_that_records_share_are_cut_and_counted() {
    let mut store = Store::new(MIB);
    let huge: Arc<str> = "y".repeat(MIB).into();
    let resource: Arc<[_]> = vec![("k".to_owned(), huge.to_string()); 200].into();
    let long = |id| {
        let one = span(1, id).with_service(Arc::clone(&huge)).with_scope(Arc::clone(&huge));
        one.with_resource(Arc::clone(&resource))
    };
    store.add(spans([long(1), long(2), span(1, 3)]));
    let kept = &store.traces[&TraceId::from(1)].trace.spans;
    assert_eq!((kept.len(), &*kept[2].service), (3, "shop"));
    for one in &kept[..2] {
        assert_eq!((one.service.len(), one.scope.len(), one.resource.len()), (MAX_TEXT, MAX_TEXT, MAX_ITEMS));
        assert!(one.resource.iter().all(|(_, value)| value.len() == MAX_TEXT));
    }
    assert!(Arc::ptr_eq(&kept[0].service, &kept[1].service), "cut names are shared");
    let resource = size_of_pairs(&kept[0].resource);
    assert!((4 * MAX_TEXT..6 * MAX_TEXT).contains(&(store.trace_bytes - resource)), "{}", store.trace_bytes);

    let record = LogRecord { service: huge, ..log(1, "a") };
    store.add(Signals { logs: vec![record], ..Signals::default() });
    assert_eq!(store.logs[0].1.service.len(), MAX_TEXT);
    assert!((MAX_TEXT..2 * MAX_TEXT).contains(&store.log_bytes), "{}", store.log_bytes);
}

#[test]
fn descriptions_of_errors_are_counted() {
    let mut store = Store::new(MIB);
    let text = "e".repeat(1_000);
    store.add(spans([span(1, 1).with_status(Status::error(text))]));
    assert!(store.trace_bytes > 1_000, "{}", store.trace_bytes);
}

#[test]
fn short_texts_and_lists_release_the_memory_of_long_ones() {
    let mut store = Store::new(MIB);
    let roomy = || {
        let mut text = String::with_capacity(MIB);
        text.push('x');
        text
    };
    let many = || {
        let mut pairs = vec![(String::new(), String::new()); 10_000];
        pairs[0] = (roomy(), roomy());
        pairs
    };
    let mut one = span(1, 1).with_status(Status::error(roomy()));
    one.name = roomy();
    one.attributes = many();
    one.resource = vec![(roomy(), roomy())].into();
    let record = LogRecord { attributes: many(), ..log(1, "a") };
    let instrument = Instrument {
        service: "shop".into(),
        name: "n".to_owned(),
        unit: String::new(),
        description: String::new(),
        kind: "sum",
    };
    let point = MetricPoint { instrument: instrument.into(), attributes: many(), time: 1_000, value: 2.0 };
    store.add(Signals { spans: vec![one], logs: vec![record], points: vec![point] });

    let kept = &store.traces[&TraceId::from(1)].trace.spans[0];
    let Status::Error { description: std::borrow::Cow::Owned(description) } = &kept.status else {
        panic!("{:?}", kept.status)
    };
    let texts = [&kept.name, description, &kept.attributes[0].0, &kept.resource[0].1];
    assert!(texts.iter().all(|text| text.capacity() <= MAX_TEXT), "{:?}", texts.map(String::capacity));
    let series = &store.metrics.instruments[0].1[0];
    let lists = [&kept.attributes, &store.logs[0].1.attributes, &series.attributes];
    assert!(lists.iter().all(|list| list.capacity() <= MAX_ITEMS), "{:?}", lists.map(Vec::capacity));
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

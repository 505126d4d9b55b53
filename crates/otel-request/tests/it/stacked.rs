//! Two protocols around one request: one span, with the attributes, events and outcome that both report.

use opentelemetry::trace::Status;
use opentelemetry_sdk::trace::SpanData;
use otel_testing::Recorder;

use crate::protocols::{Layer, Log, answer, full};

type Transport = Layer<1>;
type Rpc = Layer<2>;

fn one(recorder: &Recorder) -> SpanData {
    let mut spans = recorder.spans();
    assert_eq!(spans.len(), 1, "{}", recorder.tree());
    recorder.assert_clean();
    spans.pop().unwrap()
}

fn value(span: &SpanData, key: &str) -> Option<String> {
    let mut values = span.attributes.iter().filter(|kv| kv.key.as_str() == key);
    let value = values.next().map(|kv| kv.value.to_string());
    assert!(values.next().is_none(), "{key} is not repeated");
    value
}

async fn run(transport_outside: bool, status: Option<&str>) -> (Recorder, Vec<String>) {
    let (recorder, log) = (Recorder::new(), Log::default());
    let (transport, rpc) = (Transport::new(&recorder, &log), Rpc::new(&recorder, &log));
    if transport_outside {
        transport.run(async |_| full(rpc.run(async |_| answer(status)).await)).await;
    } else {
        rpc.run(async |_| full(transport.run(async |_| answer(status)).await)).await;
    }
    let mut log = std::mem::take(&mut *log.lock().unwrap());
    log.sort();
    (recorder, log)
}

#[tokio::test]
async fn the_span_is_the_same_in_both_orders() {
    for transport_outside in [true, false] {
        for (status, class) in [("0", None), ("13", Some("FAILED"))] {
            let (recorder, log) = run(transport_outside, Some(status)).await;
            let span = one(&recorder);
            assert_eq!(span.name, "protocol 2", "outside: {transport_outside}");
            assert_eq!(value(&span, "error.type").as_deref(), class);
            assert_eq!(matches!(span.status, Status::Error { .. }), class.is_some());
            let (outer, inner) = if transport_outside { ("All", "Protocol") } else { ("Protocol", "All") };
            assert_eq!(value(&span, "start.1").as_deref(), Some(outer));
            assert_eq!(value(&span, "start.2").as_deref(), Some(inner));
            assert_eq!(value(&span, "end.2"), Some(format!("Some({status})")));
            let mut events: Vec<_> = span.events.iter().map(|event| event.name.to_string()).collect();
            events.sort();
            assert_eq!(events, ["data.1", "data.2"]);
            let own = format!("2 {} Some({status})", class.unwrap_or("ok"));
            assert_eq!(log, ["1 ok None".to_owned(), own], "each protocol keeps its own outcome");
        }
    }
}

#[tokio::test]
async fn a_response_of_another_protocol_gets_no_outcome_and_no_metric_of_the_inner_layer() {
    let (recorder, log) = run(true, None).await;
    assert_eq!((value(&one(&recorder), "error.type"), log), (None, vec!["1 ok None".to_owned()]));
}

#[tokio::test]
async fn the_status_of_an_inner_layer_reaches_the_outer_one_of_the_same_protocol() {
    let (recorder, log) = (Recorder::new(), Log::default());
    let (outer, inner) = (Rpc::new(&recorder, &log).blind(), Rpc::new(&recorder, &log));
    outer.run(async |_| full(inner.run(async |_| answer(Some("0"))).await)).await;
    let span = one(&recorder);
    assert_eq!((value(&span, "error.type"), value(&span, "start.2")), (None, Some("All".into())));
    assert_eq!(*log.lock().unwrap(), ["2 ok Some(0)"], "recorded once, by the outer layer");
}

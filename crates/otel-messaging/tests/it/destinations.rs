//! Destination names in span names and on metrics, and the limit of their number.

use opentelemetry::Context;
use opentelemetry::trace::TraceContextExt as _;
use otel_messaging::{Destination, DestinationDescription, ParentMode};
use otel_operation::Outcome;
use otel_testing::Recorder;

use crate::support::{Headers, header, messaging, named, remote, with};

fn send(destination: &Destination) {
    destination.send("send").start(&Context::new(), |_| {}).finish(&Outcome::ok());
}

/// Returns the span's name, and the destination attributes of the span and of the metric.
fn seen(recorder: &Recorder) -> (String, Vec<String>, Vec<String>) {
    let of_destination = |attributes: &[opentelemetry::KeyValue]| {
        let mut list: Vec<_> = attributes
            .iter()
            .filter_map(|kv| Some((kv.key.as_str().strip_prefix("messaging.destination.")?, &kv.value)))
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        list.sort();
        list
    };
    let span = recorder.spans().pop().unwrap();
    let points = recorder.metric("messaging.client.sent.messages").points().to_vec();
    (span.name.to_string(), of_destination(&span.attributes), of_destination(points[0].attributes()))
}

#[test]
fn what_is_of_low_cardinality_names_spans_and_stands_on_metrics() {
    let parts = DestinationDescription::new;
    for (parts, name, on_span, on_metric) in [
        (parts().with_name("orders"), "send orders", vec!["name=orders"], vec!["name=orders"]),
        (
            parts().with_name("orders.7").with_template("orders.*"),
            "send orders.*",
            vec!["name=orders.7", "template=orders.*"],
            vec!["template=orders.*"],
        ),
        (
            parts().with_name("_INBOX.a7").with_template("_INBOX").with_temporary(true),
            "send _INBOX",
            vec!["name=_INBOX.a7", "template=_INBOX", "temporary=true"],
            vec!["template=_INBOX"],
        ),
        (
            parts().with_name("amq.gen-7").with_anonymous(true),
            "send",
            vec!["anonymous=true", "name=amq.gen-7"],
            vec![],
        ),
        (
            parts().with_name("tmp-7").with_temporary(true),
            "send",
            vec!["name=tmp-7", "temporary=true"],
            vec![],
        ),
        (parts(), "send", vec![], vec![]),
    ] {
        let recorder = Recorder::new();
        send(&messaging(&recorder).destination(&["key"], || parts.clone()));
        let (seen_name, span, metric) = seen(&recorder);
        assert_eq!(
            (seen_name.as_str(), span, metric),
            (
                name,
                on_span.iter().map(ToString::to_string).collect(),
                on_metric.iter().map(ToString::to_string).collect()
            )
        );
    }
}

#[test]
fn what_has_no_destination_is_named_after_the_broker() {
    let recorder = Recorder::new();
    let messaging = with(&recorder, |options| options.with_server("broker.example", 4222));
    send(messaging.no_destination());
    assert_eq!(seen(&recorder), ("send broker.example:4222".to_owned(), vec![], vec![]));
}

#[test]
fn past_the_bound_a_destination_is_told_by_its_spans_alone() {
    let recorder = Recorder::new();
    let messaging = messaging(&recorder);
    let subject = |number: usize| {
        let name = format!("subject-{number}");
        messaging.destination(&[&name], || {
            DestinationDescription::new().with_name(name.clone()).with_consumer_group("billing")
        })
    };
    for number in (0..600).chain(0..600) {
        send(&subject(number));
        subject(number).count_consumed("poll", 1);
    }
    for metric in ["messaging.client.sent.messages", "messaging.client.consumed.messages"] {
        let metric = recorder.metric(metric);
        assert_eq!((metric.points().len(), metric.sum()), (513, 1200.0));
        let overflow = metric.clone().without("messaging.destination.name");
        assert_eq!((overflow.points().len(), overflow.sum()), (1, 176.0));
        assert_eq!(overflow.with("messaging.consumer.group.name", "billing").sum(), 176.0);
    }
    let (name, span, _) = seen(&recorder);
    assert_eq!((name.as_str(), span), ("send", vec!["name=subject-599".to_owned()]));
}

#[test]
fn a_destination_is_prepared_once() {
    let recorder = Recorder::new();
    let messaging = messaging(&recorder);
    let made = std::cell::Cell::new(0);
    for _ in 0..3 {
        send(&messaging.destination(&["orders"], || {
            made.set(made.get() + 1);
            DestinationDescription::new().with_name("orders")
        }));
    }
    assert_eq!(made.get(), 1);
}

#[test]
fn what_the_filter_leaves_out_carries_the_context_on() {
    const OLD: &str = "00-00000000000000000000000000000005-0000000000000005-01";
    let recorder = Recorder::new();
    let messaging = with(&recorder, |options| options.with_filter(|_| false));
    let internal = named(&messaging, "internal");
    let sent = |current: &Context, own: &[(&str, &str)]| {
        let mut headers: Headers =
            own.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let send = internal.send("send").start(current, |_| {});
        send.inject(&mut headers);
        header(&headers, "traceparent").map(str::to_owned)
    };
    let passed_on = "00-00000000000000000000000000000007-0000000000000007-01";
    assert_eq!(sent(&remote(7, true), &[]).as_deref(), Some(passed_on));
    for stale in ["traceparent", "TraceParent"] {
        assert_eq!(sent(&remote(7, true), &[(stale, OLD)]).as_deref(), Some(passed_on), "of an earlier hop");
    }
    assert_eq!(sent(&Context::new(), &[("traceparent", OLD)]).as_deref(), Some(OLD));
    assert_eq!(sent(&Context::new(), &[]), None);

    let (carried, ambient) = (remote(7, true), remote(9, true));
    for (mode, current, expected) in [
        (ParentMode::ProducerIfNoAmbient, &Context::new(), 7),
        (ParentMode::ProducerIfNoAmbient, &ambient, 9),
        (ParentMode::Producer, &ambient, 7),
        (ParentMode::LinkOnly, &Context::new(), 0),
    ] {
        let process = internal.process("process").with_message(&carried).with_parent_mode(mode);
        let process = process.start(current, |_| {});
        assert_eq!(process.context().span().span_context().span_id(), expected.into(), "{mode:?}");
    }
    assert!(recorder.spans().is_empty() && recorder.metrics().is_empty());
}

#[test]
fn what_the_filter_leaves_out_is_not_recorded() {
    let recorder = Recorder::new();
    let messaging = with(&recorder, |options| options.with_filter(|name| !name.starts_with("internal")));
    let internal = named(&messaging, "internal.heartbeat");
    assert!(!internal.is_recorded());
    internal
        .send("send")
        .start(&Context::new(), |_| panic!("nobody looks"))
        .finish(&Outcome::error("timeout"));
    drop(internal.process("process").start(&Context::new(), |_| {}));
    internal.count_consumed("poll", 1);
    assert!(recorder.spans().is_empty() && recorder.metrics().is_empty());
    send(&named(&messaging, "orders"));
    send(messaging.no_destination());
    assert_eq!(recorder.spans().len(), 2);
    assert!(format!("{internal:?}").contains("recorded: false"));
}

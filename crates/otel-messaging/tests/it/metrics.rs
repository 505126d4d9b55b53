//! The four metrics: the operations that record each, and its attributes.

use opentelemetry::Context;
use otel_messaging::{DestinationDescription, OperationType};
use otel_operation::Outcome;
use otel_testing::Recorder;

use crate::support::{messaging, named, remote, with};

#[test]
fn each_operation_records_its_own() {
    let recorder = Recorder::new();
    let messaging = with(&recorder, |options| options.with_server("broker.example", 9092));
    let orders = messaging.destination(&["orders"], || {
        DestinationDescription::new()
            .with_name("orders")
            .with_consumer_group("billing")
            .with_subscription("sub")
    });
    let carried = remote(7, true);
    let none = Context::new();
    for outcome in [Outcome::ok(), Outcome::error("timed_out")] {
        for start in [
            orders.create("create"),
            orders.send("send"),
            orders.receive("poll").with_message(&carried),
            orders.process("process").with_message(&carried),
            orders.settle("commit"),
        ] {
            start.start(&none, |_| {}).finish(&outcome);
        }
    }
    let destination = "messaging.consumer.group.name=billing, messaging.destination.name=orders, \
        messaging.destination.subscription.name=sub";
    let system = "messaging.system=parrot, server.address=broker.example, server.port=9092";
    let count = |name: &str| {
        format!(
            "    {{error.type=timed_out, {destination}, messaging.operation.name={name}, {system}}} 1\n    \
            {{{destination}, messaging.operation.name={name}, {system}}} 1\n"
        )
    };
    let text = recorder.metrics();
    for expected in [
        "messaging.client.consumed.messages (counter, {message})\n".to_owned() + &count("poll"),
        "messaging.client.sent.messages (counter, {message})\n".to_owned() + &count("send"),
    ] {
        assert!(text.contains(&expected), "{expected}\nis not in\n{text}");
    }
    let duration = recorder.metric("messaging.client.operation.duration");
    assert_eq!(duration.unit(), "s");
    assert_eq!(duration.count(), 6, "three operations, twice; neither create nor process");
    assert_eq!(duration.points()[0].bounds().len(), 14);
    for (name, operation) in
        [("send", OperationType::Send), ("poll", OperationType::Receive), ("commit", OperationType::Settle)]
    {
        let own = duration.clone().with("messaging.operation.name", name);
        assert_eq!(own.clone().with("messaging.operation.type", operation.as_str()).count(), 2);
        assert_eq!(own.with("error.type", "timed_out").count(), 1);
    }
    let process = recorder.metric("messaging.process.duration");
    assert_eq!((process.count(), process.clone().with("error.type", "timed_out").count()), (2, 1));
    assert_eq!(process.points()[0].attribute("messaging.operation.type"), None);
    assert_eq!(process.points()[0].bounds().len(), 14);
}

#[test]
fn a_delivery_is_counted_once() {
    let recorder = Recorder::new();
    let orders = named(&messaging(&recorder), "orders");
    orders.count_consumed("poll", 2);
    orders.count_consumed("poll", 1);
    orders.count_consumed("poll", 0);
    orders.process("process").start(&Context::new(), |_| {}).finish(&Outcome::ok());
    let consumed = recorder.metric("messaging.client.consumed.messages");
    assert_eq!((consumed.points().len(), consumed.sum()), (1, 3.0));
}

#[test]
fn durations_are_those_of_the_spans() {
    let recorder = Recorder::new();
    let orders = named(&messaging(&recorder), "orders");
    orders.send("send").start(&Context::new(), |_| {}).finish(&Outcome::ok());
    let span = recorder.span("send orders");
    let lasted = span.end_time.duration_since(span.start_time).unwrap().as_secs_f64();
    let measured = recorder.metric("messaging.client.operation.duration").sum();
    assert!((lasted - measured).abs() < 1e-6, "{lasted} {measured}");
}

#[test]
fn an_error_class_that_cannot_be_kept_is_recorded_all_the_same() {
    let recorder = Recorder::new();
    let orders = named(&messaging(&recorder), "orders");
    for code in [17, 17, 18] {
        let failed = orders.send("send").start(&Context::new(), |_| {});
        failed.finish(&Outcome::error(code.to_string()));
    }
    let sent = recorder.metric("messaging.client.sent.messages");
    assert_eq!(sent.clone().with("error.type", "17").sum(), 2.0);
    assert_eq!(sent.with("error.type", "18").sum(), 1.0);
}

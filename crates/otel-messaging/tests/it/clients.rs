//! The facts of a client's configuration, its counters, and the options for its destinations.

use opentelemetry::Context;
use otel_messaging::{DestinationDescription, MessagingInstrumentation, Options};
use otel_operation::Outcome;
use otel_testing::Recorder;

use crate::support::{defaults, scope, with};

fn client(recorder: &Recorder, options: impl FnOnce(Options) -> Options) -> MessagingInstrumentation {
    MessagingInstrumentation::builder("parrot", scope())
        .with_client_id(Some("till-3"))
        .with_server(Some(("broker.example", 4222)))
        .with_consumer_group(Some("billing"))
        .with_subscription(Some("bills"))
        .build(options(defaults(recorder)))
}

#[test]
fn the_facts_of_a_client_are_on_all_that_it_records() {
    let recorder = Recorder::new();
    let client = client(&recorder, |options| options.with_max_destinations(1));
    let named =
        |name: &'static str| client.destination(&[name], || DestinationDescription::new().with_name(name));
    for destination in [&named("orders"), &named("beyond the limit"), client.no_destination()] {
        destination.settle("commit").start(&Context::new(), |_| {}).finish(&Outcome::ok());
        destination.count_consumed("poll", 1);
    }
    client.transaction("begin").start(&Context::new(), |_| {}).finish(&Outcome::ok());
    client.counter("parrot.rebalances", "{rebalance}", "Rebalances.").add(2);
    let facts = [
        ("messaging.consumer.group.name", "billing"),
        ("messaging.destination.subscription.name", "bills"),
        ("server.address", "broker.example"),
    ];
    for span in recorder.spans() {
        for (key, value) in facts.into_iter().chain([("messaging.client.id", "till-3")]) {
            let found: Vec<_> = span.attributes.iter().filter(|kv| kv.key.as_str() == key).collect();
            assert_eq!(found.len(), 1, "{key} of {}", span.name);
            assert_eq!(found[0].value.to_string(), value);
        }
    }
    for metric in
        ["messaging.client.operation.duration", "messaging.client.consumed.messages", "parrot.rebalances"]
    {
        for point in recorder.metric(metric).points() {
            for (key, value) in facts {
                assert_eq!(point.attribute(key).map(ToString::to_string).as_deref(), Some(value), "{metric}");
            }
            assert_eq!(point.attribute("messaging.client.id"), None, "{metric}");
        }
    }
}

#[test]
fn the_users_options_and_a_destination_take_precedence_over_the_facts() {
    let recorder = Recorder::new();
    let client = client(&recorder, |options| options.with_client_id("mine").with_server("other.example", 1));
    let orders =
        client.destination(&["orders"], || DestinationDescription::new().with_consumer_group("other"));
    orders.process("process").start(&Context::new(), |_| {}).finish(&Outcome::ok());
    let tree = recorder.tree();
    for expected in ["client.id: mine", "server.address: other.example", "group.name: other"] {
        assert_eq!(tree.matches(expected).count(), 1, "{expected}\n{tree}");
    }
    assert_eq!(tree.matches("group.name").count(), 1, "{tree}");
}

#[test]
fn a_counter_has_a_series_for_each_value_of_its_attribute() {
    let recorder = Recorder::new();
    let client = client(&recorder, |options| options);
    let rebalances = client.counter("parrot.rebalances", "{rebalance}", "Rebalances.");
    assert!(recorder.metrics().is_empty(), "nothing is exported before the first use");
    for kind in ["assign", "revoke", "assign"] {
        rebalances.add_with("parrot.kind", kind, 1);
    }
    let metric = recorder.metric("parrot.rebalances");
    assert_eq!((metric.unit(), metric.points().len()), ("{rebalance}", 2));
    assert_eq!(metric.with("parrot.kind", "assign").sum(), 2.0);
}

#[test]
fn the_users_template_names_spans_and_metrics_within_the_limit_and_beyond_it() {
    let recorder = Recorder::new();
    let client = with(&recorder, |options| {
        options.with_max_destinations(2).with_destination_template(|name| match name.split_once('.') {
            Some(("orders", _)) => Some("orders.*".to_owned()),
            Some(("panic", _)) => panic!("in the user's function"),
            _ => None,
        })
    });
    let send = |name: &str| {
        let destination =
            client.destination(&[name], || DestinationDescription::new().with_name(name.to_owned()));
        destination.send("send").start(&Context::new(), |_| {}).finish(&Outcome::ok());
    };
    for number in 0..5 {
        send(&format!("orders.{number}"));
    }
    send("bills");
    send("panic.7");
    let names: Vec<_> = recorder.spans().iter().map(|span| span.name.to_string()).collect();
    assert_eq!(names, [&["send orders.*"; 5][..], &["send", "send"]].concat());
    let sent = recorder.metric("messaging.client.sent.messages");
    assert_eq!(sent.clone().with("messaging.destination.template", "orders.*").sum(), 5.0);
    assert_eq!(sent.clone().without("messaging.destination.template").sum(), 2.0);
    assert_eq!(sent.points().len(), 2, "no name is on a metric: {}", recorder.metrics());
    for number in 0..5 {
        let name = format!("messaging.destination.name: orders.{number}\n");
        assert!(recorder.tree().contains(&name), "{name}");
    }
}

#[test]
fn a_destination_may_have_a_key_of_several_parts() {
    let recorder = Recorder::new();
    let client = with(&recorder, |options| options);
    let described = std::cell::Cell::new(0);
    for key in [["a", "b"], ["ab", ""], ["a", "b"]] {
        let destination = client.destination(&key, || {
            described.set(described.get() + 1);
            DestinationDescription::new().with_name(key.join(":"))
        });
        destination.send("publish").start(&Context::new(), |_| {}).finish(&Outcome::ok());
    }
    assert_eq!(described.get(), 2);
    let names: Vec<_> = recorder.spans().iter().map(|span| span.name.to_string()).collect();
    assert_eq!(names, ["publish a:b", "publish ab:", "publish a:b"]);
}

#[test]
fn a_filter_that_panics_leaves_nothing_out() {
    let recorder = Recorder::new();
    let client = with(&recorder, |options| options.with_filter(|_| panic!("in the user's function")));
    let orders = client.destination(&["orders"], || DestinationDescription::new().with_name("orders"));
    assert!(orders.is_recorded());
}

//! Name, kind, parent and attributes of the span of each operation.

use opentelemetry::trace::TraceContextExt as _;
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::Sampler;
use otel_messaging::{DestinationDescription, SamplerAttributes};
use otel_operation::{Outcome, StartTime};
use otel_testing::Recorder;

use crate::support::{Headers, messaging, named, remote, with};

#[test]
fn a_message_is_one_trace_from_sending_to_settling() {
    let recorder = Recorder::new();
    let messaging = with(&recorder, |options| {
        options.with_client_id("billing-1").with_server("broker.example", 4222).with_message_sizes(true)
    });
    let orders = messaging
        .destination(&["orders"], || DestinationDescription::new().with_name("orders").with_attributes([]));
    let mut headers = Headers::new();

    let sent = orders.send("publish").start(&Context::new(), |message| {
        message.message_id("m-1").conversation_id("c-1").body_size(3).envelope_size(9);
    });
    sent.inject(&mut headers);
    if let Some(span) = sent.recording() {
        span.set_attributes(otel_messaging::attributes::partition_id(2));
    }
    sent.finish(&Outcome::ok());

    let carried = messaging.extract(&headers);
    let processed = orders.process("process").with_message(&carried).start(&Context::new(), |message| {
        message.push(KeyValue::new("parrot.feathers", 7));
    });
    let settled = orders.settle("ack").start(processed.context(), |_| {});
    settled.finish(&Outcome::error("channel_closed"));
    processed.finish(&Outcome::ok());

    assert_eq!(
        recorder.tree(),
        "\
PRODUCER publish orders  #1
│   messaging.client.id: billing-1
│   messaging.destination.name: orders
│   messaging.destination.partition.id: \"2\"
│   messaging.message.body.size: 3
│   messaging.message.conversation_id: c-1
│   messaging.message.envelope.size: 9
│   messaging.message.id: m-1
│   messaging.operation.name: publish
│   messaging.operation.type: send
│   messaging.system: parrot
│   server.address: broker.example
│   server.port: 4222
└── CONSUMER process orders  ⇠ remote
    │   messaging.client.id: billing-1
    │   messaging.destination.name: orders
    │   messaging.operation.name: process
    │   messaging.operation.type: process
    │   messaging.system: parrot
    │   parrot.feathers: 7
    │   server.address: broker.example
    │   server.port: 4222
    │   link → #1
    └── CLIENT ack orders  error
            error.type: channel_closed
            messaging.client.id: billing-1
            messaging.destination.name: orders
            messaging.operation.name: ack
            messaging.operation.type: settle
            messaging.system: parrot
            server.address: broker.example
            server.port: 4222
"
    );
    recorder.assert_clean();
}

#[test]
fn receiving_lasts_from_the_wait_to_the_message_and_links_to_it() {
    let recorder = Recorder::new();
    let messaging = messaging(&recorder);
    let started = StartTime::now();
    let carried = remote(7, true);
    let orders = named(&messaging, "orders");
    let received = orders.receive("poll").with_started(started).with_message(&carried);
    received.start(&Context::new(), |_| {}).finish(&Outcome::ok());
    let span = recorder.span("poll orders");
    assert_eq!(span.start_time, started.time);
    assert_eq!(span.parent_span_id.to_string(), "0000000000000000", "it is in a trace of its own");
    assert!(recorder.tree().contains("CLIENT poll orders\n"), "{}", recorder.tree());
    assert!(recorder.tree().contains("link → remote 0000…0007/0000…0007"), "{}", recorder.tree());
}

#[test]
fn an_operation_of_no_type_of_the_conventions_has_none() {
    let recorder = Recorder::new();
    let begin = messaging(&recorder).no_destination().custom("begin").start(&Context::new(), |_| {});
    begin.finish(&Outcome::ok());
    assert_eq!(
        recorder.tree(),
        "CLIENT begin\n    messaging.operation.name: begin\n    messaging.system: parrot\n"
    );
    let duration = recorder.metric("messaging.client.operation.duration");
    assert_eq!((duration.count(), duration.without("messaging.operation.type").count()), (1, 1));
}

#[test]
fn sizes_are_opt_in_and_texts_of_strangers_are_cut() {
    let recorder = Recorder::new();
    let send = named(&messaging(&recorder), "orders").send("send").start(&Context::new(), |message| {
        message.body_size(3).message_id(&"m".repeat(9_000)).partition_id(-1).partition_id(4);
        message.peer("10.0.0.9", Some(4222)).destination_name("orders.eu");
    });
    send.finish(&Outcome::ok());
    let span = recorder.span("send orders");
    let value = |key: &str| {
        let mut found = span.attributes.iter().filter(|kv| kv.key.as_str() == key);
        found.next_back().map(|kv| kv.value.to_string())
    };
    assert_eq!(value("messaging.message.body.size"), None);
    assert_eq!(value("messaging.message.id").map(|id| id.len()), Some(512));
    assert_eq!(value("messaging.destination.partition.id").as_deref(), Some("4"));
    assert_eq!(value("network.peer.address").as_deref(), Some("10.0.0.9"));
    assert_eq!(value("network.peer.port").as_deref(), Some("4222"));
    assert_eq!(value("messaging.destination.name").as_deref(), Some("orders.eu"));
}

#[test]
fn attributes_are_built_only_where_somebody_looks() {
    let by_parent = || Sampler::ParentBased(Box::new(Sampler::AlwaysOn));
    for (sampler, sampled, input, asked, spans) in [
        (by_parent(), true, SamplerAttributes::IfParentAllows, true, 1),
        (by_parent(), false, SamplerAttributes::IfParentAllows, false, 0),
        (by_parent(), false, SamplerAttributes::Always, true, 0),
        (Sampler::AlwaysOn, false, SamplerAttributes::IfParentAllows, true, 1),
    ] {
        let recorder = Recorder::builder().with_sampler(sampler).build();
        let messaging = with(&recorder, |options| options.with_sampler_attributes(input));
        let mut was_asked = false;
        let carried = remote(7, sampled);
        let orders = named(&messaging, "orders");
        let process = orders.process("process").with_message(&carried);
        process.start(&Context::new(), |_| was_asked = true).finish(&Outcome::ok());
        assert_eq!((was_asked, recorder.spans().len()), (asked, spans));
        for span in recorder.spans() {
            assert_eq!(span.links.links.len(), 1, "a link is there, early or late");
            assert_eq!(span.links.links[0].span_context, *carried.span().span_context());
        }
        assert_eq!(recorder.metric("messaging.process.duration").count(), 1);
    }
}

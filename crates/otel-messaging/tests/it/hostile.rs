//! Property tests with hostile names, ids and headers: nothing panics, texts are truncated, and the number of series
//! is limited.

use opentelemetry::Context;
use opentelemetry::trace::TraceContextExt as _;
use otel_messaging::DestinationDescription;
use otel_operation::Outcome;
use otel_testing::Recorder;
use proptest::collection::vec;
use proptest::prelude::{Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};

use crate::support::messaging;

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[a-zö]{500,600}",
        (0..3_usize).prop_map(|kind| ["ü", "x", "\0"][kind].repeat(2_000))
    ]
}

fn headers() -> impl Strategy<Value = Vec<(String, Vec<u8>)>> {
    let name = prop_oneof![
        (0..3_usize).prop_map(|kind| ["TraceParent", "tracestate", "baggage"][kind].to_owned()),
        any::<String>(),
    ];
    let value = prop_oneof![
        vec(any::<u8>(), 0..80),
        "00-[0-9a-f]{30,34}-[0-9a-f]{14,18}-0[0-3]".prop_map(String::into_bytes),
        "[a-z]{1,4}=[a-z%;,]{0,40}".prop_map(String::into_bytes),
    ];
    vec((name, value), 0..8)
}

proptest! {
    #[test]
    fn a_message_of_a_stranger_does_no_harm(
        name in text(),
        template in proptest::option::of(text()),
        id in text(),
        (temporary, anonymous) in (any::<bool>(), any::<bool>()),
        partition in any::<i64>(),
        headers in headers(),
    ) {
        let recorder = Recorder::new();
        let messaging = messaging(&recorder);
        let parts = || {
            let parts = DestinationDescription::new().with_name(&*name).with_temporary(temporary);
            let parts = parts.with_anonymous(anonymous);
            match &template {
                Some(template) => parts.with_template(&**template),
                None => parts,
            }
        };
        let destination = messaging.destination(&[&name], parts);
        let carried = messaging.extract(&headers);
        let operation = destination.process("process").with_message(&carried).start(&Context::new(), |message| {
            message.message_id(&id).conversation_id(&id).destination_name(&id).partition_id(partition);
        });
                let mut out = Vec::new();
        let forwarded = destination.send("send").with_message(&carried).start(operation.context(), |_| {});
        forwarded.inject(&mut out);
        prop_assert!(out.iter().any(|(key, _)| key == "traceparent"));
        forwarded.finish(&Outcome::ok());
        operation.finish(&Outcome::ok());
        recorder.assert_clean();
        let valid = carried.span().span_context().is_valid();
        for span in recorder.spans() {
            prop_assert!(span.name.len() <= 520);
            prop_assert_eq!(span.links.len(), usize::from(valid));
            for kv in &span.attributes {
                prop_assert!(kv.value.to_string().len() <= 512, "{}", kv.key);
                prop_assert!(kv.key.as_str() != "messaging.destination.partition.id" || partition >= 0);
            }
        }
        for point in recorder.metric("messaging.process.duration").points() {
            for kv in point.attributes() {
                prop_assert!(kv.value.to_string().len() <= 512, "{}", kv.key);
            }
        }
    }
}

//! Arbitrary bytes as the header table of a message, as lapin reads it from a peer: receiving and forwarding the message
//! panics nowhere, the attributes are bounded, and the size that decides about the context is the encoded one.
#![no_main]

use cookie_factory::gen_simple;
use lapin::BasicProperties;
use lapin::types::generation::gen_field_table;
use lapin::types::parsing::parse_field_table;
use libfuzzer_sys::fuzz_target;
use opentelemetry::InstrumentationScope;
use opentelemetry::trace::TraceContextExt as _;
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider};
use otel_messaging::attributes::MessageAttributes;
use otel_messaging::{
    CarriedContext, Destination, InboundMessage, MessagingInstrumentation, Options, start_processing,
};
use otel_propagation::{CompositePropagator, HeaderReader, PropagatorHandle};

use crate::attributes::{Address, is_from_stream, of_delivered};
use crate::carrier::{HeaderExtractor, HeaderInjector, budget};

// The files themselves, because in the crate only the delivery of a connection calls these functions. The format of a
// file is checked in its own crate, where its tests are found.
#[expect(dead_code, reason = "a target reads a table and needs no more of the file")]
#[rustfmt::skip]
#[path = "../../crates/otel-amqp/src/attributes.rs"]
mod attributes;
#[expect(dead_code, reason = "a target reads a table and needs no more of the file")]
#[allow(unfulfilled_lint_expectations, reason = "nothing of a program is exported, which a lint of the crate asks for")]
#[rustfmt::skip]
#[path = "../../crates/otel-amqp/src/carrier.rs"]
mod carrier;

/// lapin reads nested tables by recursion, so that a deep one overflows the stack of its own parser.
const MAX_LEN: usize = 2048;

struct Received {
    destination: Destination,
    carried: CarriedContext,
    properties: BasicProperties,
}

impl InboundMessage for Received {
    fn destination(&self) -> &Destination {
        &self.destination
    }

    fn headers(&self) -> impl HeaderReader + '_ {
        HeaderExtractor::new(self.properties.headers().as_ref())
    }

    fn carried_context(&self) -> &CarriedContext {
        &self.carried
    }

    fn describe(&self, attributes: &mut MessageAttributes) {
        let address = Address { exchange: "", routing_key: "jobs" };
        of_delivered(attributes, address, "jobs", true, &self.properties, b"p");
    }

    fn is_replayed(&self) -> bool {
        is_from_stream(&self.properties)
    }
}

fuzz_target!(|data: &[u8]| {
    let Some(length) = u32::try_from(data.len()).ok().filter(|_| data.len() <= MAX_LEN) else { return };
    let encoded = [&length.to_be_bytes(), data].concat();
    let Ok((_, mut table)) = parse_field_table(&encoded[..]) else { return };
    let properties = BasicProperties::default().with_headers(table.clone());

    let exporter = InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
    let options =
        Options::new().with_tracer_provider(&provider).with_propagator(CompositePropagator::default());
    let messaging =
        MessagingInstrumentation::builder("rabbitmq", InstrumentationScope::builder("fuzz").build())
            .build(options);
    let destination = messaging.destination(&["jobs"], otel_messaging::DestinationDescription::new);
    let received = Received { destination, carried: CarriedContext::new(), properties };
    let processing = start_processing(&received);
    let own = processing.context().clone();
    processing.run_sync(|| (), |()| otel_operation::Outcome::ok());
    let spans = exporter.get_finished_spans().unwrap_or_default();
    assert_eq!(spans.len(), 1);
    assert!(spans[0].attributes.iter().all(|attribute| attribute.value.as_str().len() <= 4096));

    if let Ok(again) = gen_simple(gen_field_table(&table), Vec::new()) {
        let measured = budget(&BasicProperties::default(), 0) - budget(&received.properties, 0);
        assert_eq!(measured, again.len());
    }
    let propagation = PropagatorHandle::new(CompositePropagator::default());
    propagation.inject(&own, &mut HeaderInjector(&mut table));
    let read = propagation.extract(&HeaderExtractor::new(Some(&table)));
    assert_eq!(read.span().span_context().span_id(), own.span().span_context().span_id());
});

//! Messages as a transport shows them: sending within a budget, and receiving, processing and settling.

use std::cell::Cell;
use std::time::{Duration, SystemTime};

use opentelemetry::propagation::text_map_propagator::FieldIter;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use opentelemetry::trace::{SpanKind, TraceContextExt as _};
use opentelemetry::{Context, KeyValue};
use otel_messaging::attributes::MessageAttributes;
use otel_messaging::{
    CarriedContext, Destination, ExistingContext, HeaderBudget, InboundMessage, OutboundMessage,
    record_receive_error, record_received, start_processing, start_processing_batch, start_settling,
};
use otel_operation::Outcome;
use otel_propagation::HeaderReader;
use otel_testing::Recorder;

use crate::support::{Headers, header, messaging, named, remote, with};

#[derive(Default)]
struct Letter(Headers);

impl OutboundMessage for Letter {
    type Headers = Headers;

    fn headers(&self) -> Option<&Headers> {
        (!self.0.is_empty()).then_some(&self.0)
    }

    fn headers_mut(&mut self) -> &mut Headers {
        &mut self.0
    }

    fn describe(&self, attributes: &mut MessageAttributes) {
        attributes.message_id("m-1");
    }
}

pub(crate) struct Parcel {
    destination: Destination,
    headers: Headers,
    reads: Cell<usize>,
    carried: CarriedContext,
    partition: i64,
    offset: i64,
    pub(crate) written_at: Option<SystemTime>,
    is_replayed: bool,
}

impl InboundMessage for Parcel {
    fn destination(&self) -> &Destination {
        &self.destination
    }

    fn headers(&self) -> impl HeaderReader + '_ {
        self.reads.set(self.reads.get() + 1);
        self.headers.clone()
    }

    fn carried_context(&self) -> &CarriedContext {
        &self.carried
    }

    fn describe(&self, attributes: &mut MessageAttributes) {
        attributes.message_id("m-1");
    }

    fn identify(&self, attributes: &mut Vec<KeyValue>) {
        attributes.push(KeyValue::new("parrot.offset", self.offset));
    }

    fn partition(&self) -> Option<i64> {
        Some(self.partition)
    }

    fn written_at(&self) -> Option<SystemTime> {
        self.written_at
    }

    fn is_replayed(&self) -> bool {
        self.is_replayed
    }
}

pub(crate) fn parcel(destination: &Destination, from: u64) -> Parcel {
    let mut headers = Headers::new();
    otel_propagation::PropagatorHandle::new(otel_propagation::CompositePropagator::default())
        .inject(&remote(from, true), &mut headers);
    Parcel {
        destination: destination.clone(),
        headers,
        reads: Cell::new(0),
        carried: CarriedContext::new(),
        partition: 3,
        offset: 40 + i64::try_from(from).unwrap(),
        written_at: None,
        is_replayed: false,
    }
}

/// The growth of a message by `traceparent` alone, with eight bytes of framing.
const TRACEPARENT: usize = 11 + 55 + 8;

#[test]
fn headers_are_written_where_they_fit_and_the_message_goes_bare_where_not() {
    let recorder = Recorder::new();
    let orders = named(&messaging(&recorder), "orders");
    let old =
        ("TraceParent".to_owned(), "00-00000000000000000000000000000005-0000000000000005-01".to_owned());
    for (own, left, fits) in [
        (vec![], TRACEPARENT, true),
        (vec![], TRACEPARENT - 1, false),
        (vec![("x".to_owned(), "1".to_owned())], TRACEPARENT, true),
        (vec![old.clone()], 0, true),
        (vec![("x".to_owned(), "1".to_owned())], 0, false),
    ] {
        let mut letter = Letter(own.clone());
        let budget = HeaderBudget::bytes(left, 8);
        let sending = orders.send("publish").start_outbound(&Context::new(), &mut letter, budget);
        assert_eq!(sending.is_context_dropped(), !fits, "{own:?} {left}");
        let identity = sending.context().span().span_context().span_id().to_string();
        sending.finish(&Outcome::ok());
        let sent = header(&letter.0, "traceparent").map(str::to_owned);
        assert_eq!(sent.is_some_and(|sent| sent.contains(&identity)), fits);
        if !fits {
            assert_eq!(letter.0, own, "the message goes out as it is");
        }
    }
    recorder.assert_clean();
}

/// A propagator that writes a short header and one of 20,000 bytes.
#[derive(Debug)]
struct LongPropagator;

impl TextMapPropagator for LongPropagator {
    fn inject_context(&self, _: &Context, injector: &mut dyn Injector) {
        injector.set("short", "1".to_owned());
        injector.set("long", "x".repeat(20_000));
    }

    fn extract_with_context(&self, context: &Context, _: &dyn Extractor) -> Context {
        context.clone()
    }

    fn fields(&self) -> FieldIter<'_> {
        FieldIter::new(&[])
    }
}

#[test]
fn no_propagator_exceeds_a_large_budget() {
    let recorder = Recorder::new();
    let orders = with(&recorder, |options| options.with_propagator(LongPropagator));
    let orders = named(&orders, "orders");
    for (left, names) in [(30_000, &["short", "long"][..]), (20_000, &["short"]), (16_000, &[])] {
        let mut letter = Letter(Vec::new());
        let budget = HeaderBudget::bytes(left, 8);
        let sending = orders.send("publish").start_outbound(&Context::new(), &mut letter, budget);
        let sent: Vec<_> = letter.0.iter().map(|(name, _)| &**name).collect();
        assert_eq!(sent, names, "{left}");
        assert_eq!(sending.is_context_dropped(), names.len() < 2, "{left}");
        sending.finish(&Outcome::ok());
    }
    recorder.assert_clean();
}

#[test]
fn a_message_that_keeps_its_context_needs_no_budget() {
    let recorder = Recorder::new();
    let orders = with(&recorder, |options| options.with_existing_context(ExistingContext::Preserve));
    let orders = named(&orders, "orders");
    let mut letter = Letter(parcel(&orders, 5).headers);
    let budget = HeaderBudget::bytes(0, 0);
    let sending = orders.send("publish").start_outbound(&Context::new(), &mut letter, budget);
    assert!(!sending.is_context_dropped() && !sending.injects());
}

#[test]
fn a_request_is_a_clients_span_whose_context_is_injected() {
    let recorder = Recorder::new();
    let orders = named(&messaging(&recorder), "orders");
    let mut letter = Letter(parcel(&orders, 5).headers);
    let request = orders.request("request").with_error_if_dropped("unknown");
    let request = request.start_outbound(&Context::new(), &mut letter, HeaderBudget::Unlimited);
    let identity = request.context().span().span_context().span_id().to_string();
    assert!(header(&letter.0, "traceparent").unwrap().contains(&identity));
    drop(request);
    let span = recorder.span("request orders");
    assert_eq!((span.span_kind, span.links.len()), (SpanKind::Client, 1));
    let sent = recorder.metric("messaging.client.sent.messages");
    assert_eq!(sent.with("error.type", "unknown").sum(), 1.0);
    let duration = recorder.metric("messaging.client.operation.duration");
    assert_eq!(duration.with("messaging.operation.type", "send").count(), 1);
}

#[test]
fn the_context_of_a_message_is_read_once() {
    let recorder = Recorder::new();
    let messaging = with(&recorder, |options| options.with_receive_spans(true));
    let message = parcel(&named(&messaging, "orders"), 7);
    record_received(&message, "fetch", messaging.receive_start());
    start_processing(&message).finish(&Outcome::ok());
    start_settling(&message, "ack").finish(&Outcome::ok());
    assert_eq!(message.reads.get(), 1);
    let expected = "\
CONSUMER process orders  ⇠ remote 0000…0007/0000…0007
    messaging.destination.name: orders
    messaging.message.id: m-1
    messaging.operation.name: process
    messaging.operation.type: process
    messaging.system: parrot
    link → remote 0000…0007/0000…0007
CLIENT ack orders
    messaging.destination.name: orders
    messaging.destination.partition.id: \"3\"
    messaging.operation.name: ack
    messaging.operation.type: settle
    messaging.system: parrot
    parrot.offset: 47
    link → remote 0000…0007/0000…0007
CLIENT fetch orders
    messaging.destination.name: orders
    messaging.message.id: m-1
    messaging.operation.name: fetch
    messaging.operation.type: receive
    messaging.system: parrot
    link → remote 0000…0007/0000…0007
";
    let mut blocks: Vec<_> = recorder.tree().split_inclusive('\n').map(str::to_owned).collect();
    let mut wanted: Vec<_> = expected.split_inclusive('\n').map(str::to_owned).collect();
    blocks.sort();
    wanted.sort();
    assert_eq!(blocks, wanted, "{}", recorder.tree());
    assert_eq!(recorder.metric("messaging.client.consumed.messages").sum(), 1.0);
    recorder.assert_clean();
}

#[test]
fn receiving_is_a_count_unless_spans_are_wanted() {
    let recorder = Recorder::new();
    let messaging = messaging(&recorder);
    record_received(&parcel(&named(&messaging, "orders"), 7), "fetch", messaging.receive_start());
    record_receive_error(&messaging, "fetch", messaging.receive_start(), &Outcome::error("timeout"));
    assert!(recorder.spans().is_empty());
    assert_eq!(recorder.metric("messaging.client.consumed.messages").sum(), 1.0);
}

#[test]
fn the_age_of_a_message_is_recorded_if_it_has_a_timestamp() {
    let recorder = Recorder::new();
    let messaging = with(&recorder, |options| options.with_message_age(true));
    let orders = named(&messaging, "orders");
    let now = SystemTime::now();
    for (written_at, ages) in [
        (None, None),
        (Some(now - Duration::from_secs(90)), Some(90.0..150.0)),
        (Some(now + Duration::from_secs(90)), Some(0.0..0.1)),
    ] {
        let message = Parcel { written_at, ..parcel(&orders, 7) };
        start_processing(&message).finish(&Outcome::ok());
        let span = recorder.spans().pop().unwrap();
        let age = span.attributes.iter().find(|kv| kv.key.as_str() == "messaging.message.age");
        let age = age.map(|kv| match kv.value {
            opentelemetry::Value::F64(age) => age,
            ref other => panic!("{other:?}"),
        });
        assert_eq!(age.is_some(), ages.is_some());
        assert!(age.is_none_or(|age| ages.unwrap().contains(&age)), "{age:?}");
    }
}

#[test]
fn a_message_that_is_left_out_keeps_its_context_where_it_is_preserved() {
    const OLD: &str = "00-00000000000000000000000000000005-0000000000000005-01";
    for (existing, sent) in [
        (ExistingContext::Preserve, OLD),
        (ExistingContext::ReplaceAndLink, "00-00000000000000000000000000000007-0000000000000007-01"),
    ] {
        let recorder = Recorder::new();
        let messaging =
            with(&recorder, |options| options.with_filter(|_| false).with_existing_context(existing));
        let mut letter = Letter(vec![("traceparent".into(), OLD.into())]);
        let internal = named(&messaging, "internal");
        let send = internal.send("send");
        drop(send.start_outbound(&remote(7, true), &mut letter, HeaderBudget::Unlimited));
        assert_eq!(header(&letter.0, "traceparent"), Some(sent), "{existing:?}");
        assert!(recorder.spans().is_empty());
    }
}

#[test]
fn a_replayed_message_never_makes_its_producer_a_parent() {
    let recorder = Recorder::new();
    let message = Parcel { is_replayed: true, ..parcel(&named(&messaging(&recorder), "orders"), 7) };
    start_processing(&message).finish(&Outcome::ok());
    let span = recorder.span("process orders");
    assert_eq!((span.parent_span_id, span.links.len()), (0.into(), 1));
}

#[test]
fn a_batch_has_what_is_equal_on_its_span_and_what_differs_on_its_links() {
    let recorder = Recorder::new();
    let messaging = with(&recorder, |options| options.with_filter(|name| name != "secret"));
    let (orders, bills) = (named(&messaging, "orders"), named(&messaging, "bills"));
    let secret = named(&messaging, "secret");
    let batch = |messages: &[Parcel]| {
        start_processing_batch(&messaging, messages).finish(&Outcome::ok());
        recorder.spans().last().map(|span| {
            let partition = |list: &[KeyValue]| {
                list.iter().any(|kv| kv.key.as_str() == "messaging.destination.partition.id")
            };
            let count = span.attributes.iter().find(|kv| kv.key.as_str() == "messaging.batch.message_count");
            let links: Vec<_> = span.links.iter().map(|link| partition(&link.attributes)).collect();
            (span.name.to_string(), partition(&span.attributes), links, count.map(|kv| kv.value.clone()))
        })
    };
    // Messages of a destination that is left out are neither counted nor linked; with nothing else there is no span.
    assert_eq!(batch(&[parcel(&secret, 1)]), None);
    let same = batch(&[parcel(&orders, 1), parcel(&secret, 2), parcel(&orders, 3)]);
    assert_eq!(same, Some(("process orders".to_owned(), true, vec![false; 2], Some(2.into()))));
    let partitions = [parcel(&orders, 1), Parcel { partition: 4, ..parcel(&orders, 2) }];
    assert_eq!(batch(&partitions), Some(("process orders".to_owned(), false, vec![true; 2], Some(2.into()))));
    let destinations = [parcel(&orders, 1), parcel(&bills, 2)];
    assert_eq!(batch(&destinations), Some(("process".to_owned(), false, vec![true; 2], Some(2.into()))));
    assert_eq!(batch(&[]), Some(("process".to_owned(), false, vec![], Some(0.into()))));
}

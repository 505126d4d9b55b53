//! All that is recorded is in the registry of the conventions, or listed in docs/conventions.md.

use std::time::SystemTime;

use opentelemetry::Context;
use otel_messaging::{DestinationDescription, MAX_LINKS, attributes, start_processing};
use otel_operation::Outcome;
use otel_propagation::link_to;
use otel_testing::Recorder;
use otel_testing::registry::{ConventionCheck, ProjectNames};

use crate::messages::parcel;
use crate::support::{Headers, remote, with};

const DOCUMENT: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/conventions.md"));

#[test]
fn names_units_instruments_and_descriptions_are_the_registrys() {
    let recorder = Recorder::new();
    let messaging = with(&recorder, |options| {
        options
            .with_message_sizes(true)
            .with_message_age(true)
            .with_client_id("till-3")
            .with_server("broker.example", 9092)
    });
    let orders = messaging.destination(&["orders"], || {
        DestinationDescription::new()
            .with_name("orders.7")
            .with_template("orders.*")
            .with_temporary(true)
            .with_anonymous(true)
            .with_consumer_group("billing")
            .with_subscription("bills")
    });
    let mut headers = Headers::new();
    let sending = orders.send("send").start(&Context::new(), |message| {
        message.body_size(3).envelope_size(9).message_id("1").conversation_id("2");
    });
    sending.inject(&mut headers);
    sending.finish(&Outcome::error("timeout"));
    let links = (0..MAX_LINKS + 1).map(|id| link_to(&remote(id as u64 + 1, true), []));
    let batch = orders.receive("poll").with_batch(links).start(&Context::new(), |_| {});
    batch.finish(&Outcome::ok());
    let mut message = parcel(&orders, 7);
    message.written_at = Some(SystemTime::now());
    start_processing(&message).finish(&Outcome::ok());
    orders.settle("commit").start(&Context::new(), |_| {}).finish(&Outcome::ok());
    for name in [
        attributes::BATCH_MESSAGE_COUNT,
        attributes::CLIENT_ID,
        attributes::CONSUMER_GROUP_NAME,
        attributes::DESTINATION_ANONYMOUS,
        attributes::DESTINATION_SUBSCRIPTION_NAME,
        attributes::DESTINATION_TEMPLATE,
        attributes::DESTINATION_TEMPORARY,
        attributes::MESSAGE_BODY_SIZE,
        attributes::MESSAGE_CONVERSATION_ID,
        attributes::MESSAGE_ENVELOPE_SIZE,
        attributes::MESSAGE_ID,
        attributes::SERVER_PORT,
    ] {
        assert!(recorder.tree().contains(name), "{name} is not recorded:\n{}", recorder.tree());
    }
    let mut check = ConventionCheck::new(ProjectNames::parse(DOCUMENT, "otel-messaging").unwrap());
    check.add(&recorder);
    assert_eq!(check.finish(), Ok(()));
}

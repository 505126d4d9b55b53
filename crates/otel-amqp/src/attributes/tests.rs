//! Tests of the names of destinations, and of `x-death` tables that a peer wrote.

use lapin::types::FieldArray;

use super::*;

fn address<'a>(exchange: &'a str, routing_key: &'a str) -> Address<'a> {
    Address { exchange, routing_key }
}

#[test]
fn a_destination_is_named_without_its_empty_parts() {
    for (exchange, key, sent, queue, received) in [
        ("", "", "amq.default", "", "amq.default"),
        ("", "", "amq.default", "jobs", "jobs"),
        ("", "jobs", "jobs", "jobs", "jobs"),
        ("orders", "", "orders", "bills", "orders:bills"),
        ("orders", "created.eu", "orders:created.eu", "bills", "orders:created.eu:bills"),
        ("orders", "bills", "orders:bills", "bills", "orders:bills"),
    ] {
        assert_eq!(address(exchange, key).name(), sent);
        assert_eq!(address(exchange, key).name_in(queue), received);
    }
}

#[test]
fn names_that_the_broker_generates_have_a_template() {
    for (name, template) in [
        ("amq.gen-JzTY20BRgKO", Some("amq.gen")),
        ("amq.rabbitmq.reply-to.g1h2AA5yZ", Some("amq.rabbitmq.reply-to")),
        ("amq.rabbitmq.reply-to", Some("amq.rabbitmq.reply-to")),
        ("amq.generals", None),
        ("jobs", None),
        ("", None),
    ] {
        assert_eq!(temporary(name), template, "{name}");
        assert_eq!(address("", name).stable_key(), template.unwrap_or(name));
        assert_eq!(Queue(name).stable_name(), template.unwrap_or(name));
    }
}

fn death(count: AMQPValue) -> AMQPValue {
    let mut death = FieldTable::default();
    death.insert("count".into(), count);
    AMQPValue::FieldTable(death)
}

#[test]
fn deaths_are_counted_over_all_queues() {
    let mut headers = FieldTable::default();
    assert_eq!(death_count(&headers), 0);
    let deaths = vec![
        death(AMQPValue::LongLongInt(2)),
        death(AMQPValue::LongLongInt(1)),
        // None of these comes from a broker.
        death(AMQPValue::LongLongInt(i64::MIN)),
        death(AMQPValue::Void),
        AMQPValue::Boolean(true),
    ];
    headers.insert(X_DEATH.into(), AMQPValue::FieldArray(FieldArray::from(deaths)));
    assert_eq!(death_count(&headers), 3);
    let most = vec![death(AMQPValue::LongLongInt(i64::MAX)); 2];
    headers.insert(X_DEATH.into(), AMQPValue::FieldArray(FieldArray::from(most)));
    assert_eq!(death_count(&headers), i64::MAX);
    headers.insert(X_DEATH.into(), AMQPValue::LongString("3".into()));
    assert_eq!(death_count(&headers), 0);
}

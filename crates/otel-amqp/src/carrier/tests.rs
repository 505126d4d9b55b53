//! Tests of the carriers: case, types of values, hostile tables, and sizes.

use lapin::types::{ByteArray, FieldArray};
use proptest::prelude::*;

use super::*;

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}

fn table(list: &[(&str, AMQPValue)]) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in list {
        table.insert((*name).into(), value.clone());
    }
    table
}

fn listed(headers: &FieldTable) -> Vec<(String, String)> {
    let mut seen = Vec::new();
    HeaderExtractor::new(Some(headers)).visit(|name, value| {
        seen.push((name.to_owned(), String::from_utf8_lossy(value).into_owned()));
    });
    seen
}

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// A table inside of tables.
fn nested(depth: usize) -> FieldTable {
    (0..depth).fold(FieldTable::default(), |inner, _| table(&[("a", AMQPValue::FieldTable(inner))]))
}

#[test]
fn a_name_is_written_in_lower_case_and_replaces_every_spelling() {
    let mut headers = table(&[("TraceParent", text("a")), ("TRACEPARENT", text("b")), ("Other", text("d"))]);
    let mut injector = HeaderInjector(&mut headers);
    assert!(injector.contains("traceParent"));
    injector.set("Traceparent", "e");
    injector.set("traceparent", "f");
    injector.set("X-B3-TraceId", "g");
    assert_eq!(listed(&headers), pairs(&[("Other", "d"), ("traceparent", "f"), ("x-b3-traceid", "g")]));
    HeaderInjector(&mut headers).remove("TRACEPARENT");
    HeaderInjector(&mut headers).remove("absent");
    assert_eq!(listed(&headers), pairs(&[("Other", "d"), ("x-b3-traceid", "g")]));
}

#[test]
fn texts_and_byte_arrays_are_read_and_texts_are_written() {
    let headers = table(&[
        ("a", text("1")),
        ("b", AMQPValue::ByteArray(ByteArray::from(&b"2"[..]))),
        ("c", AMQPValue::LongLongInt(3)),
        ("d", AMQPValue::FieldArray(FieldArray::from(vec![text("4")]))),
        ("e", AMQPValue::FieldTable(table(&[("traceparent", text("5"))]))),
        ("f", AMQPValue::Void),
    ]);
    assert_eq!(listed(&headers), pairs(&[("a", "1"), ("b", "2")]));
    let mut written = FieldTable::default();
    HeaderInjector(&mut written).set("a", "1");
    assert_eq!(written.inner().get("a"), Some(&text("1")));
}

#[test]
fn a_name_that_is_too_long_is_ignored() {
    let mut headers = FieldTable::default();
    HeaderInjector(&mut headers).set(&"n".repeat(256), "v");
    assert!(headers.inner().is_empty());
    HeaderInjector(&mut headers).set(&"n".repeat(255), &"v".repeat(1000));
    assert_eq!(listed(&headers).len(), 1);
}

#[test]
fn the_budget_is_that_of_the_frame_without_a_reserve() {
    let bare = BasicProperties::default();
    let left = budget(&bare, 131_072);
    assert_eq!(left, 131_072 - 4096 - 32);
    assert_eq!(budget(&bare, 4096), 0);
    assert!(budget(&bare, 0) > usize::MAX / 2);
    let with_id = BasicProperties::default().with_message_id("7".into());
    assert_eq!(budget(&with_id, 131_072), left - 2);
    let headers = table(&[("ab", text("cde"))]);
    // The length of the table, then the name and the value with their lengths, and the type.
    let size = 4 + (1 + 2) + 1 + (4 + 3);
    let with_headers = BasicProperties::default().with_headers(headers);
    assert_eq!(budget(&with_headers, 131_072), left - size);
    assert_eq!(size, 4 + "ab".len() + "cde".len() + PER_HEADER);
}

#[test]
fn a_deeply_nested_table_is_measured_and_edited() {
    // The depth that lapin survives when it reads a frame.
    let mut headers = nested(500);
    assert_eq!(table_size(&headers), 4 + 500 * (2 + 1 + 4));
    HeaderInjector(&mut headers).set("traceparent", "a");
    HeaderInjector(&mut headers).remove("traceparent");
    assert_eq!(headers.inner().len(), 1);
}

fn value() -> impl Strategy<Value = AMQPValue> {
    let leaf = prop_oneof![
        ".{0,20}".prop_map(|text| AMQPValue::LongString(text.into())),
        any::<Vec<u8>>().prop_map(|bytes| AMQPValue::ByteArray(ByteArray::from(bytes))),
        any::<i64>().prop_map(AMQPValue::LongLongInt),
        any::<f32>().prop_map(AMQPValue::Float),
        any::<bool>().prop_map(AMQPValue::Boolean),
        Just(AMQPValue::Void),
    ];
    leaf.prop_recursive(6, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4)
                .prop_map(|values| AMQPValue::FieldArray(FieldArray::from(values))),
            prop::collection::btree_map("[ -~]{0,8}", inner, 0..4).prop_map(|map| {
                let map: BTreeMap<ShortString, _> =
                    map.into_iter().map(|(name, value)| (name.into(), value)).collect();
                AMQPValue::FieldTable(map.into())
            }),
        ]
    })
}

proptest! {
    #[test]
    fn no_table_no_name_and_no_value_panics(name in ".*", written in ".*", other in ".{0,60}", value in value()) {
        let mut headers = FieldTable::default();
        headers.insert(other.as_str().into(), value);
        let before = table_size(&headers);
        let _ = otel_propagation::extract(&HeaderExtractor::new(Some(&headers)));
        let mut injector = HeaderInjector(&mut headers);
        injector.remove(&name);
        injector.set(&name, &written);
        let is_set = injector.contains(&name);
        prop_assert_eq!(is_set, name.len() <= 255);
        prop_assert!(table_size(&headers) <= before + name.len() + written.len() + PER_HEADER);
        HeaderInjector(&mut headers).remove(&name);
        prop_assert!(!HeaderInjector(&mut headers).contains(&name));
    }
}

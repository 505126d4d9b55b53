//! The content of each message, determined by its number and the seed.

use lapin::BasicProperties;
use lapin::types::{AMQPValue, ByteArray, DecimalValue, FieldArray, FieldTable};
use soak::{FRAME_MAX, Random};

/// The size of a header that leaves no space for context: the crate leaves 4,096 bytes of a frame to the broker.
const FULL: usize = FRAME_MAX - 4_096;

/// The depth of nested tables. lapin itself aborts the process at some 1,000.
const DEPTH: usize = 60;

/// The plan of one message.
pub(crate) struct Plan {
    pub(crate) payload: Vec<u8>,
    pub(crate) headers: FieldTable,
    /// The headers leave no space for context.
    pub(crate) is_full: bool,
    /// No queue has its routing key.
    pub(crate) is_unroutable: bool,
}

impl Plan {
    pub(crate) fn new(seed: u64, number: u64) -> Self {
        let mut random = Random::new(seed, number);
        let mut headers = FieldTable::default();
        let mut length = 8 + random.below(300) as usize;
        let (mut is_full, mut is_unroutable) = (false, false);
        match random.below(1000) {
            700..900 => {
                insert(&mut headers, "Tenant", text("a"));
                insert(&mut headers, "tenant", text("b"));
                insert(&mut headers, "x-text", text("v".repeat(random.below(100) as usize + 1)));
            }
            // A forwarded message, which already has a context.
            900..910 => {
                let parent = format!("00-{:032x}-{:016x}-01", number + 1, number + 1);
                insert(&mut headers, "TraceParent", text(parent));
            }
            // Malformed contexts, as texts and as other values.
            910..920 => {
                insert(&mut headers, "traceparent", text("00-0-0-00"));
                insert(&mut headers, "Traceparent", text("zz"));
                insert(&mut headers, "tracestate", text("=,=,"));
                insert(&mut headers, "baggage", text(",;=%"));
            }
            920..930 => {
                insert(&mut headers, "traceparent", AMQPValue::LongInt(7));
                insert(&mut headers, "TRACEPARENT", nested(DEPTH));
                insert(&mut headers, "tracestate", AMQPValue::ByteArray(ByteArray::from(&[0xff, 0, 1][..])));
                insert(&mut headers, "baggage", AMQPValue::Void);
            }
            930..940 => every_type(&mut headers, number),
            940..941 => insert(&mut headers, "traceparent", text("0".repeat(9_000))),
            941..946 => (0..60).for_each(|index| insert(&mut headers, &format!("header-{index}"), text("v"))),
            946..948 => {
                is_full = true;
                insert(&mut headers, "full", text("f".repeat(FULL)));
            }
            948..950 => is_unroutable = true,
            // A body of several frames.
            950..952 => length = 3 * FRAME_MAX,
            _ => {}
        }
        let mut payload = number.to_be_bytes().to_vec();
        payload.resize(length, (number % 251) as u8);
        Self { payload, headers, is_full, is_unroutable }
    }

    /// Returns the properties of one attempt to send the message, whose copies its id distinguishes.
    pub(crate) fn properties(&self, attempt: u64) -> BasicProperties {
        let properties = BasicProperties::default()
            .with_delivery_mode(2)
            .with_message_id(attempt.to_string().as_str().into());
        if self.headers.inner().is_empty() {
            properties
        } else {
            properties.with_headers(self.headers.clone())
        }
    }

    /// Returns true if a message arrived unchanged except for its context headers.
    pub(crate) fn matches(&self, properties: &BasicProperties, payload: &[u8]) -> bool {
        let arrived = properties.headers().clone().unwrap_or_default();
        payload == self.payload && user_headers(&arrived) == user_headers(&self.headers)
    }
}

/// Returns the number of a message from its payload.
pub(crate) fn number(payload: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(payload.first_chunk().copied()?))
}

fn insert(headers: &mut FieldTable, name: &str, value: AMQPValue) {
    headers.insert(name.into(), value);
}

fn text(value: impl AsRef<[u8]>) -> AMQPValue {
    AMQPValue::LongString(value.as_ref().into())
}

/// A table in a table, and so on.
fn nested(depth: usize) -> AMQPValue {
    (0..depth).fold(AMQPValue::Void, |inner, _| {
        let mut table = FieldTable::default();
        insert(&mut table, "traceparent", inner);
        AMQPValue::FieldTable(table)
    })
}

/// Headers of every type but `ShortString`, which lapin writes as a type that it does not read, under unusual names.
fn every_type(headers: &mut FieldTable, number: u64) {
    let values = [
        AMQPValue::Boolean(true),
        AMQPValue::ShortShortInt(-1),
        AMQPValue::ShortShortUInt(u8::MAX),
        AMQPValue::ShortInt(-2),
        AMQPValue::ShortUInt(u16::MAX),
        AMQPValue::LongInt(-3),
        AMQPValue::LongUInt(u32::MAX),
        AMQPValue::LongLongInt(i64::MIN),
        AMQPValue::Float(0.5),
        AMQPValue::Double(-0.25),
        AMQPValue::DecimalValue(DecimalValue { scale: 2, value: 99 }),
        text([0xff, 0xfe, b'\r', b'\n', 0]),
        AMQPValue::ByteArray(ByteArray::from(&[0, 0xff][..])),
        AMQPValue::Timestamp(number),
        AMQPValue::Void,
    ];
    insert(headers, "array", AMQPValue::FieldArray(FieldArray::from(values.to_vec())));
    for (index, value) in values.into_iter().enumerate() {
        insert(headers, &format!("b\u{e4} {index}:\r\n"), value);
    }
    insert(headers, "", text(""));
    insert(headers, &"n".repeat(255), nested(DEPTH));
}

/// Returns the headers without those of the context and of the broker.
fn user_headers(headers: &FieldTable) -> Vec<(&str, &AMQPValue)> {
    let added = ["traceparent", "tracestate", "baggage", "x-delivery-count"];
    let is_added = |name: &str| added.iter().any(|field| field.eq_ignore_ascii_case(name));
    let headers = headers.inner().iter().map(|(name, value)| (name.as_str(), value));
    headers.filter(|(name, _)| !is_added(name)).collect()
}

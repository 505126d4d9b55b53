//! Counting of the messages of a call, and their events.
//!
//! Follows [gRPC over HTTP/2](https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md),
//! "Length-Prefixed-Message". The events are those of the [RPC semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/rpc/rpc-spans/) before 1.38.

use std::sync::atomic::{AtomicU64, Ordering};

use opentelemetry::KeyValue;

use crate::attributes::{
    MESSAGE_COMPRESSED_SIZE, MESSAGE_ID, MESSAGE_SIZE, MESSAGE_TYPE, MESSAGES_RECEIVED, MESSAGES_SENT,
};
use crate::scanner::Scanner;

/// The recording of a call's messages on its span.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum MessageEvents {
    /// Nothing.
    #[default]
    Off,
    /// The numbers of messages, as the attributes `rpc.messages.sent` and `rpc.messages.received`.
    Counted,
    /// Like `Counted`, with an event `rpc.message` for each of the first messages: its direction, number and size.
    Each,
}

/// The direction of a message within a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Request,
    Response,
}

/// The counters of one call's messages, shared by its operation and its request body.
#[derive(Debug)]
pub(crate) struct Messages {
    /// The direction of the messages that this side sends.
    sent: Direction,
    /// Limit of events per span.
    max_events: u64,
    events: AtomicU64,
    counts: [AtomicU64; 2],
    bytes: [AtomicU64; 2],
}

/// The totals of a call: the bytes of requests and of responses, the numbers of requests and of responses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Totals {
    pub(crate) values: [u64; 4],
}

impl Messages {
    pub(crate) fn new(sent: Direction, max_events: u32) -> Self {
        Self {
            sent,
            max_events: max_events.into(),
            events: AtomicU64::new(0),
            counts: Default::default(),
            bytes: Default::default(),
        }
    }

    /// Counts the messages without events, because the span is not this layer's or not a call's.
    pub(crate) fn disable_events(&mut self) {
        self.max_events = 0;
    }

    /// Counts the messages that end in this frame, and passes the attributes of their events to `add_event`, if a span
    /// records.
    pub(crate) fn count(
        &self,
        half: Direction,
        scanner: &mut Scanner,
        data: &[u8],
        add_event: Option<impl Fn(Vec<KeyValue>)>,
    ) {
        scanner.scan(
            data,
            |_, _| {},
            |message| {
                if message.is_trailers() {
                    return;
                }
                let bytes = u64::from(message.bytes);
                self.bytes[half as usize].fetch_add(bytes, Ordering::Relaxed);
                let number = self.counts[half as usize].fetch_add(1, Ordering::Relaxed) + 1;
                let Some(add_event) = &add_event else { return };
                if self.max_events > 0 && self.events.fetch_add(1, Ordering::Relaxed) < self.max_events {
                    let direction = if half == self.sent { "SENT" } else { "RECEIVED" };
                    let size = if message.is_compressed() { MESSAGE_COMPRESSED_SIZE } else { MESSAGE_SIZE };
                    add_event(vec![
                        KeyValue::new(MESSAGE_TYPE, direction),
                        KeyValue::new(MESSAGE_ID, number.cast_signed()),
                        KeyValue::new(size, i64::from(message.bytes)),
                    ]);
                }
            },
        );
    }

    pub(crate) fn totals(&self) -> Totals {
        let [requests, responses] = self.counts.each_ref().map(|count| count.load(Ordering::Relaxed));
        let [request_bytes, response_bytes] =
            self.bytes.each_ref().map(|bytes| bytes.load(Ordering::Relaxed));
        Totals { values: [request_bytes, response_bytes, requests, responses] }
    }

    /// Returns the numbers of messages as span attributes.
    pub(crate) fn attributes(&self) -> [KeyValue; 2] {
        let [_, _, requests, responses] = self.totals().values.map(u64::cast_signed);
        let (sent, received) = match self.sent {
            Direction::Request => (requests, responses),
            Direction::Response => (responses, requests),
        };
        [KeyValue::new(MESSAGES_SENT, sent), KeyValue::new(MESSAGES_RECEIVED, received)]
    }
}

//! Counting of the messages of a call, and their events.
//!
//! Follows [gRPC over HTTP/2](https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md),
//! "Length-Prefixed-Message". The events are those of the [RPC semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/rpc/rpc-spans/) before 1.38.

use std::any::Any;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context as TaskContext, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use opentelemetry::trace::{SpanRef, TraceContextExt};
use opentelemetry::{Context, KeyValue};
use pin_project_lite::pin_project;

use crate::attributes::{
    MESSAGE, MESSAGE_COMPRESSED_SIZE, MESSAGE_ID, MESSAGE_SIZE, MESSAGE_TYPE, MESSAGES_RECEIVED,
    MESSAGES_SENT,
};
use crate::outcome::Side;

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
pub(crate) enum Half {
    Request,
    Response,
}

/// An incremental parser of the length-prefixed messages in a body.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Scanner {
    prefix: [u8; 5],
    have: usize,
    /// Remaining bytes of the message whose prefix is complete.
    rest: usize,
}

/// The prefix of a complete message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Message {
    compressed: bool,
    bytes: u32,
}

impl Scanner {
    /// Calls `found` for each message whose last byte is in `bytes`.
    fn scan(&mut self, mut bytes: &[u8], mut found: impl FnMut(Message)) {
        loop {
            let prefix = &mut self.prefix[self.have..];
            let taken = prefix.len().min(bytes.len());
            prefix[..taken].copy_from_slice(&bytes[..taken]);
            self.have += taken;
            bytes = &bytes[taken..];
            let [compressed, length @ ..] = self.prefix;
            let length = u32::from_be_bytes(length);
            if self.have < self.prefix.len() {
                return;
            }
            if taken > 0 {
                self.rest = length as usize;
            }
            let skipped = self.rest.min(bytes.len());
            self.rest -= skipped;
            bytes = &bytes[skipped..];
            if self.rest > 0 {
                return;
            }
            self.have = 0;
            found(Message { compressed: compressed != 0, bytes: length });
        }
    }
}

/// The counters of one call's messages, shared by its operation and its request body.
#[derive(Debug)]
pub(crate) struct Messages {
    side: Side,
    /// Limit of events per span.
    events: u64,
    told: AtomicU64,
    counts: [AtomicU64; 2],
    bytes: [AtomicU64; 2],
}

/// The totals of a call: the bytes of requests and of responses, the numbers of requests and of responses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Totals {
    pub(crate) values: [u64; 4],
}

impl Messages {
    pub(crate) fn new(side: Side, events: MessageEvents, most: u32) -> Self {
        let events = if events == MessageEvents::Each { most.into() } else { 0 };
        Self { side, events, told: AtomicU64::new(0), counts: Default::default(), bytes: Default::default() }
    }

    /// Counts the messages that end in this frame, and adds their events to `span`.
    pub(crate) fn pass(&self, half: Half, scanner: &mut Scanner, data: &[u8], span: Option<&SpanRef<'_>>) {
        scanner.scan(data, |message| {
            let bytes = u64::from(message.bytes);
            self.bytes[half as usize].fetch_add(bytes, Ordering::Relaxed);
            let number = self.counts[half as usize].fetch_add(1, Ordering::Relaxed) + 1;
            let Some(span) = span else { return };
            if self.events > 0 && self.told.fetch_add(1, Ordering::Relaxed) < self.events {
                let sent = (half == Half::Request) == (self.side == Side::Client);
                let size = if message.compressed { MESSAGE_COMPRESSED_SIZE } else { MESSAGE_SIZE };
                let attributes = vec![
                    KeyValue::new(MESSAGE_TYPE, if sent { "SENT" } else { "RECEIVED" }),
                    KeyValue::new(MESSAGE_ID, number.cast_signed()),
                    KeyValue::new(size, i64::from(message.bytes)),
                ];
                span.add_event(MESSAGE, attributes);
            }
        });
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
        let (sent, received) = match self.side {
            Side::Client => (requests, responses),
            Side::Server => (responses, requests),
        };
        [KeyValue::new(MESSAGES_SENT, sent), KeyValue::new(MESSAGES_RECEIVED, received)]
    }
}

/// Wraps a request body so that it is polled in the call's context and its messages are counted. Only boxed body
/// types can be replaced in place: tonic's and, with the feature `axum`, axum's. Other types remain unchanged.
pub(crate) fn observe_request<B: 'static>(body: &mut B, messages: Option<&Arc<Messages>>, context: &Context) {
    let body: &mut dyn Any = body;
    #[cfg(feature = "axum")]
    if let Some(body) = body.downcast_mut::<axum::body::Body>() {
        *body = axum::body::Body::new(Observed::new(std::mem::take(body), messages, context));
        return;
    }
    if let Some(body) = body.downcast_mut::<tonic::body::Body>() {
        *body = tonic::body::Body::new(Observed::new(std::mem::take(body), messages, context));
    }
}

pin_project! {
    /// A request body that is polled in its call's context, and whose messages are counted.
    struct Observed<B> {
        #[pin]
        inner: B,
        scanner: Scanner,
        messages: Option<Arc<Messages>>,
        context: Context,
    }
}

impl<B> Observed<B> {
    fn new(inner: B, messages: Option<&Arc<Messages>>, context: &Context) -> Self {
        let (messages, context) = (messages.map(Arc::clone), context.clone());
        Self { inner, scanner: Scanner::default(), messages, context }
    }
}

impl<B: Body<Data = Bytes>> Body for Observed<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let this = self.project();
        let attached = this.context.clone().attach();
        let frame = this.inner.poll_frame(cx);
        drop(attached);
        if let (Poll::Ready(Some(Ok(frame))), Some(messages)) = (&frame, this.messages)
            && let Some(data) = frame.data_ref()
        {
            let span = this.context.span();
            let span = span.is_recording().then_some(span);
            messages.pass(Half::Request, this.scanner, data, span.as_ref());
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(messages: &[(bool, usize)]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (compressed, length) in messages {
            bytes.push(u8::from(*compressed));
            bytes.extend(u32::try_from(*length).unwrap().to_be_bytes());
            bytes.extend(vec![7; *length]);
        }
        bytes
    }

    proptest! {
        #[test]
        fn messages_are_found_however_they_are_cut(
            messages in prop::collection::vec((any::<bool>(), 0_usize..300), 0..12),
            cuts in prop::collection::vec(1_usize..64, 1..50),
        ) {
            let bytes = encoded(&messages);
            let (mut scanner, mut found) = (Scanner::default(), Vec::new());
            let (mut rest, mut cuts) = (bytes.as_slice(), cuts.iter().cycle());
            while !rest.is_empty() {
                let (frame, after) = rest.split_at(rest.len().min(*cuts.next().unwrap()));
                for frame in [frame, &[]] {
                    scanner.scan(frame, |message| found.push((message.compressed, message.bytes as usize)));
                }
                rest = after;
            }
            prop_assert_eq!(found, messages);
        }

        #[test]
        fn what_is_no_message_does_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..2_000)) {
            let mut scanner = Scanner::default();
            let mut found = 0;
            for chunk in bytes.chunks(7) {
                scanner.scan(chunk, |_| found += 1);
            }
            prop_assert!(found <= bytes.len() / 5);
        }
    }

    #[test]
    fn a_message_that_was_cut_off_is_none() {
        let (mut scanner, mut found) = (Scanner::default(), 0);
        scanner.scan(&encoded(&[(false, 10), (false, 10)])[..29], |_| found += 1);
        assert_eq!(found, 1);
    }
}

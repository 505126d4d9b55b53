//! The input of the scenarios: the headers that arrive, and the context that is current. Headers are those of
//! <https://www.w3.org/TR/trace-context-2/> and <https://www.w3.org/TR/baggage/>.

use opentelemetry::{
    Context, KeyValue, SpanId, TraceFlags, TraceId,
    baggage::BaggageExt,
    trace::{SpanContext, TraceContextExt, TraceState},
};

use super::{Role, Scenario};

/// The parent in the headers of inbound scenarios.
pub(super) const RECEIVED: Id = Id(0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c, 0xb7ad_6b71_6920_3331);
/// The context that is current around every scenario: a trap for the inbound side, the caller for the outbound side.
pub(super) const AMBIENT: Id = Id(0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736, 0x00f0_67aa_0ba9_02b7);
/// The context that an outbound message already carries from an earlier hop.
pub(super) const STALE: Id = Id(0x5ca1_ab1e_5ca1_ab1e_5ca1_ab1e_5ca1_ab1e, 0x5ca1_ab1e_5ca1_ab1e);

/// The parent in the headers of the second operation of an inbound side.
pub(super) const SECOND: Id = Id(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210);

/// The formats of [`HostileContentType`](Scenario::HostileContentType).
pub(super) const CONTENT_TYPES: &[&[u8]] = &[
    b"application/grpc",
    b"application/grpc-web-text",
    b"text/event-stream",
    b"application/json",
    b"x/y",
    b"",
    b"\xff\xfe",
    &[b'a'; 8 * 1024],
];

/// The ids of a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Id(u128, u64);

impl Id {
    pub(super) fn trace_id(self) -> TraceId {
        TraceId::from(self.0)
    }

    pub(super) fn span_id(self) -> SpanId {
        SpanId::from(self.1)
    }

    fn traceparent(self, sampled: bool) -> Vec<u8> {
        format!("00-{}-{}-0{}", self.trace_id(), self.span_id(), u8::from(sampled)).into_bytes()
    }

    fn context(self, sampled: bool, state: TraceState) -> Context {
        let flags = TraceFlags::NOT_SAMPLED.with_sampled(sampled);
        Context::new().with_remote_span_context(SpanContext::new(
            self.trace_id(),
            self.span_id(),
            flags,
            true,
            state,
        ))
    }
}

/// Trace id and span id of a context.
pub(super) fn ids(context: &SpanContext) -> (TraceId, SpanId) {
    (context.trace_id(), context.span_id())
}

impl Scenario {
    /// The headers to put on the request or message: as they come from the peer (inbound), as the caller has set
    /// them before it reaches the instrumentation (outbound). A name may be there several times.
    #[must_use]
    pub fn headers(self, role: Role) -> Vec<(String, Vec<u8>)> {
        let mut headers = Vec::new();
        let mut add = |name: &str, value: Vec<u8>| headers.push((name.to_owned(), value));
        let long = 64 * 1024;
        match (role, self) {
            (_, Self::NoParent) => {}
            (
                Role::Outbound,
                Self::StaleHeaders | Self::StaleBaggage | Self::CallersHeaders | Self::Filtered,
            ) => {
                add("traceparent", STALE.traceparent(true));
                add("tracestate", b"stale=1".to_vec());
                add("baggage", b"stale=1".to_vec());
            }
            (Role::Outbound, _) => {}
            (Role::Inbound, Self::UnsampledParent) => add("traceparent", RECEIVED.traceparent(false)),
            (Role::Inbound, Self::MalformedParent) => {
                add("traceparent", [RECEIVED.traceparent(true), b"-".to_vec()].concat());
            }
            (Role::Inbound, Self::TwoParents) => {
                add("traceparent", RECEIVED.traceparent(true));
                add("traceparent", STALE.traceparent(true));
            }
            (Role::Inbound, Self::NonUtf8Headers) => {
                let mut value = RECEIVED.traceparent(true);
                value[10] = 0xff;
                add("traceparent", value);
                add("baggage", b"tenant=\xff\xfe".to_vec());
            }
            (Role::Inbound, Self::HugeHeaders) => {
                add("traceparent", [RECEIVED.traceparent(true), vec![b'0'; long]].concat());
                add("tracestate", [b"huge=".to_vec(), vec![b'v'; long]].concat());
                add("baggage", [b"huge=".to_vec(), vec![b'v'; long]].concat());
            }
            (Role::Inbound, Self::ManyHeaders) => {
                for number in 0..2_000 {
                    add(&format!("x-unrelated-{number}"), b"value".to_vec());
                    add("baggage", format!("member{number}=value").into_bytes());
                }
                add("traceparent", RECEIVED.traceparent(true));
            }
            (Role::Inbound, Self::Parent) => {
                add("traceparent", RECEIVED.traceparent(true));
                add("tracestate", b"vendor=value".to_vec());
            }
            (
                Role::Inbound,
                Self::Baggage | Self::PublicEndpoint | Self::Filtered | Self::FilteredPublicEndpoint,
            ) => {
                add("traceparent", RECEIVED.traceparent(true));
                add("baggage", b"tenant=acme,plan=gold".to_vec());
            }
            (Role::Inbound, _) => add("traceparent", RECEIVED.traceparent(true)),
        }
        if let (Role::Inbound, Some(content_type)) = (role, self.content_type()) {
            add("content-type", content_type.to_vec());
        }
        if self == Self::Secrets {
            add("authorization", format!("Bearer {}", Self::SECRET).into_bytes());
            add("cookie", format!("session={}", Self::SECRET).into_bytes());
        }
        headers
    }

    /// The value that [`HostileContentType`](Scenario::HostileContentType) gives to the header that names a format.
    #[must_use]
    pub fn content_type(self) -> Option<&'static [u8]> {
        match self {
            Self::HostileContentType(run) => CONTENT_TYPES.get(run as usize).copied(),
            _ => None,
        }
    }

    /// The headers of the second operation of [`SecondOperation`](Scenario::SecondOperation): of another caller (inbound),
    /// or none, because a client begins with a new message (outbound).
    #[must_use]
    pub fn second_headers(self, role: Role) -> Vec<(String, Vec<u8>)> {
        match role {
            Role::Inbound => vec![("traceparent".to_owned(), SECOND.traceparent(true))],
            Role::Outbound => Vec::new(),
        }
    }

    /// The context that is current while the harness runs. On the inbound side it is a trap that must not be
    /// joined; on the outbound side it is the caller's. The suite polls the harness under it; a harness that
    /// hands its operation to another task or thread attaches it there.
    #[must_use]
    pub fn ambient(self, role: Role) -> Context {
        match (role, self) {
            (Role::Outbound, Self::NoParent) => Context::new(),
            (Role::Outbound, Self::UnsampledParent) => AMBIENT.context(false, TraceState::NONE),
            (Role::Outbound, Self::StaleHeaders) => AMBIENT.context(true, TraceState::NONE),
            (Role::Outbound, Self::Parent) => {
                let state = TraceState::from_key_value([("vendor", "value")]).unwrap_or_default();
                AMBIENT.context(true, state)
            }
            _ => AMBIENT
                .context(true, TraceState::NONE)
                .with_baggage(vec![KeyValue::new("ambient", "yes"), KeyValue::new("city", "Köln, am Rhein")]),
        }
    }
}

//! The scenarios: what arrives, what is current, and the flow of the operation. Headers are those of
//! <https://www.w3.org/TR/trace-context-2/> and <https://www.w3.org/TR/baggage/>.

use opentelemetry::{
    Context, KeyValue, SpanId, TraceFlags, TraceId,
    baggage::BaggageExt,
    trace::{SpanContext, TraceContextExt, TraceState},
};

use super::Role;

/// The parent in the headers of inbound scenarios.
pub(super) const RECEIVED: Id = Id(0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c, 0xb7ad_6b71_6920_3331);
/// The context that is current around every scenario: a trap for the inbound side, the caller for the outbound side.
pub(super) const AMBIENT: Id = Id(0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736, 0x00f0_67aa_0ba9_02b7);
/// The context that an outbound message already carries from an earlier hop.
pub(super) const STALE: Id = Id(0x5ca1_ab1e_5ca1_ab1e_5ca1_ab1e_5ca1_ab1e, 0x5ca1_ab1e_5ca1_ab1e);

/// The number of runs of a scenario with unbounded input.
pub(super) const RUNS: u32 = 200;

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

/// One situation that a transport's instrumentation is put into.
///
/// A harness asks it for what it needs: [`flow`](Self::flow), [`headers`](Self::headers),
/// [`ambient`](Self::ambient), [`is_public_endpoint`](Self::is_public_endpoint),
/// [`attacker_value`](Self::attacker_value). It seldom needs to match on the variant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Scenario {
    /// All goes well. The context is the operation's wherever the handler runs: when called, and after an await.
    Success,
    /// The handler or the peer fails, in the way that this transport calls an error.
    Error,
    /// The handler (inbound) or what is instrumented (outbound) panics.
    Panic,
    /// The operation's future is dropped before it is polled.
    DroppedBeforePoll,
    /// The operation's future is dropped while the handler or the peer keeps it waiting.
    DroppedAtAwait,
    /// The other side goes away when part of the response body or stream has been transferred.
    DroppedByPeer,
    /// This side drops the response body or stream when part of it has been transferred.
    DroppedByUser,
    /// The response body or stream fails midway, or settling the message (its acknowledgement) does.
    BodyFails,
    /// The parent is known: from the headers (inbound) or because it is current (outbound). With `tracestate`.
    Parent,
    /// There is no parent: no headers although a span is current (inbound), nothing current (outbound).
    NoParent,
    /// The parent is not sampled: no span is recorded, metrics are, and the decision is passed on.
    UnsampledParent,
    /// Inbound: a `traceparent` that is malformed (a trailing `-`).
    MalformedParent,
    /// Inbound: two valid `traceparent` headers that disagree.
    TwoParents,
    /// Inbound: `traceparent` and `baggage` are not UTF-8.
    NonUtf8Headers,
    /// Inbound: `traceparent`, `tracestate` and a member of `baggage` of 64 KiB each.
    HugeHeaders,
    /// Inbound: 2,000 `baggage` headers and 2,000 unrelated ones around one good `traceparent`.
    ManyHeaders,
    /// Baggage arrives in the handler (inbound) or at the peer (outbound).
    Baggage,
    /// Inbound: callers are not trusted. Their context is linked, not a parent, and their baggage is dropped.
    PublicEndpoint,
    /// Inbound: the operation's context is current where the response body or stream is produced.
    ContextInBody,
    /// Outbound: the message carries trace headers of an earlier hop, which are replaced as one set. It carries baggage
    /// too; the context has none, so that the caller's stays.
    StaleHeaders,
    /// Outbound: the message carries baggage of an earlier hop, and the context has baggage, which replaces it.
    StaleBaggage,
    /// Outbound: the SDK was shut down, and the message carries headers that the caller wrote. All of them stay.
    CallersHeaders,
    /// The SDK was shut down: the context that was received or is current is passed on.
    SdkShutDown,
    /// The name of the operation (method, path, subject, queue) is the [`attacker_value`](Scenario::attacker_value). The
    /// number is the number of the run.
    UnboundedOperation(u32),
    /// Inbound: the name of the host (`Host`, `:authority`) is the [`attacker_value`](Scenario::attacker_value).
    UnboundedHost(u32),
    /// The text of the handler's or peer's error is the [`attacker_value`](Scenario::attacker_value).
    UnboundedError(u32),
    /// Headers contain [`SECRET`](Scenario::SECRET), and the harness puts it wherever else this transport has credentials:
    /// the user part of a URL, its signature parameters.
    Secrets,
}

/// The course of a [`Scenario`]'s operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a harness that does not know a new flow must not compile")]
pub enum Flow {
    /// To its good end; the response body or stream, if there is one, is read to its end.
    Succeeds,
    /// See [`Scenario::Error`].
    Fails,
    /// See [`Scenario::Panic`].
    Panics,
    /// See [`Scenario::DroppedBeforePoll`].
    DroppedBeforePoll,
    /// See [`Scenario::DroppedAtAwait`].
    DroppedAtAwait,
    /// See [`Scenario::DroppedByPeer`].
    DroppedByPeer,
    /// See [`Scenario::DroppedByUser`].
    DroppedByUser,
    /// See [`Scenario::BodyFails`].
    BodyFails,
}

impl Scenario {
    /// The text that must not be recorded anywhere.
    pub const SECRET: &'static str = "hunter2hunter2";

    const ALL: &'static [Self] = &[
        Self::Success,
        Self::Error,
        Self::Panic,
        Self::DroppedBeforePoll,
        Self::DroppedAtAwait,
        Self::DroppedByPeer,
        Self::DroppedByUser,
        Self::BodyFails,
        Self::Parent,
        Self::NoParent,
        Self::UnsampledParent,
        Self::MalformedParent,
        Self::TwoParents,
        Self::NonUtf8Headers,
        Self::HugeHeaders,
        Self::ManyHeaders,
        Self::Baggage,
        Self::PublicEndpoint,
        Self::ContextInBody,
        Self::StaleHeaders,
        Self::StaleBaggage,
        Self::CallersHeaders,
        Self::SdkShutDown,
        Self::UnboundedOperation(0),
        Self::UnboundedHost(0),
        Self::UnboundedError(0),
        Self::Secrets,
    ];

    /// The scenarios that make sense on this side.
    pub fn all(role: Role) -> impl Iterator<Item = Self> {
        Self::ALL.iter().copied().filter(move |scenario| scenario.applies_to(role))
    }

    /// Returns true if the SDK is shut down before the scenario runs.
    pub(super) fn shuts_down(self) -> bool {
        matches!(self, Self::SdkShutDown | Self::CallersHeaders)
    }

    pub(super) fn applies_to(self, role: Role) -> bool {
        match self {
            Self::MalformedParent
            | Self::TwoParents
            | Self::NonUtf8Headers
            | Self::HugeHeaders
            | Self::ManyHeaders
            | Self::PublicEndpoint
            | Self::ContextInBody
            | Self::UnboundedHost(_) => role == Role::Inbound,
            Self::StaleHeaders | Self::StaleBaggage | Self::CallersHeaders => role == Role::Outbound,
            _ => true,
        }
    }

    /// The course of the operation.
    #[must_use]
    pub fn flow(self) -> Flow {
        match self {
            Self::Error | Self::UnboundedError(_) => Flow::Fails,
            Self::Panic => Flow::Panics,
            Self::DroppedBeforePoll => Flow::DroppedBeforePoll,
            Self::DroppedAtAwait => Flow::DroppedAtAwait,
            Self::DroppedByPeer => Flow::DroppedByPeer,
            Self::DroppedByUser => Flow::DroppedByUser,
            Self::BodyFails => Flow::BodyFails,
            _ => Flow::Succeeds,
        }
    }

    /// The headers to put on the request or message: as they come from the peer (inbound), as the caller has set
    /// them before it reaches the instrumentation (outbound). A name may be there several times.
    #[must_use]
    pub fn headers(self, role: Role) -> Vec<(String, Vec<u8>)> {
        let mut headers = Vec::new();
        let mut add = |name: &str, value: Vec<u8>| headers.push((name.to_owned(), value));
        let long = 64 * 1024;
        match (role, self) {
            (_, Self::NoParent) => {}
            (Role::Outbound, Self::StaleHeaders | Self::StaleBaggage | Self::CallersHeaders) => {
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
            (Role::Inbound, Self::Baggage | Self::PublicEndpoint) => {
                add("traceparent", RECEIVED.traceparent(true));
                add("baggage", b"tenant=acme,plan=gold".to_vec());
            }
            (Role::Inbound, _) => add("traceparent", RECEIVED.traceparent(true)),
        }
        if self == Self::Secrets {
            add("authorization", format!("Bearer {}", Self::SECRET).into_bytes());
            add("cookie", format!("session={}", Self::SECRET).into_bytes());
        }
        headers
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

    /// Returns true if the inbound side must be configured for callers that are not trusted.
    #[must_use]
    pub fn is_public_endpoint(self) -> bool {
        self == Self::PublicEndpoint
    }

    /// The value that an untrusted peer chooses in the scenarios with unbounded input: letters, different in each run.
    #[must_use]
    pub fn attacker_value(self) -> String {
        let (Self::UnboundedOperation(run) | Self::UnboundedHost(run) | Self::UnboundedError(run)) = self
        else {
            return ATTACKER.to_owned();
        };
        let letters =
            run.to_string().bytes().map(|digit| char::from(digit - b'0' + b'A')).collect::<String>();
        format!("{ATTACKER}{letters}")
    }

    pub(super) fn runs(self) -> Vec<Self> {
        match self {
            Self::UnboundedOperation(_) => (0..RUNS).map(Self::UnboundedOperation).collect(),
            Self::UnboundedHost(_) => (0..RUNS).map(Self::UnboundedHost).collect(),
            Self::UnboundedError(_) => (0..RUNS).map(Self::UnboundedError).collect(),
            other => vec![other],
        }
    }
}

/// The beginning of every [`Scenario::attacker_value`].
pub(super) const ATTACKER: &str = "ATTACKER";

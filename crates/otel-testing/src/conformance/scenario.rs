//! The scenarios, and the flow of the operation in each.

use super::{Role, input::CONTENT_TYPES};

/// The number of runs of a scenario with unbounded input.
const RUNS: u32 = 200;

/// One situation that a transport's instrumentation is put into.
///
/// A harness asks it for what it needs: [`flow`](Self::flow), [`headers`](Self::headers),
/// [`ambient`](Self::ambient), [`is_public_endpoint`](Self::is_public_endpoint), [`is_filtered`](Self::is_filtered),
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
    /// The instrumentation is around the operation twice, one layer right inside of the other. They record it once.
    TwoLayers,
    /// As [`TwoLayers`](Scenario::TwoLayers), and the inner layer is called on another task, or behind a channel. If
    /// layers stay together only by an option, the harness sets it.
    TaskBetweenLayers,
    /// While the operation runs, its handler (inbound) or what is instrumented (outbound) runs a second one through the
    /// same instrumentation to its end, with [`second_headers`](Scenario::second_headers), before it goes on to
    /// [`AfterAwait`](super::ProbePoint::AfterAwait). Each is recorded.
    SecondOperation,
    /// The header that names the format of a request or message (inbound, among its headers) or of a response (outbound,
    /// where the harness sets it) is a [`content_type`](Scenario::content_type) that an untrusted peer chose. It decides
    /// nothing about recording. The number is the number of the run.
    HostileContentType(u32),
    /// The filter leaves the operation out: nothing is recorded. The context that was received is current in the handler
    /// (inbound), the current one is sent (outbound), in place of the headers of an earlier hop that the message carries.
    Filtered,
    /// Inbound: [`Filtered`](Scenario::Filtered) and [`PublicEndpoint`](Scenario::PublicEndpoint). The context in the
    /// handler is empty.
    FilteredPublicEndpoint,
    /// Each hook that runs for an operation panics, a filter too, but none that decides whether callers are trusted: those
    /// then are not. The operation is recorded.
    PanickingHooks,
    /// Each call of the propagator panics, because it is a [`PanickingPropagator`](super::PanickingPropagator). The
    /// operation is recorded; no context is read (inbound) or written (outbound).
    PanickingPropagator,
    /// A span processor of the recorder's SDK panics at the end of each span. The operation is recorded.
    PanickingProcessor,
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
        Self::TwoLayers,
        Self::TaskBetweenLayers,
        Self::SecondOperation,
        Self::HostileContentType(0),
        Self::Filtered,
        Self::FilteredPublicEndpoint,
        Self::PanickingHooks,
        Self::PanickingPropagator,
        Self::PanickingProcessor,
    ];

    /// The scenarios that make sense on this side.
    pub fn all(role: Role) -> impl Iterator<Item = Self> {
        Self::ALL.iter().copied().filter(move |scenario| scenario.applies_to(role))
    }

    /// The number of operations that one run records.
    pub(super) fn operations(self) -> u64 {
        match self {
            Self::SecondOperation => 2,
            _ if self.is_filtered() => 0,
            _ => 1,
        }
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
            | Self::FilteredPublicEndpoint
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

    /// Returns true if the inbound side must be configured for callers that are not trusted.
    #[must_use]
    pub fn is_public_endpoint(self) -> bool {
        matches!(self, Self::PublicEndpoint | Self::FilteredPublicEndpoint)
    }

    /// Returns true if the instrumentation must have a filter that leaves every operation out.
    #[must_use]
    pub fn is_filtered(self) -> bool {
        matches!(self, Self::Filtered | Self::FilteredPublicEndpoint)
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
            Self::HostileContentType(_) => {
                (0..).zip(CONTENT_TYPES).map(|(run, _)| Self::HostileContentType(run)).collect()
            }
            other => vec![other],
        }
    }
}

/// The beginning of every [`Scenario::attacker_value`].
pub(super) const ATTACKER: &str = "ATTACKER";

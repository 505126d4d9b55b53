//! The start of a server's request: its own span, a part in the span of a layer around it, or its caller's context alone.

use std::sync::Arc;

use http::Request;
use opentelemetry::trace::{Link, SpanKind, TraceContextExt};
use opentelemetry::{Context, KeyValue};
use otel_operation::{Operation, SpanStart, StartTime, StartedSpan, catch_panic, has_parent_based_sampler};
use otel_propagation::{ExtractedParent, HeaderExtractor, baggage};

use crate::head::{HeadView, RequestHead};
use crate::instrumentation::Instrumentation;
use crate::observer::RequestObserver;
use crate::options::Options;
use crate::owner::{self, Facts, Joined};
use crate::protocol::Side;
use crate::record::RequestRecord;
use crate::scope::{RequestOperation, RequestScope, State};
use crate::span::{AttributeScope, SpanName};

/// The instrumentation of one server layer, as its protocol describes it.
pub trait ServerInstrumentation: Instrumentation {
    /// Values read from the head for attributes alone. They are not part of the observer, which moves several times.
    type Details;

    /// Returns the observer of a request, its details and the name of its span.
    fn observe(self: &Arc<Self>, head: &RequestHead<'_>) -> (Self::Observer, Self::Details, SpanName);

    /// Returns the route, if it is known before the handler runs.
    fn route(&self, observer: &Self::Observer) -> Option<&'static str> {
        let _ = observer;
        None
    }

    /// Appends the protocol's attributes, of the scope [`All`](AttributeScope::All) or [`Protocol`](AttributeScope::Protocol).
    fn attributes(
        &self,
        observer: &Self::Observer,
        details: &Self::Details,
        head: &RequestHead<'_>,
        scope: AttributeScope,
        list: &mut Vec<KeyValue>,
    );
}

/// Starts a request.
#[inline(always)]
pub fn start_server<I: ServerInstrumentation, B>(
    instrumentation: &Arc<I>,
    request: &mut Request<B>,
) -> RequestScope<I::Observer> {
    let options = instrumentation.options();
    let head = RequestHead::new(request);
    if instrumentation.is_noop() || instrumentation.excludes(&head) || !options.records(&head) {
        return unrecorded(&**instrumentation, &head);
    }
    let start_time = StartTime::now();
    let (observer, details, name) = instrumentation.observe(&head);
    let is_public = options.is_public(&head);
    let parent = extract(options, &head, is_public);
    let carrier = parent.span_id();
    let mut is_measured = false;
    if owner::can_be_inside(Side::Server) {
        let layer = layer::<I>(&head, carrier, instrumentation.route(&observer));
        if let Some(joined) = owner::join(&layer) {
            if joined.facts.owns_span() {
                return join(
                    &**instrumentation,
                    &head,
                    (observer, details, name),
                    start_time,
                    joined,
                    is_public,
                );
            }
            is_measured = joined.is_recorded;
        }
    }
    let SpanName { text, rank } = name;
    let dropped = match &parent {
        ExtractedParent::SpanContext(parent) if !is_public => instrumentation.tracer().start_dropped(parent),
        _ => None,
    };
    let span = dropped.unwrap_or_else(|| {
        let mut parent = parent.into_context();
        let mut link = None;
        if is_public {
            link = Some(Link::with_context(parent.span().span_context().clone()));
            parent = Context::new();
        }
        let start = || {
            let start = SpanStart::new(text, SpanKind::Server, start_time.time)
                .with_sampler_attributes(options.sampler_attributes);
            match link {
                Some(link) => start.with_link(link),
                None => start,
            }
        };
        let attributes = || {
            let mut list = Vec::new();
            instrumentation.attributes(&observer, &details, &head, AttributeScope::All, &mut list);
            options.capture_request(head.headers, &mut list);
            options.add_request_attributes(&head, &mut list);
            list
        };
        catch_panic(|| instrumentation.tracer().start(start, &parent, attributes))
            .unwrap_or_else(|| StartedSpan::none(&parent))
    });
    let facts = Facts::new(
        Side::Server,
        I::Observer::PROTOCOL,
        carrier,
        span.is_own(),
        span.is_recording(),
        head.method,
        instrumentation.route(&observer),
    );
    let record = RequestRecord::owner(observer, rank, is_measured);
    let mut operation = Operation::from_span(span, start_time, record);
    if options.request_extension {
        let joint = owner::extend(facts, operation.context(), request.extensions_mut());
        operation.observer_mut().place.joint = Some(joint);
    }
    RequestScope(State::Recorded(RequestOperation { operation, facts }))
}

#[inline]
fn extract<V: HeadView>(options: &Options<V>, head: &RequestHead<'_>, is_public: bool) -> ExtractedParent {
    let headers = HeaderExtractor(head.headers);
    let parent = catch_panic(|| match is_public {
        // Only a span that is known to be dropped needs no context with its parent.
        false if has_parent_based_sampler() => options.propagator.extract_parent(&headers),
        false => options.propagator.extract(&headers).into(),
        true => options.propagator.extract_without_baggage(&headers).into(),
    });
    parent.unwrap_or_default()
}

#[inline]
fn layer<'a, I: ServerInstrumentation>(
    head: &RequestHead<'a>,
    carrier: opentelemetry::trace::SpanId,
    route: Option<&'a str>,
) -> owner::Layer<'a> {
    let protocol = I::Observer::PROTOCOL;
    owner::Layer { side: Side::Server, protocol, carrier, route, extensions: head.extensions }
}

/// A request that is not recorded still continues its caller's context, for everything that its code calls; a public
/// endpoint continues nothing. Inside of a recorded request the context of that stays.
#[cold]
#[inline(never)]
fn unrecorded<I: ServerInstrumentation>(
    instrumentation: &I,
    head: &RequestHead<'_>,
) -> RequestScope<I::Observer> {
    let options = instrumentation.options();
    let is_public = options.is_public(head);
    let caller = extract(options, head, is_public);
    let carrier = caller.span_id();
    let is_nested =
        owner::can_be_inside(Side::Server) && owner::is_same_request(&layer::<I>(head, carrier, None));
    RequestScope(match (is_nested, is_public) {
        (true, true) => State::Context(baggage::clear(&Context::current())),
        (true, false) => State::Nothing,
        (false, true) => State::Context(Context::new()),
        (false, false) => State::Context(caller.into_context()),
    })
}

#[cold]
#[inline(never)]
fn join<I: ServerInstrumentation>(
    instrumentation: &I,
    head: &RequestHead<'_>,
    (observer, details, name): (I::Observer, I::Details, SpanName),
    start_time: StartTime,
    mut joined: Joined,
    is_public: bool,
) -> RequestScope<I::Observer> {
    let options = instrumentation.options();
    joined.joint.set_name(name);
    if is_public {
        // The owner decided about the parent; baggage of an untrusted caller still ends here.
        joined.context = baggage::clear(&joined.context);
    }
    let record = RequestRecord::inner(observer, &joined);
    let mut operation = Operation::without_span(joined.context, start_time, record);
    let (record, span) = operation.parts();
    if let Some(span) = record.place.span(span) {
        let mut list = Vec::new();
        if span.scope() == AttributeScope::Protocol {
            instrumentation.attributes(&record.observer, &details, head, AttributeScope::Protocol, &mut list);
            options.capture_request(head.headers, &mut list);
        }
        options.add_request_attributes(head, &mut list);
        span.set_attributes(list);
    }
    RequestScope(State::Recorded(RequestOperation { operation, facts: joined.facts }))
}

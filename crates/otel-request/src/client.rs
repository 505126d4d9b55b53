//! The start of a client's attempt: its own span, or a part in the span of a layer around it.

use std::sync::Arc;

use http::Request;
use opentelemetry::trace::{SpanId, SpanKind, TraceContextExt};
use opentelemetry::{Context, KeyValue};
use otel_operation::{Operation, SpanStart, StartTime, StartedSpan, catch_panic};
use otel_propagation::{HeaderExtractor, HeaderInjector};

#[cfg(feature = "tokio")]
use crate::deadline::Deadline;
use crate::head::{HeadView, RequestHead};
use crate::instrumentation::Instrumentation;
use crate::observer::RequestObserver;
use crate::options::Options;
use crate::owner::{self, Facts, Joined};
use crate::protocol::Side;
use crate::record::RequestRecord;
use crate::resend::ResendCounter;
use crate::scope::{RequestOperation, RequestScope, State};
use crate::span::{AttributeScope, SpanName};

/// The instrumentation of one client layer, as its protocol describes it.
pub trait ClientInstrumentation: Instrumentation {
    /// Values read from the head for attributes alone. They are not part of the observer, which moves several times.
    type Details<'a>;

    /// Returns the observer of an attempt, its details and the name of its span.
    fn observe<'a>(
        self: &'a Arc<Self>,
        head: &RequestHead<'a>,
    ) -> (Self::Observer, Self::Details<'a>, SpanName);

    /// The context of the attempt is known; its headers are not written yet.
    #[inline]
    fn on_start(&self, head: &RequestHead<'_>, context: &Context) {
        let _ = (head, context);
    }

    /// Appends the protocol's attributes, of the scope [`All`](AttributeScope::All) or [`Protocol`](AttributeScope::Protocol).
    /// `resend_count` is the number of attempts before this one, 0 for a layer inside.
    fn attributes(
        &self,
        observer: &Self::Observer,
        details: &Self::Details<'_>,
        head: &RequestHead<'_>,
        resend_count: u32,
        scope: AttributeScope,
        list: &mut Vec<KeyValue>,
    );
}

/// Starts an attempt, and writes its context into the request's headers.
///
/// The parent is the `opentelemetry::Context` among the request's extensions, or else the current context.
#[inline]
pub fn start_client<I: ClientInstrumentation, B>(
    instrumentation: &Arc<I>,
    request: &mut Request<B>,
) -> RequestScope<I::Observer> {
    let options = instrumentation.options();
    if instrumentation.is_noop() {
        return forward(options, request);
    }
    let head = RequestHead::new(request);
    if instrumentation.excludes(&head) || !options.records(&head) {
        return unrecorded(&**instrumentation, request);
    }
    let start_time = StartTime::now();
    let (observer, details, name) = instrumentation.observe(&head);
    let mut is_measured = false;
    if owner::can_be_inside(Side::Client)
        && let Some(joined) = find(&**instrumentation, &head)
    {
        if joined.facts.owns_span() {
            return join(&**instrumentation, &head, (observer, details, name), start_time, joined);
        }
        is_measured = joined.is_recorded;
    }
    let parent = parent(&head);
    // Only here, because layers that join would count the same attempt again.
    let resend_count = head.extensions.get::<ResendCounter>().map_or(0, ResendCounter::increment);
    let SpanName { text, rank } = name;
    let span = catch_panic(|| {
        let start = || {
            SpanStart::new(text, SpanKind::Client, start_time.time)
                .with_sampler_attributes(options.sampler_attributes)
        };
        instrumentation.tracer().start(start, &parent, || {
            let mut list = Vec::with_capacity(12);
            instrumentation.attributes(
                &observer,
                &details,
                &head,
                resend_count,
                AttributeScope::All,
                &mut list,
            );
            options.capture_request(head.headers, &mut list);
            options.add_request_attributes(&head, &mut list);
            #[cfg(feature = "tokio")]
            list.extend(Deadline::remaining_attribute(&parent));
            list
        })
    });
    let span = span.unwrap_or_else(|| StartedSpan::none(&parent));
    let is_own = span.is_own();
    let carrier = span.context().span().span_context().span_id();
    let facts = Facts::new(
        Side::Client,
        I::Observer::PROTOCOL,
        carrier,
        is_own,
        span.is_recording(),
        head.method,
        None,
    );
    let record = RequestRecord::owner(observer, rank, is_measured);
    let mut operation = Operation::from_span(span, start_time, record);
    instrumentation.on_start(&head, operation.context());
    // They can borrow from the head.
    drop(details);
    if options.request_extension {
        let joint = owner::extend(facts, operation.context(), request.extensions_mut());
        operation.observer_mut().place.joint = Some(joint);
    }
    inject(options, operation.context(), is_own, request);
    RequestScope(State::Recorded(RequestOperation { operation, facts }))
}

#[inline]
fn parent(head: &RequestHead<'_>) -> Context {
    head.extensions.get::<Context>().cloned().unwrap_or_else(Context::current)
}

/// Writes a context. Without a span of its own the layer only completes the headers that the caller wrote.
#[inline]
fn inject<V: HeadView, B>(options: &Options<V>, context: &Context, is_own: bool, request: &mut Request<B>) {
    let mut headers = HeaderInjector(request.headers_mut());
    let _ = catch_panic(|| {
        if is_own {
            options.propagator.inject(context, &mut headers);
        } else {
            options.propagator.inject_absent(context, &mut headers);
        }
    });
}

/// Without an SDK an attempt carries the context of its caller, beside the headers that the caller wrote.
#[cold]
#[inline(never)]
fn forward<V: HeadView, B, C: RequestObserver>(
    options: &Options<V>,
    request: &mut Request<B>,
) -> RequestScope<C> {
    let given = request.extensions().get::<Context>().cloned();
    let context = given.clone().unwrap_or_else(Context::current);
    inject(options, &context, false, request);
    RequestScope(given.map_or(State::Nothing, State::Context))
}

/// An attempt that is not recorded still carries the current context. Inside of a recorded attempt the headers stay.
#[cold]
#[inline(never)]
fn unrecorded<I: ClientInstrumentation, B>(
    instrumentation: &I,
    request: &mut Request<B>,
) -> RequestScope<I::Observer> {
    let options = instrumentation.options();
    let head = RequestHead::new(request);
    let is_nested = owner::can_be_inside(Side::Client)
        && carrier(options, &head).is_some_and(|carrier| owner::is_same_request(&layer::<I>(&head, carrier)));
    if !is_nested {
        let context = parent(&head);
        // The current span is one of this process: headers of an earlier hop are stale beside it.
        let is_own = context.span().span_context().is_valid();
        inject(options, &context, is_own, request);
    }
    RequestScope(State::Nothing)
}

/// Returns the span id in the headers of an attempt: a layer around it has written its span there.
fn carrier<V: HeadView>(options: &Options<V>, head: &RequestHead<'_>) -> Option<SpanId> {
    let context = catch_panic(|| options.propagator.extract(&HeaderExtractor(head.headers)))?;
    Some(context.span().span_context().span_id())
}

fn layer<'a, I: ClientInstrumentation>(head: &RequestHead<'a>, carrier: SpanId) -> owner::Layer<'a> {
    let protocol = I::Observer::PROTOCOL;
    owner::Layer { side: Side::Client, protocol, carrier, route: None, extensions: head.extensions }
}

#[cold]
#[inline(never)]
fn find<I: ClientInstrumentation>(instrumentation: &I, head: &RequestHead<'_>) -> Option<Joined> {
    let carrier = carrier(instrumentation.options(), head)?;
    owner::join(&layer::<I>(head, carrier))
}

#[cold]
#[inline(never)]
fn join<I: ClientInstrumentation>(
    instrumentation: &I,
    head: &RequestHead<'_>,
    (observer, details, name): (I::Observer, I::Details<'_>, SpanName),
    start_time: StartTime,
    joined: Joined,
) -> RequestScope<I::Observer> {
    let options = instrumentation.options();
    joined.joint.set_name(name);
    let record = RequestRecord::inner(observer, &joined);
    let mut operation = Operation::without_span(joined.context, start_time, record);
    let (record, span) = operation.parts();
    if let Some(span) = record.place.span(span) {
        let mut list = Vec::with_capacity(12);
        if span.scope() == AttributeScope::Protocol {
            instrumentation.attributes(
                &record.observer,
                &details,
                head,
                0,
                AttributeScope::Protocol,
                &mut list,
            );
            options.capture_request(head.headers, &mut list);
        }
        options.add_request_attributes(head, &mut list);
        span.set_attributes(list);
    }
    instrumentation.on_start(head, operation.context());
    RequestScope(State::Recorded(RequestOperation { operation, facts: joined.facts }))
}

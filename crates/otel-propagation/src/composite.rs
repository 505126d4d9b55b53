//! Several formats as one propagator, read in one pass over the carrier.
//!
//! Follows the OpenTelemetry specification, Context, Propagators API, "Composite Propagator".

use std::sync::Arc;

use opentelemetry::Context;
use opentelemetry::baggage::{Baggage, BaggageExt as _};
use opentelemetry::propagation::text_map_propagator::FieldIter;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use opentelemetry::trace::{SpanContext, TraceContextExt as _};

use crate::b3::B3;
use crate::baggage::propagator::BaggagePropagator;
use crate::carrier::{DynHeaders, ExtractorView, Headers, HeadersMut, InjectorView};
use crate::gathered::{Gathered, Wants};
use crate::pass_through::PassThrough;
use crate::received::{Received, ReceivedTrace};
use crate::trace_context::TraceContext;

/// Several formats, as one propagator.
///
/// Formats are read in the order in which they were added: where two of them find a span context, the later one's
/// counts; where both name the same span, what either of them knows of it is kept. All are written. The default is W3C Trace Context and W3C Baggage, as for `OTEL_PROPAGATORS`.
///
/// Cloning is cheap: clones share the list.
#[derive(Clone, Debug)]
pub struct Composite {
    inner: Arc<Inner>,
}

#[derive(Clone, Debug, Default)]
struct Inner {
    formats: Vec<Format>,
    wants: Wants,
    fields: Vec<String>,
}

/// One format of a composite.
#[derive(Clone, Debug)]
pub(crate) enum Format {
    TraceContext(TraceContext),
    Baggage(BaggagePropagator),
    B3(B3),
    PassThrough(PassThrough),
    Other(Arc<dyn TextMapPropagator + Send + Sync>),
}

impl Format {
    fn propagator(&self) -> &dyn TextMapPropagator {
        match self {
            Self::TraceContext(format) => format,
            Self::Baggage(format) => format,
            Self::B3(format) => format,
            Self::PassThrough(format) => format,
            Self::Other(format) => &**format,
        }
    }
}

impl Default for Composite {
    fn default() -> Self {
        Self::empty().with_trace_context(TraceContext::new()).with_baggage(BaggagePropagator::new())
    }
}

impl Composite {
    /// A composite of nothing, to add formats to. It reads and writes nothing.
    #[must_use]
    pub fn empty() -> Self {
        Self { inner: Arc::new(Inner::default()) }
    }

    /// Adds W3C Trace Context.
    #[must_use]
    pub fn with_trace_context(self, format: TraceContext) -> Self {
        self.with(Format::TraceContext(format))
    }

    /// Adds W3C Baggage.
    #[must_use]
    pub fn with_baggage(self, format: BaggagePropagator) -> Self {
        self.with(Format::Baggage(format))
    }

    /// Adds B3.
    #[must_use]
    pub fn with_b3(self, format: B3) -> Self {
        self.with(Format::B3(format))
    }

    /// Adds headers that travel unchanged. They are written after everything else, and never over a header that is
    /// there. Added again, the names are put together.
    #[must_use]
    pub fn with_pass_through(mut self, headers: PassThrough) -> Self {
        for format in &mut Arc::make_mut(&mut self.inner).formats {
            if let Format::PassThrough(former) = format {
                former.merge(headers);
                return self.rebuilt();
            }
        }
        self.with(Format::PassThrough(headers))
    }

    /// Adds a propagator that is not of this crate. It is reached through trait objects, which costs about twice as
    /// much as one of ours.
    #[must_use]
    pub fn with_other<P: TextMapPropagator + Send + Sync + 'static>(self, propagator: P) -> Self {
        self.with(Format::Other(Arc::new(propagator)))
    }

    fn with(mut self, format: Format) -> Self {
        Arc::make_mut(&mut self.inner).formats.push(format);
        self.rebuilt()
    }

    fn rebuilt(mut self) -> Self {
        let inner = Arc::make_mut(&mut self.inner);
        inner.wants = Wants::of(&inner.formats);
        inner.fields.clear();
        for field in inner.formats.iter().flat_map(|format| format.propagator().fields()) {
            if !inner.fields.iter().any(|known| known == field) {
                inner.fields.push(field.to_owned());
            }
        }
        self
    }

    /// Reads a carrier in one pass, starting from an empty context.
    pub(crate) fn read<C: Headers + ?Sized>(&self, carrier: &C) -> Context {
        let Inner { formats, wants, .. } = &*self.inner;
        let mut gathered = Gathered::new(formats, *wants);
        gathered.read_headers(carrier);
        apply(formats, Context::new(), &gathered, &ExtractorView(carrier))
    }

    /// Writes a context to a carrier; what the formats could have left there before is removed.
    pub(crate) fn write<C: HeadersMut>(&self, cx: &Context, carrier: &mut C) {
        write(&self.inner.formats, cx, carrier);
    }
}

impl TextMapPropagator for Composite {
    fn inject_context(&self, cx: &Context, injector: &mut dyn Injector) {
        inject_dyn(&self.inner.formats, cx, injector);
    }

    fn extract_with_context(&self, cx: &Context, extractor: &dyn Extractor) -> Context {
        extract_dyn(&self.inner.formats, cx, extractor)
    }

    fn fields(&self) -> FieldIter<'_> {
        FieldIter::new(&self.inner.fields)
    }
}

/// Reads an [`Extractor`], as the API's propagators do: on top of `cx`.
pub(crate) fn extract_dyn(formats: &[Format], cx: &Context, extractor: &dyn Extractor) -> Context {
    let mut gathered = Gathered::new(formats, Wants::of(formats));
    gathered.read_extractor(extractor);
    apply(formats, cx.clone(), &gathered, extractor)
}

fn apply(formats: &[Format], cx: Context, gathered: &Gathered<'_, '_>, raw: &dyn Extractor) -> Context {
    let mut found = Found { cx, received: None };
    for format in formats {
        match format {
            Format::TraceContext(format) => format.read(gathered, &mut found),
            Format::Baggage(format) => format.read(gathered, &mut found),
            Format::B3(format) => format.read(gathered, &mut found),
            Format::PassThrough(format) => format.read(gathered, &mut found),
            Format::Other(other) => found.cx = extract_other(&**other, &found.cx, raw),
        }
    }
    // Taken out of its place only where there is something: moving all of it costs more than the rest of this.
    if let Some(received) = &mut found.received {
        return std::mem::take(received).store(&found.cx);
    }
    found.cx
}

/// The context as far as it was read, and what is yet to be stored in it: once, for each value costs allocations.
pub(crate) struct Found {
    cx: Context,
    received: Option<Received>,
}

impl Found {
    #[inline]
    pub(crate) fn put_span_context(&mut self, mut span_context: SpanContext, mut trace: ReceivedTrace) {
        if let Some(former) = self.received.as_ref().and_then(|received| received.trace.as_ref()) {
            // Services that write several formats write the same span in each; none of them holds all that is known.
            let span = self.cx.span();
            if span.span_context().span_id() == span_context.span_id() && former.trace_id == trace.trace_id {
                span_context = trace.merge(former, span.span_context(), &span_context);
            }
        }
        self.cx = self.cx.with_remote_span_context(span_context);
        // One that is there may be for the same trace, and would then be taken for this one's.
        let replaces = self.received.is_some() || self.cx.get::<Received>().is_some();
        if replaces || trace.is_worth_keeping() {
            self.received.get_or_insert_default().trace = Some(trace);
        }
    }

    pub(crate) fn put_baggage(&mut self, baggage: Baggage) {
        if !baggage.is_empty() {
            self.cx = self.cx.with_baggage(baggage);
        }
    }

    pub(crate) fn put_baggage_text(&mut self, text: String) {
        if !text.is_empty() {
            self.received.get_or_insert_default().baggage = Some(text.into());
        }
    }

    pub(crate) fn put_passed(&mut self, passed: Vec<(Arc<str>, Box<str>)>) {
        if !passed.is_empty() {
            self.received.get_or_insert_default().passed = Some(passed.into());
        }
    }
}

/// Lets a propagator that is not ours read. One without fields reads nothing; it may be OpenTelemetry's no-op, which
/// answers with the context that is current on the thread whatever it is given.
pub(crate) fn extract_other(other: &dyn TextMapPropagator, cx: &Context, raw: &dyn Extractor) -> Context {
    if other.fields().next().is_none() {
        return cx.clone();
    }
    other.extract_with_context(cx, raw)
}

/// Writes a context to a carrier; what the formats could have left there before is removed.
fn write<C: HeadersMut>(formats: &[Format], cx: &Context, carrier: &mut C) {
    let mut pass_through = None;
    for format in formats {
        match format {
            Format::TraceContext(format) => format.write(cx, carrier),
            Format::Baggage(format) => format.write(cx, carrier),
            Format::B3(format) => format.write(cx, carrier),
            Format::PassThrough(format) => pass_through = Some(format),
            Format::Other(other) => inject_other(&**other, cx, carrier),
        }
    }
    // These are last, so that a name which a format owns is left to that format.
    if let Some(format) = pass_through {
        format.write(cx, carrier);
    }
}

/// Writes a context through an [`Injector`].
pub(crate) fn inject_dyn(formats: &[Format], cx: &Context, injector: &mut dyn Injector) {
    write(formats, cx, &mut DynHeaders(injector));
}

/// Lets a propagator that is not ours write, after its fields were removed: it may write nothing where it has nothing.
pub(crate) fn inject_other<C: HeadersMut>(other: &dyn TextMapPropagator, cx: &Context, carrier: &mut C) {
    for field in other.fields() {
        carrier.remove(field);
    }
    other.inject_context(cx, &mut InjectorView(carrier));
}

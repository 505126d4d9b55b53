//! Several formats as one propagator, read in one pass over the carrier.
//!
//! Follows the OpenTelemetry specification, "Composite Propagator"
//! (<https://opentelemetry.io/docs/specs/otel/context/api-propagators/#composite-propagator>).

use std::sync::Arc;

use opentelemetry::Context;
use opentelemetry::propagation::text_map_propagator::FieldIter;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use opentelemetry::trace::{SpanContext, TraceContextExt as _};

use crate::b3::{self, B3Propagator};
use crate::baggage::propagator::BaggagePropagator;
use crate::carrier::{DynHeaders, ExtractorView, HeaderReader, HeaderWriter};
use crate::carrier_fields::{CarrierFields, SingleFields, WantedFields};
use crate::extracted::{Extracted, ExtractedParent};
use crate::fields;
use crate::foreign;
use crate::pass_through::PassThroughPropagator;
use crate::trace_context::{self, TraceContextPropagator};
use crate::write_scope::WriteScope;

/// Several formats, as one propagator.
///
/// Formats are read in the order in which they were added: where two of them find a span context, the later one's
/// counts; where both name the same span, what either of them knows of it is kept. All are written. The default is W3C Trace Context and W3C Baggage, as for `OTEL_PROPAGATORS`.
///
/// Cloning is cheap: clones share the list.
#[derive(Clone, Debug)]
pub struct CompositePropagator {
    inner: Arc<Inner>,
}

#[derive(Clone, Debug, Default)]
struct Inner {
    formats: Vec<Format>,
    wanted: WantedFields,
    /// Set if there is Trace Context and, besides, at most Baggage.
    is_w3c: bool,
    fields: Vec<String>,
}

/// One format of a composite.
#[derive(Clone, Debug)]
pub(crate) enum Format {
    TraceContext(TraceContextPropagator),
    Baggage(BaggagePropagator),
    B3(B3Propagator),
    PassThrough(PassThroughPropagator),
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

impl Default for CompositePropagator {
    fn default() -> Self {
        Self::empty().with_trace_context(TraceContextPropagator::new()).with_baggage(BaggagePropagator::new())
    }
}

impl CompositePropagator {
    /// A composite of nothing, to add formats to. It reads and writes nothing.
    #[must_use]
    pub fn empty() -> Self {
        Self { inner: Arc::new(Inner::default()) }
    }

    /// Adds W3C Trace Context.
    #[must_use]
    pub fn with_trace_context(self, format: TraceContextPropagator) -> Self {
        self.with(Format::TraceContext(format))
    }

    /// Adds W3C Baggage.
    #[must_use]
    pub fn with_baggage(self, format: BaggagePropagator) -> Self {
        self.with(Format::Baggage(format))
    }

    /// Adds B3.
    #[must_use]
    pub fn with_b3(self, format: B3Propagator) -> Self {
        self.with(Format::B3(format))
    }

    /// Adds headers that travel unchanged. They are written last, and never over a header that the
    /// carrier has. Added again, the names are put together; those beyond 32 are left out.
    #[must_use]
    pub fn with_pass_through(mut self, headers: PassThroughPropagator) -> Self {
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
        inner.wanted = wanted(&inner.formats);
        let is_w3c = |format: &Format| matches!(format, Format::TraceContext(_) | Format::Baggage(_));
        inner.is_w3c = inner.wanted.trace_context && inner.formats.iter().all(is_w3c);
        inner.fields.clear();
        for field in inner.formats.iter().flat_map(|format| format.propagator().fields()) {
            if !inner.fields.iter().any(|known| known == field) {
                inner.fields.push(field.to_owned());
            }
        }
        self
    }

    /// Reads a carrier in one pass.
    pub(crate) fn read<C: HeaderReader + ?Sized>(&self, carrier: &C) -> ExtractedParent {
        let Inner { formats, wanted, is_w3c, .. } = &*self.inner;
        if *is_w3c && let Some(fields) = SingleFields::read(carrier, wanted.baggage) {
            if fields.is_lone()
                && let Some(span) =
                    fields.traceparent.map_or(Some(SpanContext::NONE), trace_context::read_lone)
            {
                return ExtractedParent::SpanContext(span);
            }
            return apply(formats, Context::new(), &fields.into(), &ExtractorView(carrier)).into();
        }
        let mut fields = CarrierFields::new(*wanted, names(formats));
        fields.read_headers(carrier);
        apply(formats, Context::new(), &fields, &ExtractorView(carrier)).into()
    }

    /// Writes a context to a carrier, in place of headers that the formats could have left there before.
    pub(crate) fn write<C: HeaderWriter>(&self, cx: &Context, carrier: &mut C) {
        self.write_span(cx.span().span_context(), cx, carrier);
    }

    /// Writes a span context, and the rest of a context, as [`write`](Self::write) does.
    pub(crate) fn write_span<C: HeaderWriter>(&self, span: &SpanContext, cx: &Context, carrier: &mut C) {
        write(&self.inner.formats, span, cx, carrier, WriteScope::ALL);
    }

    /// Writes the parts of a context of which the carrier holds nothing yet.
    pub(crate) fn write_absent<C: HeaderWriter>(&self, cx: &Context, carrier: &mut C) {
        let Inner { formats, wanted, .. } = &*self.inner;
        let owned = formats.iter().filter(|format| !matches!(format, Format::PassThrough(_)));
        let written = owned.flat_map(|format| format.propagator().fields());
        let read = fields::B3.into_iter().filter(|_| wanted.b3);
        let scope = WriteScope::absent(carrier, written.chain(read));
        write(formats, cx.span().span_context(), cx, carrier, scope);
    }
}

impl TextMapPropagator for CompositePropagator {
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
    let mut fields = CarrierFields::new(wanted(formats), names(formats));
    fields.read_extractor(extractor);
    apply(formats, cx.clone(), &fields, extractor)
}

/// The headers that some formats ask for; a composite works it out once.
fn wanted(formats: &[Format]) -> WantedFields {
    let mut wanted = WantedFields::default();
    for format in formats {
        match format {
            Format::TraceContext(_) => wanted.trace_context = true,
            Format::Baggage(_) => wanted.baggage = true,
            Format::B3(_) => wanted.b3 = true,
            Format::PassThrough(_) | Format::Other(_) => {}
        }
    }
    wanted
}

/// The names of the headers that are passed through.
fn names(formats: &[Format]) -> &[String] {
    let names = formats.iter().find_map(|format| match format {
        Format::PassThrough(names) => Some(names.names()),
        _ => None,
    });
    names.unwrap_or_default()
}

fn apply(formats: &[Format], cx: Context, fields: &CarrierFields<'_, '_>, raw: &dyn Extractor) -> Context {
    let mut extracted = Extracted::new(cx);
    for format in formats {
        match format {
            Format::TraceContext(format) => format.read(fields, &mut extracted),
            Format::Baggage(format) => format.read(fields, &mut extracted),
            Format::B3(format) => format.read(fields, &mut extracted),
            Format::PassThrough(format) => format.read(fields, &mut extracted),
            Format::Other(other) => extracted.replace_context(|cx| foreign::extract(&**other, cx, raw)),
        }
    }
    extracted.into_context()
}

/// Writes a span context and the rest of a context to a carrier. A format with nothing to write leaves the carrier as it is.
fn write<C: HeaderWriter>(
    formats: &[Format],
    span: &SpanContext,
    cx: &Context,
    carrier: &mut C,
    scope: WriteScope,
) {
    let (mut pass_through, mut b3_cleared) = (None, false);
    for format in formats {
        match format {
            Format::TraceContext(format) if scope.trace => format.write(span, cx, carrier),
            Format::Baggage(format) if scope.baggage => format.write(cx, carrier),
            Format::B3(format) if scope.trace => {
                if span.is_valid() {
                    // Once, because both forms may be written.
                    if !std::mem::replace(&mut b3_cleared, true) {
                        b3::clear(carrier);
                    }
                    format.write(span, cx, carrier);
                }
            }
            Format::TraceContext(_) | Format::Baggage(_) | Format::B3(_) => {}
            Format::PassThrough(format) => pass_through = Some(format),
            Format::Other(other) => foreign::inject_span(&**other, span, cx, carrier, scope),
        }
    }
    // These are last, so that a name which a format owns is left to that format.
    if let Some(format) = pass_through {
        format.write(cx, carrier);
    }
}

/// Writes a context through an [`Injector`].
pub(crate) fn inject_dyn(formats: &[Format], cx: &Context, injector: &mut dyn Injector) {
    write(formats, cx.span().span_context(), cx, &mut DynHeaders(injector), WriteScope::ALL);
}

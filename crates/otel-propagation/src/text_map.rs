//! The single formats as propagators of the API: each is a composite of one.

use std::sync::LazyLock;

use opentelemetry::Context;
use opentelemetry::propagation::text_map_propagator::FieldIter;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};

use crate::b3::B3Propagator;
use crate::baggage::propagator::BaggagePropagator;
use crate::composite::{Format, extract_dyn, inject_dyn};
use crate::fields::{
    B3_FLAGS, B3_SAMPLED, B3_SINGLE, B3_SPAN_ID, B3_TRACE_ID, BAGGAGE, TRACEPARENT, TRACESTATE,
};
use crate::pass_through::PassThroughPropagator;
use crate::trace_context::TraceContextPropagator;

macro_rules! text_map_propagator {
    ($format:ident as $variant:ident, $fields:expr) => {
        impl TextMapPropagator for $format {
            fn inject_context(&self, cx: &Context, injector: &mut dyn Injector) {
                inject_dyn(&[Format::$variant(self.clone())], cx, injector);
            }

            fn extract_with_context(&self, cx: &Context, extractor: &dyn Extractor) -> Context {
                extract_dyn(&[Format::$variant(self.clone())], cx, extractor)
            }

            fn fields(&self) -> FieldIter<'_> {
                FieldIter::new($fields(self))
            }
        }
    };
}

text_map_propagator!(TraceContextPropagator as TraceContext, |_| {
    static FIELDS: LazyLock<[String; 2]> = LazyLock::new(|| [TRACEPARENT, TRACESTATE].map(str::to_owned));
    &*FIELDS
});
text_map_propagator!(BaggagePropagator as Baggage, |_| {
    static FIELDS: LazyLock<[String; 1]> = LazyLock::new(|| [BAGGAGE.to_owned()]);
    &*FIELDS
});
text_map_propagator!(B3Propagator as B3, |format: &B3Propagator| {
    static SINGLE: LazyLock<[String; 1]> = LazyLock::new(|| [B3_SINGLE.to_owned()]);
    static MULTI: LazyLock<[String; 4]> =
        LazyLock::new(|| [B3_TRACE_ID, B3_SPAN_ID, B3_SAMPLED, B3_FLAGS].map(str::to_owned));
    if format.multi { &MULTI[..] } else { &SINGLE[..] }
});
text_map_propagator!(PassThroughPropagator as PassThrough, PassThroughPropagator::names);

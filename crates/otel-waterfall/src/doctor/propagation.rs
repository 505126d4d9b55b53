//! The propagators of `OTEL_PROPAGATORS`: a context is injected and extracted again.

use std::collections::HashMap;

use opentelemetry::{
    Context,
    propagation::TextMapPropagator,
    trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState},
};
use otel_propagation::CompositePropagator;

use super::Finding;

const DEFAULT: &str = "tracecontext,baggage";

pub(super) fn check(variable: &impl Fn(&str) -> Option<String>) -> Finding {
    let list = variable("OTEL_PROPAGATORS").unwrap_or_else(|| DEFAULT.to_owned());
    let propagator = match CompositePropagator::from_list(&list) {
        Ok(propagator) => propagator,
        Err(unknown) => {
            let names: Vec<_> = unknown.names().collect();
            return Finding::Fails(format!("OTEL_PROPAGATORS={list}: unknown are {}", names.join(", ")));
        }
    };
    let sent = SpanContext::new(
        TraceId::from(0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c),
        SpanId::from(0x00f0_67aa_0ba9_02b7),
        TraceFlags::SAMPLED,
        true,
        TraceState::default(),
    );
    let mut headers = HashMap::new();
    propagator.inject_context(&Context::new().with_remote_span_context(sent.clone()), &mut headers);
    let received = propagator.extract_with_context(&Context::new(), &headers);
    let mut names: Vec<_> = headers.keys().map(String::as_str).collect();
    names.sort_unstable();
    if received.span().span_context().trace_id() == sent.trace_id() {
        Finding::Works(format!("{list}: the trace continues by {}", names.join(", ")))
    } else {
        Finding::Fails(format!("OTEL_PROPAGATORS={list}: no header carries the trace to the next service"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(list: &'static str) -> Finding {
        check(&|name: &str| (name == "OTEL_PROPAGATORS" && !list.is_empty()).then(|| list.to_owned()))
    }

    #[test]
    fn known_formats_work() {
        let works = |text: &str| Finding::Works(text.to_owned());
        assert_eq!(checked(""), works("tracecontext,baggage: the trace continues by traceparent"));
        assert_eq!(checked("b3"), works("b3: the trace continues by b3"));
    }

    #[test]
    fn a_list_without_a_trace_fails() {
        for list in ["baggage", "none"] {
            let cause = format!("OTEL_PROPAGATORS={list}: no header carries the trace to the next service");
            assert_eq!(checked(list), Finding::Fails(cause));
        }
        let cause = "OTEL_PROPAGATORS=tracecontext,zipkin: unknown are zipkin";
        assert_eq!(checked("tracecontext,zipkin"), Finding::Fails(cause.to_owned()));
    }
}

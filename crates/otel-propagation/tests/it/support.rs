//! Helpers that several tests share: pairs as a foreign carrier, and a service that continues a trace.

use opentelemetry::Context;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use opentelemetry::trace::{SpanContext, TraceContextExt as _, Tracer as _, TracerProvider as _};
use opentelemetry_sdk::trace::SdkTracerProvider;
use otel_propagation::{PropagatorHandle, TraceContextPropagator};

pub(crate) const TRACE_ID: &str = "12345678901234567890123456789012";
pub(crate) const SPAN_ID: &str = "1234567890123456";
pub(crate) const PARENT: &str = "00-12345678901234567890123456789012-1234567890123456-00";

/// Pairs as the API's own carrier, as an HTTP library would record_header them: names in any case, repeats kept.
pub(crate) struct Foreign<'a>(pub(crate) &'a [(&'a str, &'a str)]);

impl Extractor for Foreign<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(name, _)| name.eq_ignore_ascii_case(key)).map(|(_, value)| *value)
    }

    fn keys(&self) -> Vec<&str> {
        self.0.iter().map(|(name, _)| *name).collect()
    }

    fn get_all(&self, key: &str) -> Option<Vec<&str>> {
        let of_name = self.0.iter().filter(|(name, _)| name.eq_ignore_ascii_case(key));
        let values: Vec<&str> = of_name.map(|(_, value)| *value).collect();
        (!values.is_empty()).then_some(values)
    }
}

/// A foreign carrier that keeps all headers in their order.
#[derive(Default)]
pub(crate) struct Written(pub(crate) Vec<(String, String)>);

impl Injector for Written {
    fn set(&mut self, key: &str, value: String) {
        self.0.push((key.to_owned(), value));
    }
}

pub(crate) fn value<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

pub(crate) fn span_context(cx: &Context) -> SpanContext {
    cx.span().span_context().clone()
}

/// The trace context that a service sent on: the fields of its `traceparent`, and its `tracestate`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) trace_id: String,
    pub(crate) span_id: String,
    pub(crate) flags: String,
    pub(crate) tracestate: Option<String>,
}

impl Sent {
    fn parse(headers: &[(String, String)]) -> Self {
        let traceparent = value(headers, "traceparent").expect("a service always sends a traceparent");
        let parts: Vec<&str> = traceparent.split('-').collect();
        let [version, trace_id, span_id, flags] = parts[..] else { panic!("{traceparent}") };
        assert_eq!((version, traceparent.len()), ("00", 55), "{traceparent}");
        let tracestate = value(headers, "tracestate").map(str::to_owned);
        assert_ne!(tracestate.as_deref(), Some(""), "an empty tracestate is never sent");
        let [trace_id, span_id, flags] = [trace_id, span_id, flags].map(str::to_owned);
        Self { trace_id, span_id, flags, tracestate }
    }
}

/// A service that receives these headers, starts a span, and calls another service in it. It does so in the typed and in
/// the API's way, which have to agree.
pub(crate) fn call(headers: &[(&str, &str)]) -> Sent {
    calls(headers, 1).remove(0)
}

/// The same, calling others several times.
pub(crate) fn calls(headers: &[(&str, &str)], count: usize) -> Vec<Sent> {
    let provider = SdkTracerProvider::builder().build();
    let tracer = provider.tracer("service");
    let propagator = TraceContextPropagator::new();
    let propagation = PropagatorHandle::new(propagator);

    let typed = propagation.extract(headers);
    let foreign = propagator.extract_with_context(&Context::new(), &Foreign(headers));
    assert_eq!(span_context(&typed), span_context(&foreign));

    let send = |incoming: &Context| {
        let span = tracer.start_with_context("call", incoming);
        let cx = incoming.with_span(span);
        let (mut ours, mut theirs) = (Vec::new(), Written::default());
        propagation.inject(&cx, &mut ours);
        propagator.inject_context(&cx, &mut theirs);
        ours.sort();
        theirs.0.sort();
        assert_eq!(ours, theirs.0);
        Sent::parse(&ours)
    };
    let sent: Vec<Sent> = (0..count).map(|_| send(&typed)).collect();
    assert_eq!(send(&foreign).tracestate, sent[0].tracestate);
    sent
}

/// The members of a `tracestate`, as keys and values.
pub(crate) fn members(tracestate: Option<&str>) -> Vec<(String, String)> {
    let members = tracestate.into_iter().flat_map(|text| text.split(','));
    members
        .map(|member| member.trim_matches([' ', '\t']))
        .filter(|member| !member.is_empty())
        .map(|member| member.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned())).unwrap())
        .collect()
}

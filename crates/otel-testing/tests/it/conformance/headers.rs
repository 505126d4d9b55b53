//! The toy's propagation, strict where it matters to the suite. W3C Trace Context, W3C Baggage.

use opentelemetry::{
    Context, KeyValue, SpanId, TraceFlags, TraceId,
    baggage::BaggageExt,
    trace::{SpanContext, TraceContextExt, TraceState},
};

use super::fault::Fault;

pub(crate) type Headers = Vec<(String, Vec<u8>)>;

fn texts<'a>(headers: &'a Headers, name: &str) -> Vec<Option<&'a str>> {
    headers.iter().filter(|(key, _)| key == name).map(|(_, value)| str::from_utf8(value).ok()).collect()
}

pub(crate) fn extract(headers: &Headers, fault: Option<Fault>) -> Context {
    let mut cx = if fault == Some(Fault::JoinsAmbient) { Context::current() } else { Context::new() };
    let parents = texts(headers, "traceparent");
    let parent = match &parents[..] {
        _ if fault == Some(Fault::IgnoresHeaders) => None,
        [Some(one)] => parse(one, fault),
        [Some(first), ..] if fault == Some(Fault::FirstParentWins) => parse(first, fault),
        _ => None,
    };
    if let Some((trace, span, flags)) = parent {
        let state =
            texts(headers, "tracestate").first().copied().flatten().and_then(|text| text.parse().ok());
        let state = if fault == Some(Fault::LosesTraceState) { None } else { state };
        cx = cx.with_remote_span_context(SpanContext::new(
            trace,
            span,
            flags,
            true,
            state.unwrap_or_default(),
        ));
    }
    if fault == Some(Fault::AmbientBaggage) {
        let ambient: Vec<_> = Context::current()
            .baggage()
            .iter()
            .map(|(k, (v, _))| KeyValue::new(k.clone(), v.clone()))
            .collect();
        return cx.with_baggage(ambient);
    }
    let mut members: Vec<KeyValue> = texts(headers, "baggage")
        .into_iter()
        .flatten()
        .flat_map(|value| value.split(','))
        .filter_map(|member| member.split_once('='))
        .map(|(key, value)| KeyValue::new(key.to_owned(), value.to_owned()))
        .collect();
    if fault == Some(Fault::LosesBaggage) {
        members.clear();
    }
    cx.with_baggage(members)
}

fn parse(text: &str, fault: Option<Fault>) -> Option<(TraceId, SpanId, TraceFlags)> {
    let lenient = fault == Some(Fault::LenientParent);
    if text.len() != 55 && !lenient {
        return None;
    }
    let mut parts = text.get(..55)?.split('-');
    let (_version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    Some((
        TraceId::from_hex(trace).ok()?,
        SpanId::from_hex(span).ok()?,
        TraceFlags::new(u8::from_str_radix(flags, 16).ok()?),
    ))
}

pub(crate) fn inject(cx: &Context, headers: &mut Headers, fault: Option<Fault>) {
    let has_baggage = cx.baggage().iter().next().is_some() || fault == Some(Fault::RemovesCallersBaggage);
    let stale = |name: &str| match name {
        "traceparent" => fault != Some(Fault::AppendsParent),
        "tracestate" => fault != Some(Fault::ForwardsStaleState),
        "baggage" => has_baggage && fault != Some(Fault::ForwardsStaleBaggage),
        _ => false,
    };
    headers.retain(|(name, _)| !stale(name));
    let span = cx.span().span_context().clone();
    if fault == Some(Fault::InjectsNothing) || !span.is_valid() {
        return;
    }
    let parent = format!("00-{}-{}-{:02x}", span.trace_id(), span.span_id(), span.trace_flags().to_u8());
    headers.push(("traceparent".to_owned(), parent.into_bytes()));
    if span.trace_state() != &TraceState::NONE && fault != Some(Fault::LosesTraceState) {
        headers.push(("tracestate".to_owned(), span.trace_state().header().into_bytes()));
    }
    let members: Vec<String> = cx
        .baggage()
        .iter()
        .map(|(key, (value, _))| {
            let value = value.as_str();
            format!(
                "{key}={}",
                if fault == Some(Fault::BareBaggage) { value.to_owned() } else { coded(value) }
            )
        })
        .collect();
    if !members.is_empty() && fault != Some(Fault::LosesBaggage) {
        headers.push(("baggage".to_owned(), members.join(",").into_bytes()));
    }
}

fn coded(value: &str) -> String {
    value
        .bytes()
        .map(|b| if b.is_ascii_alphanumeric() { char::from(b).to_string() } else { format!("%{b:02X}") })
        .collect()
}

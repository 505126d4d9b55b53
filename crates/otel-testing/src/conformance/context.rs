//! Context: parents and links of spans, what is current in user code, what is sent.
//!
//! Follows <https://www.w3.org/TR/trace-context-2/>.

use opentelemetry::{SpanId, trace::SpanContext};
use opentelemetry_sdk::trace::SpanData;

use super::{
    Observed, ProbePoint, Role, Scenario,
    input::{AMBIENT, RECEIVED, STALE, ids},
    observed::ContextSnapshot,
};

pub(super) fn all(
    role: Role,
    propagates: bool,
    scenario: Scenario,
    operations: &[&SpanData],
    observed: &[Observed],
) -> Result<(), String> {
    for span in operations {
        match role {
            Role::Inbound => inbound_parent(scenario, span)?,
            Role::Outbound => outbound_parent(scenario, span)?,
        }
    }
    // With several operations it is not known whose snapshots are whose.
    let span = if let [one] = operations { Some(&one.span_context) } else { None };
    for seen in observed {
        match role {
            Role::Inbound => inside(scenario, span, seen)?,
            Role::Outbound if propagates => sent(scenario, span, seen)?,
            Role::Outbound => {}
        }
    }
    Ok(())
}

fn inbound_parent(scenario: Scenario, span: &SpanData) -> Result<(), String> {
    let own = &span.span_context;
    if own.trace_id() == AMBIENT.trace_id() || span.parent_span_id == AMBIENT.span_id() {
        return Err("it joined the context that happened to be current".to_owned());
    }
    let root = span.parent_span_id == SpanId::INVALID && own.trace_id() != RECEIVED.trace_id();
    match scenario {
        Scenario::NoParent
        | Scenario::MalformedParent
        | Scenario::TwoParents
        | Scenario::NonUtf8Headers
        | Scenario::HugeHeaders
        | Scenario::PanickingPropagator => {
            if !root || span.parent_span_id == STALE.span_id() {
                return Err("it has a parent, and no valid one was received".to_owned());
            }
        }
        Scenario::PublicEndpoint => {
            if !root {
                return Err("it continues the trace of a caller that is not trusted".to_owned());
            }
            let linked = |context: &SpanContext| ids(context) == (RECEIVED.trace_id(), RECEIVED.span_id());
            if !span.links.iter().any(|link| linked(&link.span_context)) {
                return Err("it has no link to the context that was received".to_owned());
            }
        }
        _ => {
            if (own.trace_id(), span.parent_span_id) != (RECEIVED.trace_id(), RECEIVED.span_id()) {
                return Err("it does not continue the trace that was received".to_owned());
            }
        }
    }
    if scenario == Scenario::Parent && own.trace_state().get("vendor") != Some("value") {
        return Err("the received tracestate is lost".to_owned());
    }
    Ok(())
}

fn outbound_parent(scenario: Scenario, span: &SpanData) -> Result<(), String> {
    let expected = match scenario {
        Scenario::NoParent => SpanId::INVALID,
        _ => AMBIENT.span_id(),
    };
    if span.parent_span_id == expected {
        Ok(())
    } else {
        Err(format!("its parent is {}, not {expected}", span.parent_span_id))
    }
}

/// Checks what was current inside the handler.
fn inside(scenario: Scenario, span: Option<&SpanContext>, seen: &Observed) -> Result<(), String> {
    let needed: &[ProbePoint] = match scenario {
        Scenario::Success
        | Scenario::Parent
        | Scenario::NoParent
        | Scenario::UnsampledParent
        | Scenario::Baggage
        | Scenario::PublicEndpoint
        | Scenario::SdkShutDown
        | Scenario::TwoLayers
        | Scenario::TaskBetweenLayers
        | Scenario::Filtered
        | Scenario::FilteredPublicEndpoint
        | Scenario::PanickingHooks
        | Scenario::PanickingPropagator
        | Scenario::PanickingProcessor => &[ProbePoint::Call, ProbePoint::AfterAwait],
        Scenario::HugeHeaders | Scenario::ManyHeaders => &[ProbePoint::Call],
        Scenario::ContextInBody => &[ProbePoint::Body],
        _ => &[],
    };
    if let Some(point) = needed
        .iter()
        .find(|point| !seen.instrumented.snapshots.iter().any(|snapshot| snapshot.point == **point))
    {
        return Err(format!("the harness noted no context at {point:?}"));
    }
    seen.instrumented.snapshots.iter().try_for_each(|snapshot| {
        check_snapshot(scenario, span, snapshot).map_err(|what| format!("at {:?}, {what}", snapshot.point))
    })
}

fn check_snapshot(
    scenario: Scenario,
    span: Option<&SpanContext>,
    snapshot: &ContextSnapshot,
) -> Result<(), String> {
    let current = &snapshot.span;
    match (scenario, span) {
        (Scenario::UnsampledParent, _) => {
            if current.trace_id() != RECEIVED.trace_id() || current.is_sampled() {
                return Err(format!("the unsampled trace is not continued: {current:?}"));
            }
        }
        (Scenario::FilteredPublicEndpoint, _) => {
            if current.is_valid() {
                return Err(format!("the context of a caller that is not trusted is continued: {current:?}"));
            }
        }
        (Scenario::SdkShutDown | Scenario::Filtered, _) => {
            if ids(current) != (RECEIVED.trace_id(), RECEIVED.span_id()) {
                return Err(format!("the received context is not passed on: {current:?}"));
            }
        }
        (_, Some(span)) => {
            if ids(current) != ids(span) {
                return Err(format!("the operation's span is not current, but {current:?}"));
            }
        }
        (_, None) => {}
    }
    let member =
        |key: &str| snapshot.baggage.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str());
    if member("ambient").is_some() {
        return Err("there is baggage that happened to be current".to_owned());
    }
    match scenario {
        Scenario::Baggage | Scenario::Filtered
            if (member("tenant"), member("plan")) != (Some("acme"), Some("gold")) =>
        {
            return Err(format!("the received baggage is lost: {:?}", snapshot.baggage));
        }
        Scenario::PublicEndpoint | Scenario::FilteredPublicEndpoint if !snapshot.baggage.is_empty() => {
            return Err("there is baggage of a caller that is not trusted".to_owned());
        }
        _ => {}
    }
    Ok(())
}

/// Checks the headers that reached the peer.
fn sent(scenario: Scenario, span: Option<&SpanContext>, seen: &Observed) -> Result<(), String> {
    let values = |name: &str| -> Vec<String> {
        seen.sent
            .iter()
            .filter(|(sent, _)| sent.eq_ignore_ascii_case(name))
            .map(|(_, value)| String::from_utf8_lossy(value).into_owned())
            .collect()
    };
    if scenario == Scenario::CallersHeaders {
        return untouched(scenario, &values);
    }
    let parents = values("traceparent");
    let needed = matches!(
        scenario,
        Scenario::Success
            | Scenario::Parent
            | Scenario::NoParent
            | Scenario::UnsampledParent
            | Scenario::Baggage
            | Scenario::StaleHeaders
            | Scenario::StaleBaggage
            | Scenario::SdkShutDown
            | Scenario::TwoLayers
            | Scenario::TaskBetweenLayers
            | Scenario::Filtered
            | Scenario::PanickingHooks
            | Scenario::PanickingProcessor
    );
    let parent = match &parents[..] {
        [] if needed => return Err("no traceparent was sent".to_owned()),
        [] => return Ok(()),
        [one] => one,
        many => return Err(format!("{} traceparent headers were sent", many.len())),
    };
    let (trace, own, flags) = fields(parent).ok_or_else(|| format!("{parent:?} is no traceparent"))?;
    let ambient = (AMBIENT.trace_id().to_string(), AMBIENT.span_id().to_string());
    let sampled = flags & 1 == 1;
    match (scenario, span) {
        (Scenario::UnsampledParent, _) if trace != ambient.0 || sampled => {
            return Err(format!("the unsampled trace is not continued: {parent}"));
        }
        (Scenario::SdkShutDown | Scenario::Filtered, _) if (trace, own) != (&ambient.0, &ambient.1) => {
            return Err(format!("the caller's context is not passed on: {parent}"));
        }
        (_, Some(span))
            if (trace, own) != (&span.trace_id().to_string(), &span.span_id().to_string()) || !sampled =>
        {
            return Err(format!("{parent} was sent, which is not the operation's span"));
        }
        _ => {}
    }
    let (states, baggage) = (values("tracestate"), values("baggage"));
    // Without baggage in the context, the caller's stays as it was written.
    let callers = scenario == Scenario::StaleHeaders;
    if callers && baggage != ["stale=1"] {
        return Err(format!("the baggage that the caller wrote was changed: {baggage:?}"));
    }
    let replaced = states.iter().chain(baggage.iter().filter(|_| !callers));
    if replaced.clone().any(|value| value.is_empty() || value.contains("stale")) {
        return Err(format!("stale or empty headers were sent: {states:?} {baggage:?}"));
    }
    if matches!(scenario, Scenario::Baggage | Scenario::StaleBaggage | Scenario::Filtered) {
        let members: Vec<String> = baggage.iter().flat_map(|value| value.split(',')).map(decoded).collect();
        for member in ["ambient=yes", "city=Köln, am Rhein"] {
            if !members.iter().any(|sent| sent == member) {
                return Err(format!("{member:?} is not among the baggage that was sent: {baggage:?}"));
            }
        }
    }
    if scenario == Scenario::Parent && states != ["vendor=value"] {
        return Err(format!("the caller's tracestate is lost: {states:?}"));
    }
    Ok(())
}

/// Checks that each header of the caller reached the peer once, as it was written.
fn untouched(scenario: Scenario, values: &impl Fn(&str) -> Vec<String>) -> Result<(), String> {
    for (name, value) in scenario.headers(Role::Outbound) {
        let (sent, written) = (values(&name), String::from_utf8_lossy(&value).into_owned());
        if sent != [written.as_str()] {
            return Err(format!("without an SDK, {name} was changed from {written:?} to {sent:?}"));
        }
    }
    Ok(())
}

/// A member of a `baggage` header without its properties, percent-decoded.
fn decoded(member: &str) -> String {
    let text = member.split(';').next().unwrap_or_default().trim();
    let mut bytes = Vec::new();
    let mut parts = text.split('%');
    bytes.extend(parts.next().unwrap_or_default().bytes());
    for part in parts {
        match part.get(..2).and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                bytes.extend(part[2..].bytes());
            }
            None => bytes.extend(part.bytes()),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Trace id, span id and flags of a valid `traceparent` of version 00.
pub(super) fn fields(traceparent: &str) -> Option<(&str, &str, u8)> {
    let hex = |text: &str| text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let zero = |text: &str| text.bytes().all(|byte| byte == b'0');
    let parts: Vec<&str> = traceparent.split('-').collect();
    let [version, trace, span, flags] = parts[..] else { return None };
    let valid = version == "00"
        && (trace.len(), span.len(), flags.len()) == (32, 16, 2)
        && [trace, span, flags].into_iter().all(hex)
        && !zero(trace)
        && !zero(span);
    valid.then(|| Some((trace, span, u8::from_str_radix(flags, 16).ok()?))).flatten()
}

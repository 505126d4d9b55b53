//! The `ot` entry of a `tracestate`: reads `th` and `rv`, and replaces `th` without changing anything else.
//!
//! Follows the specification of [`tracestate`
//! handling](https://opentelemetry.io/docs/specs/otel/trace/tracestate-handling/) (setting values) and [W3C Trace
//! Context Level 2](https://www.w3.org/TR/trace-context-2/) (mutating the `tracestate` field: a changed entry moves
//! to the front, the others keep their order).

use opentelemetry::trace::{TraceId, TraceState};

use super::threshold::{Threshold, parse_randomness, randomness_of};

/// OpenTelemetry's key in a `tracestate`.
const OT: &str = "ot";
/// Maximum length of an entry's value, in bytes.
const MAX_VALUE: usize = 256;

/// Returns the threshold with which the parent was kept, if it is present and valid.
pub(super) fn threshold(state: &TraceState) -> Option<Threshold> {
    sub_value(state.get(OT)?, "th").and_then(Threshold::parse)
}

/// Returns the randomness for decisions about a trace: the explicit one if present and valid, else the trace id's.
pub(super) fn randomness(state: Option<&TraceState>, trace_id: TraceId) -> u64 {
    state
        .and_then(|state| state.get(OT))
        .and_then(|entry| sub_value(entry, "rv"))
        .and_then(parse_randomness)
        .unwrap_or_else(|| randomness_of(trace_id))
}

/// Returns the parent's state with this threshold.
pub(super) fn with_threshold(state: Option<&TraceState>, threshold: Threshold) -> TraceState {
    let entry = state.and_then(|state| state.get(OT)).unwrap_or_default();
    replace(state, entry, Some(threshold))
}

/// Returns the parent's state without a threshold, for a span that was not decided by it.
pub(super) fn without_threshold(state: Option<&TraceState>) -> TraceState {
    match state.and_then(|state| state.get(OT)) {
        Some(entry) if sub_value(entry, "th").is_some() => replace(state, entry, None),
        _ => state.cloned().unwrap_or_default(),
    }
}

fn replace(state: Option<&TraceState>, entry: &str, threshold: Option<Threshold>) -> TraceState {
    let state = state.unwrap_or(&TraceState::NONE);
    let value = edit(entry, threshold);
    // An unchanged state is propagated byte for byte, so that it is not rebuilt.
    if value == entry {
        return state.clone();
    }
    let changed = if value.is_empty() { state.delete(OT) } else { state.insert(OT, value) };
    changed.unwrap_or_else(|_| state.clone())
}

/// Replaces, adds or removes the `th` of an `ot` entry; other members stay as they are.
///
/// If the result is too long, the threshold is omitted, because the old one would be wrong.
fn edit(entry: &str, threshold: Option<Threshold>) -> String {
    // Room for `;th:` and fourteen digits.
    let mut out = String::with_capacity(entry.len() + 18);
    let mut written = false;
    let mut write = |out: &mut String| {
        if let Some(threshold) = threshold.filter(|_| !written) {
            written = true;
            separate(out);
            out.push_str("th:");
            threshold.push_to(out);
        }
    };
    for member in entry.split(';').filter(|member| !member.is_empty()) {
        if member.starts_with("th:") {
            write(&mut out);
        } else {
            separate(&mut out);
            out.push_str(member);
        }
    }
    write(&mut out);
    if out.len() > MAX_VALUE && threshold.is_some() { edit(entry, None) } else { out }
}

fn separate(out: &mut String) {
    if !out.is_empty() {
        out.push(';');
    }
}

fn sub_value<'a>(entry: &'a str, key: &str) -> Option<&'a str> {
    entry.split(';').find_map(|member| member.strip_prefix(key)?.strip_prefix(':'))
}

#[cfg(test)]
mod tests;

//! The `ot` entry of a `tracestate`: reading its `th` and `rv`, and replacing `th` while everything else stays.
//!
//! Follows the
//! [`tracestate` handling specification](https://opentelemetry.io/docs/specs/otel/trace/tracestate-handling/) (setting
//! values) and [W3C Trace Context Level 2](https://www.w3.org/TR/trace-context-2/) (mutating the `tracestate` field: a
//! changed entry moves to the front, the others keep their order).

use opentelemetry::trace::{TraceId, TraceState};

use super::threshold::{Threshold, parse_randomness, randomness_of};

/// OpenTelemetry's key in a `tracestate`.
const OT: &str = "ot";
/// What the value of one entry may be long, in bytes.
const MAX_VALUE: usize = 256;

/// The threshold that a parent was kept with, where it says one that can be read.
pub(super) fn threshold(state: &TraceState) -> Option<Threshold> {
    sub_value(state.get(OT)?, "th").and_then(Threshold::parse)
}

/// The randomness that a decision about a trace uses: the explicit one where there is one, else the trace id's.
pub(super) fn randomness(state: Option<&TraceState>, trace_id: TraceId) -> u64 {
    state
        .and_then(|state| state.get(OT))
        .and_then(|entry| sub_value(entry, "rv"))
        .and_then(parse_randomness)
        .unwrap_or_else(|| randomness_of(trace_id))
}

/// The parent's state, saying this threshold and nothing else new.
pub(super) fn with_threshold(state: Option<&TraceState>, threshold: Threshold) -> TraceState {
    let entry = state.and_then(|state| state.get(OT)).unwrap_or_default();
    replace(state, entry, Some(threshold))
}

/// The parent's state with no threshold in it: what holds where none is known to be true.
pub(super) fn without_threshold(state: Option<&TraceState>) -> TraceState {
    match state.and_then(|state| state.get(OT)) {
        Some(entry) if sub_value(entry, "th").is_some() => replace(state, entry, None),
        _ => state.cloned().unwrap_or_default(),
    }
}

fn replace(state: Option<&TraceState>, entry: &str, threshold: Option<Threshold>) -> TraceState {
    let state = state.unwrap_or(&TraceState::NONE);
    let value = edit(entry, threshold);
    // A state that nobody changed goes out as it came, byte for byte: so one that would not change is not rebuilt.
    if value == entry {
        return state.clone();
    }
    let changed = if value.is_empty() { state.delete(OT) } else { state.insert(OT, value) };
    changed.unwrap_or_else(|_| state.clone())
}

/// An `ot` entry with its `th` replaced, added or removed, and its other members as they were.
///
/// An entry that would be too long loses its threshold instead of keeping one that is no longer true.
fn edit(entry: &str, threshold: Option<Threshold>) -> String {
    // "th:" and fourteen digits, and the semicolon before them.
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

//! Traces in Jaeger: those of the shop are complete, and others are kept or dropped by the policies of the tail sampling.

use std::{
    collections::BTreeSet,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Result, bail};
use serde_json::{Value, json};

use crate::ci::deploy::{
    backends::{Backends, wait_for},
    shop::Printed,
};

/// Each trace has as many spans as the shop has printed, one root, and the parent of each other span.
pub(super) fn are_complete(backends: &Backends, printed: &Printed) -> Result<()> {
    for (trace, count) in &printed.others {
        wait_for(&format!("complete trace {trace}"), || complete(&backends.spans(trace)?, *count, *count))?;
    }
    let (trace, least) = &printed.first;
    wait_for(&format!("complete trace {trace}"), || complete(&backends.spans(trace)?, *least, least + 8))
}

fn complete(spans: &[Value], least: usize, most: usize) -> Result<()> {
    let id = |span: &Value, key: &str| span[key].as_str().unwrap_or_default().to_owned();
    let ids: BTreeSet<_> = spans.iter().map(|span| id(span, "spanId")).collect();
    let roots = spans.iter().filter(|span| id(span, "parentSpanId").is_empty()).count();
    let orphans: Vec<_> = spans
        .iter()
        .filter(|span| !id(span, "parentSpanId").is_empty() && !ids.contains(&id(span, "parentSpanId")))
        .map(|span| id(span, "name"))
        .collect();
    if ids.len() != spans.len() || !(least..=most).contains(&spans.len()) || roots != 1 || !orphans.is_empty()
    {
        bail!("{} spans instead of {least}, {roots} roots, orphans: {orphans:?}", spans.len());
    }
    Ok(())
}

/// With a share of 0 % only the policies for errors and for slow traces keep a trace.
pub(super) fn are_sampled(backends: &Backends) -> Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos();
    // Of this run alone: the low digits of the time.
    let id = |kind: u8| format!("{:030x}{kind:02x}", now);
    let [plain, failed, slow] = [1, 2, 3].map(id);
    for (trace, status, milliseconds) in [(&plain, 0, 10), (&failed, 2, 10), (&slow, 0, 1500)] {
        backends.sampler.send("/v1/traces", &one_span(trace, status, now, now + milliseconds * 1_000_000))?;
    }
    for trace in [&failed, &slow] {
        wait_for(&format!("sampled trace {trace}"), || complete(&backends.spans(trace)?, 1, 1))?;
    }
    wait_for("trace that was dropped", || {
        let metrics = backends.sampler.own_metrics()?;
        let name = "otelcol_processor_tail_sampling_global_count_traces_sampled{";
        let mut lines = metrics.lines().filter(|line| line.starts_with(name));
        if lines.any(|line| line.contains("sampled=\"false\"") && line.ends_with(" 1")) {
            return Ok(());
        }
        bail!("{metrics}")
    })?;
    if !backends.spans(&plain)?.is_empty() {
        bail!("a trace without an error, and not slow, was kept with a share of 0 %");
    }
    Ok(())
}

/// A trace of one span.
fn one_span(trace: &str, status: u8, start: u128, end: u128) -> Value {
    json!({ "resourceSpans": [{
        "resource": { "attributes": [{ "key": "service.name", "value": { "stringValue": "sampling" } }] },
        "scopeSpans": [{ "scope": { "name": "xtask" }, "spans": [{
            "traceId": trace,
            "spanId": "eee19b7ec3c1b174",
            "name": "GET /",
            "kind": 2,
            "startTimeUnixNano": start.to_string(),
            "endTimeUnixNano": end.to_string(),
            "status": { "code": status },
        }] }],
    }] })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::complete;

    fn span(id: &str, parent: &str) -> Value {
        json!({ "spanId": id, "parentSpanId": parent, "name": id })
    }

    #[test]
    fn a_complete_trace_has_one_root_and_all_parents() {
        let spans = [span("a", ""), span("b", "a"), span("c", "b")];
        assert!(complete(&spans, 3, 3).is_ok());
        let error = |spans: &[Value]| complete(spans, 3, 3).unwrap_err().to_string();
        assert_eq!(error(&spans[..2]), "2 spans instead of 3, 1 roots, orphans: []");
        let orphan = [span("a", ""), span("c", "b"), span("d", "a")];
        assert_eq!(error(&orphan), "3 spans instead of 3, 1 roots, orphans: [\"c\"]");
        let two = [span("a", ""), span("b", ""), span("c", "a")];
        assert_eq!(error(&two), "3 spans instead of 3, 2 roots, orphans: []");
        let twice = [span("a", ""), span("b", "a"), span("b", "a")];
        assert!(complete(&twice, 3, 3).is_err());
    }
}

//! The verdict on a scenario: outcome, number of spans, errors, names and secrets. Agreement with metrics and context
//! are in files of their own.

use std::collections::BTreeSet;

use opentelemetry::{
    Key, Value,
    trace::{SpanKind, Status, TraceContextExt},
};
use opentelemetry_sdk::trace::SpanData;

use super::{
    CallResult, Flow, Harness, Measurement, Observed, ProbePoint, Role, Run, Scenario, agreement, context,
    counts, input::ids, scenario::ATTACKER, second,
};
use crate::{Recorder, normalize};

/// More series of one metric, or names of spans, than this come from an untrusted peer.
const FEW: usize = 8;

pub(super) fn all<H: Harness>(
    harness: &H,
    scenario: Scenario,
    recorder: &Recorder,
    observed: &[Observed],
) -> Result<(), String> {
    let role = harness.role();
    observed.iter().try_for_each(|observed| {
        outcome(observed)?;
        bare_run(role, scenario, observed)
    })?;
    recorder.check_clean()?;
    let spans = recorder.spans();
    let operations: Vec<&SpanData> = spans.iter().filter(|span| is_operation(role, span)).collect();
    number(scenario, observed.len(), operations.len())?;
    if scenario != Scenario::UnsampledParent && !scenario.shuts_down() {
        let listed = harness.measurements(scenario.flow());
        let waits: Vec<&str> = listed.iter().filter(|one| one.is_wait()).map(Measurement::metric).collect();
        agreement::spans_and_metrics(recorder, &spans, &waits)?;
    }
    counts::all(harness, scenario, recorder, observed)?;
    errors(role == Role::Inbound, harness.dropped_is_error(), scenario, &spans)?;
    match scenario {
        Scenario::SecondOperation => second::all(role, &operations, observed)?,
        _ => context::all(role, harness.propagates(), scenario, &operations, observed)?,
    }
    bounded(scenario, recorder, &spans)?;
    no_secret(recorder, &spans)
}

/// The spans that stand for the operation itself; a consumer may have others for receiving and settling.
fn is_operation(role: Role, span: &SpanData) -> bool {
    match role {
        Role::Inbound => matches!(span.span_kind, SpanKind::Server | SpanKind::Consumer),
        Role::Outbound => matches!(span.span_kind, SpanKind::Client | SpanKind::Producer),
    }
}

fn outcome(observed: &Observed) -> Result<(), String> {
    let comparable = |seen: &CallResult| match seen {
        CallResult::Error(text) => CallResult::Error(normalize::text_without_ports(text)),
        other => other.clone(),
    };
    let (with, without) = (comparable(&observed.instrumented.result), comparable(&observed.bare.result));
    if with == without {
        Ok(())
    } else {
        Err(format!("instrumentation changed the outcome: {with:?}, without it {without:?}"))
    }
}

/// A comparison proves something only if the bare run took the same flow, and had no instrumentation.
fn bare_run(role: Role, scenario: Scenario, observed: &Observed) -> Result<(), String> {
    let points = |run: &Run| run.snapshots.iter().map(|snapshot| snapshot.point).collect::<Vec<ProbePoint>>();
    let (with, without) = (points(&observed.instrumented), points(&observed.bare));
    if with != without {
        return Err(format!("the runs differ: with instrumentation {with:?}, without it {without:?}"));
    }
    // An operation that was dropped early, or failed or panicked, may not have come so far.
    let reaches = matches!(
        scenario.flow(),
        Flow::Succeeds | Flow::DroppedAtAwait | Flow::DroppedByPeer | Flow::DroppedByUser | Flow::BodyFails
    );
    if reaches && without.is_empty() {
        return Err("no run reached a point that the harness notes".to_owned());
    }
    let ambient = scenario.ambient(role);
    let ambient = ids(ambient.span().span_context());
    match observed.bare.snapshots.iter().find(|snapshot| ids(&snapshot.span) != ambient) {
        Some(snapshot) => Err(format!("the bare run has a span of its own: {:?}", snapshot.span)),
        None => Ok(()),
    }
}

fn number(scenario: Scenario, runs: usize, found: usize) -> Result<(), String> {
    let all = runs * scenario.operations() as usize;
    let (least, most) = match scenario {
        Scenario::UnsampledParent | Scenario::SdkShutDown | Scenario::CallersHeaders => (0, 0),
        // A future that does nothing before it is polled has started no operation.
        Scenario::DroppedBeforePoll => (0, 1),
        _ => (all, all),
    };
    if (least..=most).contains(&found) {
        Ok(())
    } else {
        Err(format!("{found} spans of operations were recorded, not {least} to {most}"))
    }
}

/// Checks that each failure is recorded, and no success looks like one.
fn errors(
    inbound: bool,
    dropped_is_error: bool,
    scenario: Scenario,
    spans: &[SpanData],
) -> Result<(), String> {
    let expected = match scenario {
        Scenario::Error | Scenario::UnboundedError(_) | Scenario::Panic => Some(true),
        Scenario::BodyFails if inbound => Some(true),
        Scenario::DroppedAtAwait if dropped_is_error => Some(true),
        Scenario::DroppedByPeer | Scenario::DroppedByUser if inbound && dropped_is_error => Some(true),
        // An outbound operation may be over with the head of the response, or with the delivery of a message.
        Scenario::DroppedBeforePoll
        | Scenario::DroppedAtAwait
        | Scenario::DroppedByPeer
        | Scenario::DroppedByUser
        | Scenario::BodyFails => None,
        // An unknown operation may well be refused.
        Scenario::UnboundedOperation(_) | Scenario::UnboundedHost(_) => None,
        // In another format, the operation may well be refused, or its response mean something else.
        Scenario::HostileContentType(_) => None,
        _ => Some(false),
    };
    for span in spans {
        let typed = error_type(span).is_some();
        let marked = matches!(span.status, Status::Error { .. });
        if typed != marked {
            return Err(format!("{:?}: error.type and the status Error must go together", span.name));
        }
        if expected == Some(false) && marked {
            return Err(format!("{:?} is an error, and nothing failed", span.name));
        }
    }
    // The failure may be that of settling a message, a span beside the operation's.
    if expected == Some(true) && !spans.iter().any(|span| error_type(span).is_some()) {
        return Err("it failed, and no span has an error.type".to_owned());
    }
    Ok(())
}

pub(super) fn error_type(span: &SpanData) -> Option<&Value> {
    let key = Key::from_static_str("error.type");
    span.attributes.iter().find(|kv| kv.key == key).map(|kv| &kv.value)
}

fn bounded(scenario: Scenario, recorder: &Recorder, spans: &[SpanData]) -> Result<(), String> {
    let names: BTreeSet<&str> = spans.iter().map(|span| &*span.name).collect();
    if matches!(scenario, Scenario::HostileContentType(_)) && names.len() != 1 {
        return Err(format!("the content type decides the names of spans: {names:?}"));
    }
    if !matches!(
        scenario,
        Scenario::UnboundedOperation(_) | Scenario::UnboundedHost(_) | Scenario::UnboundedError(_)
    ) {
        return Ok(());
    }
    // A transport may fold case on the way, host names above all.
    let strange = |text: &str| text.to_uppercase().contains(ATTACKER);
    if names.len() > FEW || names.iter().any(|name| strange(name)) {
        return Err(format!("span names are unbounded: {:?}", names.iter().take(3).collect::<Vec<_>>()));
    }
    for (name, metric) in recorder.collect() {
        let values = metric.points().iter().flat_map(|point| point.attributes());
        if let Some(kv) = values.clone().find(|kv| strange(&kv.value.as_str())) {
            return Err(format!("{name} takes {} from an untrusted peer: {}", kv.key, kv.value));
        }
        if metric.points().len() > FEW {
            return Err(format!("{name} has {} series", metric.points().len()));
        }
    }
    Ok(())
}

fn no_secret(recorder: &Recorder, spans: &[SpanData]) -> Result<(), String> {
    // The debug form has everything: names, attributes, events, links, descriptions, tracestate.
    for span in spans {
        if format!("{span:?}").contains(Scenario::SECRET) {
            return Err(format!("a secret was recorded in the span {:?}", span.name));
        }
    }
    match recorder.collect().values().find(|metric| format!("{metric:?}").contains(Scenario::SECRET)) {
        Some(metric) => Err(format!("a secret was recorded in {}", metric.name())),
        None => Ok(()),
    }
}

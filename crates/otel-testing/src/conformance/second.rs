//! Two operations, of which one is made inside of the other: parents, what is current in each, what each sends.

use opentelemetry::trace::SpanContext;
use opentelemetry_sdk::trace::SpanData;

use super::{
    Observed, ProbePoint, Role,
    context::fields,
    input::{AMBIENT, RECEIVED, SECOND, ids},
};

pub(super) fn all(role: Role, operations: &[&SpanData], observed: &[Observed]) -> Result<(), String> {
    let parent_of = |span: &SpanData| (span.span_context.trace_id(), span.parent_span_id);
    let outer_parent = match role {
        Role::Inbound => RECEIVED,
        Role::Outbound => AMBIENT,
    };
    let outer_parent = (outer_parent.trace_id(), outer_parent.span_id());
    let (outer, inner): (Vec<&SpanData>, Vec<&SpanData>) =
        operations.iter().partition(|span| parent_of(span) == outer_parent);
    let ([outer], [inner]) = (&outer[..], &inner[..]) else {
        return Err(format!("{} of the two spans have the first one's parent", outer.len()));
    };
    let inner_parent = match role {
        Role::Inbound => (SECOND.trace_id(), SECOND.span_id()),
        Role::Outbound => ids(&outer.span_context),
    };
    if parent_of(inner) != inner_parent {
        return Err(format!("the second one's parent is {:?}, not {inner_parent:?}", parent_of(inner)));
    }
    let (outer, inner) = (&outer.span_context, &inner.span_context);
    observed.iter().try_for_each(|seen| match role {
        Role::Inbound => inside(outer, inner, seen),
        Role::Outbound => sent(outer, inner, seen),
    })
}

/// Checks that each handler runs in its own operation, the first one's also after the second one has ended.
fn inside(outer: &SpanContext, inner: &SpanContext, seen: &Observed) -> Result<(), String> {
    for point in [ProbePoint::Call, ProbePoint::AfterAwait] {
        let expected = match point {
            ProbePoint::Call => [ids(outer), ids(inner)],
            _ => [ids(inner), ids(outer)],
        };
        let snapshots = seen.instrumented.snapshots.iter().filter(|snapshot| snapshot.point == point);
        let current: Vec<_> = snapshots.map(|snapshot| ids(&snapshot.span)).collect();
        if current != expected {
            return Err(format!("at {point:?}, {current:?} were current, not {expected:?}"));
        }
    }
    Ok(())
}

/// Checks that each operation has sent its own span.
fn sent(outer: &SpanContext, inner: &SpanContext, seen: &Observed) -> Result<(), String> {
    let parents = seen.sent.iter().filter(|(name, _)| name.eq_ignore_ascii_case("traceparent"));
    let parents: Vec<_> = parents.map(|(_, value)| String::from_utf8_lossy(value).into_owned()).collect();
    let spans: Vec<_> = parents.iter().map(|parent| fields(parent).map(|(_, span, _)| span)).collect();
    let expected = [outer, inner].map(|context| context.span_id().to_string());
    if spans == expected.each_ref().map(|span| Some(&**span)) {
        Ok(())
    } else {
        Err(format!("{parents:?} were sent, not the spans {expected:?}"))
    }
}

//! Parents: decisions of `parent_based` and `adaptive` for each kind of parent.

use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, TraceContextExt};
use otel_telemetry::sampler::{ParentBased, Sampler};

use crate::support::{HIGH, LOW, decide, decide_root, parent};

const VENDORS: &str = "rojo=00f067aa0ba902b7,ot=th:8;rv:ffffffffffffff;p:1,congo=t61rcWkgMzE";

fn following() -> [(&'static str, Sampler); 3] {
    [
        ("parent_based(never)", Sampler::parent_based(Sampler::never())),
        ("parent_based(ratio)", Sampler::parent_based(Sampler::ratio(0.5))),
        ("adaptive", Sampler::adaptive(1e-9)),
    ]
}

#[test]
fn a_parent_decides_and_its_state_passes_unchanged() {
    for (name, sampler) in following() {
        for remote in [true, false] {
            for (sampled, expected) in [(true, "sampled"), (false, "dropped")] {
                for state in [VENDORS, "", "v=1", "ot=rv:00000000000000"] {
                    let found = decide(&sampler, &parent(remote, sampled, LOW, state), LOW);
                    assert_eq!(found, (expected, state.to_owned()), "{name}, remote: {remote}");
                }
            }
        }
    }
}

#[test]
fn a_threshold_that_cannot_be_true_is_left_out() {
    for (name, sampler) in following() {
        // Marked as sampled, although the threshold rejects the trace: by its id, and by its explicit randomness.
        let by_id = decide(&sampler, &parent(true, true, LOW, "v=1,ot=p:2;th:8"), LOW);
        assert_eq!(by_id, ("sampled", "ot=p:2,v=1".to_owned()), "{name}");
        let explicit = decide(&sampler, &parent(true, true, HIGH, "ot=th:8;rv:00000000000000"), HIGH);
        assert_eq!(explicit, ("sampled", "ot=rv:00000000000000".to_owned()), "{name}");
    }
}

#[test]
fn a_root_is_decided_by_the_root_sampler_with_its_state() {
    let sampler = Sampler::parent_based(Sampler::ratio(0.5));
    assert_eq!(decide_root(&sampler, HIGH), ("sampled", "ot=th:8".to_owned()));
    assert_eq!(decide_root(&sampler, LOW), ("dropped", String::new()));
    // A context with an invalid span is not a parent, and its state belongs to no trace.
    let invalid = Context::new().with_remote_span_context(SpanContext::empty_context());
    assert_eq!(decide(&sampler, &invalid, HIGH), ("sampled", "ot=th:8".to_owned()));
}

#[test]
fn each_kind_of_parent_can_have_a_delegate_whose_state_is_kept() {
    let sampler: Sampler = ParentBased::new(Sampler::never())
        .with_remote_parent_sampled(Sampler::ratio(0.5))
        .with_remote_parent_not_sampled(Sampler::ratio(0.25))
        .with_local_parent_sampled(Sampler::ratio(0.125))
        .with_local_parent_not_sampled(Sampler::ratio(0.0625))
        .into();
    for (remote, sampled, th) in
        [(true, true, "8"), (true, false, "c"), (false, true, "e"), (false, false, "f")]
    {
        let found = decide(&sampler, &parent(remote, sampled, HIGH, "v=1"), HIGH);
        assert_eq!(found, ("sampled", format!("ot=th:{th},v=1")), "remote: {remote}, sampled: {sampled}");
    }
    assert_eq!(decide_root(&sampler, HIGH).0, "dropped");
}

#[test]
fn adaptive_counts_roots_alone() {
    let sampler = Sampler::adaptive(1.0);
    for _ in 0..1_000 {
        decide(&sampler, &parent(true, true, HIGH, ""), HIGH);
        decide(&sampler, &parent(false, false, HIGH, ""), HIGH);
    }
    // N·τ is ten: if no root was counted before, the first ten are kept whatever their randomness.
    assert_eq!(decide_root(&sampler, LOW), ("sampled", "ot=th:0".to_owned()));
}

#[test]
fn clones_share_what_adaptive_has_counted() {
    let sampler = Sampler::adaptive(1.0);
    let clone = sampler.clone();
    for _ in 0..1_000 {
        decide_root(&sampler, HIGH);
    }
    let (decision, state) = decide_root(&clone, HIGH);
    assert_eq!(decision, "sampled");
    assert!(state.starts_with("ot=th:f"), "{state}");
    assert_eq!(decide_root(&clone, LOW).0, "dropped");
}

//! Ratios: consistency, randomness, and the counts estimated from the kept traces.

use opentelemetry::Context;
use opentelemetry::trace::{SpanKind, TraceId};
use opentelemetry_sdk::trace::SamplingDecision;
use otel_telemetry::sampler::Sampler;

use crate::support::{Draw, HIGH, LOW, adjusted_count, ask, decide, decide_root, parent};

#[test]
fn counts_estimated_from_the_threshold_are_right() {
    const TRACES: u32 = 200_000;
    for (seed, ratio) in [0.5, 0.3, 0.1, 0.0123, 0.001].into_iter().enumerate() {
        let sampler = Sampler::ratio(ratio);
        let mut draw = Draw(seed as u64);
        let mut estimated = 0.0;
        let mut kept = 0.0;
        for _ in 0..TRACES {
            let result = ask(&sampler, &Context::new(), draw.trace_id(), ("span", SpanKind::Server, &[]));
            if result.decision == SamplingDecision::RecordAndSample {
                kept += 1.0;
                estimated += adjusted_count(&result.trace_state);
            }
        }
        let traces = f64::from(TRACES);
        let deviation = (traces * (1.0 - ratio) / ratio).sqrt();
        assert!((estimated - traces).abs() <= 4.0 * deviation, "{ratio}: {estimated}");
        let deviation = (traces * ratio * (1.0 - ratio)).sqrt();
        assert!((kept - traces * ratio).abs() <= 4.0 * deviation, "{ratio}: {kept}");
    }
}

#[test]
fn a_larger_ratio_keeps_what_a_smaller_one_keeps() {
    let samplers: Vec<_> = [0.001, 0.01, 0.1, 0.25, 0.5, 0.9, 1.0].into_iter().map(Sampler::ratio).collect();
    let mut draw = Draw(42);
    let mut mixed = 0;
    for _ in 0..20_000 {
        let trace_id = draw.trace_id();
        let kept: Vec<_> =
            samplers.iter().map(|sampler| decide_root(sampler, trace_id).0 == "sampled").collect();
        assert!(kept.is_sorted(), "{trace_id:x}: {kept:?}");
        mixed += usize::from(kept[4] && !kept[0]);
    }
    assert!(mixed > 9_000, "{mixed}");
}

#[test]
fn the_last_seven_bytes_decide_alone() {
    let half = Sampler::ratio(0.5);
    let below = 0xffff_ffff_ffff_ffff_ff7f_ffff_ffff_ffff;
    let above = 0x0000_0000_0000_0001_0080_0000_0000_0000;
    assert_eq!(decide_root(&half, below), ("dropped", String::new()));
    assert_eq!(decide_root(&half, above), ("sampled", "ot=th:8".to_owned()));
}

#[test]
fn an_explicit_randomness_decides_instead_and_is_kept() {
    let half = Sampler::ratio(0.5);
    let under = |state: &str, trace_id| decide(&half, &parent(true, true, trace_id, state), trace_id);
    assert_eq!(under("ot=rv:80000000000000", LOW), ("sampled", "ot=rv:80000000000000;th:8".to_owned()));
    assert_eq!(under("ot=rv:7fffffffffffff", HIGH), ("dropped", "ot=rv:7fffffffffffff".to_owned()));
    // An invalid `rv` does not decide, but is not removed.
    assert_eq!(under("ot=rv:80", LOW), ("dropped", "ot=rv:80".to_owned()));
}

#[test]
fn a_parent_does_not_decide_and_its_threshold_is_replaced() {
    let quarter = Sampler::ratio(0.25);
    for sampled in [true, false] {
        let under = |trace_id| {
            decide(&quarter, &parent(true, sampled, trace_id, "v=1,ot=th:8;rv:ffffffffffffff,w=2"), trace_id)
        };
        assert_eq!(under(LOW), ("sampled", "ot=th:c;rv:ffffffffffffff,v=1,w=2".to_owned()));
    }
    // The parent's threshold did not drop the span, so that it is removed.
    assert_eq!(decide(&quarter, &parent(true, true, LOW, "v=1,ot=th:8"), LOW), ("dropped", "v=1".to_owned()));
}

#[test]
fn one_keeps_and_tells_everything_and_zero_keeps_nothing() {
    for (ratio, low) in
        [(1.0, "sampled"), (2.0, "sampled"), (0.0, "dropped"), (-1.0, "dropped"), (f64::NAN, "dropped")]
    {
        let (decision, state) = decide_root(&Sampler::ratio(ratio), LOW);
        assert_eq!(decision, low, "{ratio}");
        assert_eq!(state, if low == "sampled" { "ot=th:0" } else { "" }, "{ratio}");
        assert_eq!(decide_root(&Sampler::ratio(ratio), HIGH).0, low, "{ratio}");
    }
}

#[test]
fn always_and_never_do_not_pass_on_a_threshold_that_is_not_theirs() {
    assert_eq!(decide_root(&Sampler::always(), LOW), ("sampled", String::new()));
    assert_eq!(decide_root(&Sampler::never(), HIGH), ("dropped", String::new()));
    let under = |sampler: Sampler, state| decide(&sampler, &parent(true, true, HIGH, state), HIGH);
    assert_eq!(under(Sampler::always(), "v=1"), ("sampled", "v=1".to_owned()));
    assert_eq!(under(Sampler::always(), "v=1,ot=th:8"), ("sampled", "ot=th:0,v=1".to_owned()));
    assert_eq!(under(Sampler::always(), "v=1,ot=th:?"), ("sampled", "v=1".to_owned()));
    assert_eq!(under(Sampler::never(), "v=1,ot=th:8;p:1"), ("dropped", "ot=p:1,v=1".to_owned()));
}

#[test]
fn without_a_context_the_span_is_a_root() {
    use opentelemetry_sdk::trace::ShouldSample;
    let ask = |trace_id| {
        Sampler::ratio(0.5).should_sample(None, TraceId::from(trace_id), "span", &SpanKind::Server, &[], &[])
    };
    assert_eq!(ask(HIGH).trace_state.header(), "ot=th:8");
    assert_eq!(ask(LOW).decision, SamplingDecision::Drop);
}

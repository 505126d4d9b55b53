//! Tests of the due times and the limits, with instants that the tests choose.

use super::*;

const MS: Duration = Duration::from_millis(1);

fn span(trace: u128, id: u64) -> Span {
    Span::new(TraceId::from(trace), SpanId::from(id), "x", 0, 1)
}

fn gathering(max_traces: usize, max_spans: usize) -> Gathering {
    Gathering { limits: Limits { quiet: 100 * MS, max_traces, max_spans }, ..Gathering::default() }
}

fn taken(gathering: &mut Gathering, now: Instant) -> Vec<(u128, usize)> {
    let id = |trace: &Trace| u128::from_be_bytes(trace.id.to_bytes());
    gathering.take_due(now).iter().map(|trace| (id(trace), trace.spans.len())).collect()
}

#[test]
fn a_finished_trace_is_due_after_a_tenth() {
    let (mut g, now) = (gathering(9, 99), Instant::now());
    g.add(span(1, 2).with_parent(SpanId::from(1)), now);
    assert_eq!(g.next_due(), Some(now + 1_000 * MS), "its parent has not ended");
    g.add(span(1, 1), now + 5 * MS);
    assert_eq!(g.next_due(), Some(now + 15 * MS));
    assert_eq!(taken(&mut g, now + 14 * MS), []);
    assert_eq!(taken(&mut g, now + 15 * MS), [(1, 2)]);
    assert_eq!(g.next_due(), None);
    assert_eq!(g.spans, 0);
}

#[test]
fn a_caller_elsewhere_is_waited_for_until_it_is_quiet() {
    let (mut g, now) = (gathering(9, 99), Instant::now());
    let remote = SpanId::from(7);
    assert_eq!(g.add(span(1, 1).with_remote_parent(remote), now), Some(now + 100 * MS));
    // A child in the same process as that parent shows that the parent is in this process and open.
    assert_eq!(g.add(span(1, 2).with_parent(remote), now), Some(now + 1_000 * MS));
    assert_eq!(g.add(span(1, 3).with_remote_parent(remote), now), Some(now + 1_000 * MS));
    assert_eq!(g.add(span(1, 7), now), Some(now + 10 * MS));
}

#[test]
fn every_span_starts_the_quiet_time_again() {
    let (mut g, now) = (gathering(9, 99), Instant::now());
    g.add(span(1, 1), now);
    g.add(span(2, 1), now + 2 * MS);
    g.add(span(1, 2).with_parent(SpanId::from(1)), now + 4 * MS);
    assert_eq!(g.next_due(), Some(now + 12 * MS));
    assert_eq!(taken(&mut g, now + 12 * MS), [(2, 1)]);
    assert_eq!(taken(&mut g, now + 14 * MS), [(1, 2)]);
}

#[test]
fn traces_come_out_in_the_order_in_which_they_began() {
    let (mut g, now) = (gathering(99, 99), Instant::now());
    for trace in (1..=50).rev() {
        g.add(span(trace, 1), now);
    }
    let order: Vec<u128> = taken(&mut g, now + 10 * MS).into_iter().map(|(id, _)| id).collect();
    assert_eq!(order, (1..=50).rev().collect::<Vec<_>>());
}

#[test]
fn what_comes_after_the_drawing_is_marked() {
    let (mut g, now) = (gathering(9, 99), Instant::now());
    g.add(span(1, 1), now);
    assert!(!g.take_all()[0].continued);
    g.add(span(1, 2), now);
    assert!(g.take_all()[0].continued);
    for trace in 2..=1 + REMEMBERED as u128 {
        g.add(span(trace, 1), now);
        g.take_all();
    }
    assert_eq!(g.drawn.len(), REMEMBERED);
    g.add(span(1, 3), now);
    assert!(!g.take_all()[0].continued, "only so many are remembered");
}

#[test]
fn no_more_is_held_than_allowed() {
    let (mut g, now) = (gathering(10, 800), Instant::now());
    for n in 0..100_000_u64 {
        g.add(span(u128::from(n % 20) + 1, n + 1).with_remote_parent(SpanId::from(n / 3 + 1)), now);
        assert!(g.open.len() <= 10 && g.spans <= 800);
        assert!(g.open.values().map(|open| open.awaited.len()).sum::<usize>() <= g.spans);
        assert!(g.open.values().map(|open| open.ids.len()).sum::<usize>() <= g.spans);
    }
    let traces = g.take_all();
    let held: usize = traces.iter().map(|trace| trace.spans.len()).sum();
    let said: u64 = traces.iter().map(|trace| trace.not_kept).sum::<u64>() + g.take_unsaid();
    assert!(held >= 700, "{held}");
    assert_eq!((g.not_kept(), said), (100_000 - held as u64, 100_000 - held as u64));
    assert_eq!(g.take_unsaid(), 0);
}

#[test]
fn parents_find_room_where_others_do_not() {
    let (mut g, now) = (gathering(10, 16), Instant::now());
    for id in 1..=20 {
        g.add(span(1, id).with_parent(SpanId::from(99)), now);
    }
    assert_eq!((g.spans, g.not_kept()), (14, 6));
    g.add(span(1, 99).with_parent(SpanId::from(100)), now);
    g.add(span(1, 100), now);
    assert_eq!((g.spans, g.not_kept()), (16, 6));
    assert_eq!(g.next_due(), Some(now + 10 * MS), "nothing is missing");
    g.add(span(1, 101), now);
    assert_eq!((g.spans, g.not_kept()), (16, 7));
    let trace = &g.take_all()[0];
    assert_eq!((trace.spans.len(), trace.not_kept), (16, 7));
}

#[test]
fn no_room_at_all() {
    let (mut g, now) = (gathering(1, 0), Instant::now());
    assert_eq!(g.add(span(1, 1), now), None);
    assert_eq!((g.open.len(), g.next_due(), g.take_unsaid()), (0, None, 1));
}

#[test]
fn a_quiet_time_beyond_the_clock_is_never() {
    let (mut g, now) = (gathering(1, 10), Instant::now());
    g.limits.quiet = Duration::MAX;
    assert!(
        g.add(span(1, 1).with_remote_parent(SpanId::from(2)), now)
            > Some(now + Duration::from_secs(1_000_000))
    );
}

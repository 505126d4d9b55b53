//! Tests of the adaptive sampler with a manual clock: the rate that is kept, and the counts estimated from it.
//!
//! Loads are drawn from a seeded generator, so that each test uses the same traces in every run. The bounds are those
//! of the module's documentation plus four standard deviations of the draws.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::thread;

use super::super::threshold::estimate::{adjusted_count, probability as share};
use super::*;

#[derive(Clone, Debug, Default)]
struct Manual(Arc<AtomicU32>);

impl Manual {
    fn set(&self, millis: f64) {
        self.0.store(millis as u64 as u32, Ordering::Relaxed);
    }
}

impl Clock for Manual {
    fn millis(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

/// SplitMix64: a small seeded generator, sufficient for drawing traces.
struct Draw(u64);

impl Draw {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ bits >> 31
    }

    fn randomness(&mut self) -> u64 {
        self.bits() >> 8
    }

    /// Returns the time to the next event of a Poisson process, in milliseconds.
    fn gap(&mut self, per_second: f64) -> f64 {
        let uniform = (self.bits() >> 11) as f64 / (1u64 << 53) as f64;
        -(1.0 - uniform).ln() * 1_000.0 / per_second
    }
}

/// The number of roots, the number kept, and the estimate of a backend.
#[derive(Debug, Default)]
struct Tally {
    came: f64,
    kept: f64,
    estimated: f64,
    /// The variance of the estimate, given the probability of each decision.
    variance: f64,
}

impl Tally {
    fn assert_counts_are_right(&self) {
        let error = (self.estimated - self.came).abs();
        assert!(error <= 4.0 * self.variance.sqrt(), "off by {error}: {self:?}");
    }
}

struct Run {
    adaptive: Adaptive,
    clock: Manual,
    draw: Draw,
    /// Milliseconds.
    now: f64,
}

impl Run {
    fn new(per_second: f64, seed: u64) -> Self {
        Self::starting_at(0.0, per_second, seed)
    }

    fn starting_at(now: f64, per_second: f64, seed: u64) -> Self {
        let clock = Manual::default();
        clock.set(now);
        let adaptive = Adaptive::with_clock(per_second, Box::new(clock.clone()));
        Self { adaptive, clock, draw: Draw(seed), now }
    }

    fn one(&mut self, tally: &mut Tally) {
        self.clock.set(self.now);
        let Some(threshold) = self.adaptive.observe() else { panic!("a rate is wanted") };
        tally.came += 1.0;
        tally.variance += (1.0 - share(threshold)) / share(threshold);
        if threshold.keeps(self.draw.randomness()) {
            tally.kept += 1.0;
            tally.estimated += adjusted_count(threshold);
        }
    }

    /// A load that changes with the time since it began, in seconds.
    fn load(&mut self, seconds: f64, per_second: impl Fn(f64) -> f64) -> Tally {
        let (mut tally, start) = (Tally::default(), self.now);
        loop {
            let gap = self.draw.gap(per_second((self.now - start) / 1_000.0));
            if self.now + gap >= start + seconds * 1_000.0 {
                self.now = start + seconds * 1_000.0;
                return tally;
            }
            self.now += gap;
            self.one(&mut tally);
        }
    }

    fn burst(&mut self, roots: u32) -> Tally {
        let mut tally = Tally::default();
        (0..roots).for_each(|_| self.one(&mut tally));
        tally
    }
}

/// Four standard deviations of a number of kept traces.
fn slack(expected: f64) -> f64 {
    4.0 * expected.sqrt()
}

#[test]
fn a_steady_load_is_kept_at_the_wanted_rate() {
    for (wanted, load) in [(0.5, 5.0), (1.0, 50.0), (10.0, 20.0), (10.0, 10_000.0), (100.0, 2_000.0)] {
        let mut run = Run::new(wanted, 1);
        let warm_up = 5.0 * memory_ms(wanted) / 1_000.0;
        run.load(warm_up, |_| load);
        let tally = run.load(200.0, |_| load);
        let expected = wanted * 200.0;
        let off = (tally.kept - expected).abs();
        assert!(off <= slack(expected) + 0.05 * expected, "{wanted} of {load}: {tally:?}");
        tally.assert_counts_are_right();
    }
}

#[test]
fn a_load_below_the_rate_is_kept_whole() {
    let tally = Run::new(100.0, 2).load(60.0, |_| 50.0);
    assert!(tally.came > 2_500.0);
    assert_eq!(tally.kept, tally.came);
    assert_eq!(tally.estimated, tally.came);
}

#[test]
fn a_burst_after_silence_keeps_the_logarithm_of_it() {
    let (wanted, roots) = (100.0, 100_000);
    let mut run = Run::new(wanted, 3);
    let tally = run.burst(roots);
    // N·τ is 100: all of the first hundred roots, then N·τ·ln(100,000 / 100).
    let expected = 100.0 * (1.0 + (f64::from(roots) / 100.0).ln());
    assert!((tally.kept - expected).abs() <= slack(expected), "{expected}: {tally:?}");
    tally.assert_counts_are_right();
}

#[test]
fn bursts_in_a_row_average_to_the_rate() {
    let (wanted, period) = (50.0, 10.0);
    let mut run = Run::new(wanted, 4);
    let mut sum = Tally::default();
    for _ in 0..30 {
        for part in [run.burst(20_000), run.load(period, |_| 500.0)] {
            sum.came += part.came;
            sum.kept += part.kept;
            sum.estimated += part.estimated;
            sum.variance += part.variance;
        }
    }
    let expected = wanted * period * 30.0;
    let bound = 50.0 * (1.0 + (20_000.0f64 / 50.0).ln());
    assert!((sum.kept - expected).abs() <= slack(expected) + bound, "{expected}: {sum:?}");
    sum.assert_counts_are_right();
}

#[test]
fn a_ramp_keeps_what_its_growth_says() {
    // From 100 to 10,000 roots a second within a minute, linear in the logarithm.
    let (wanted, seconds) = (20.0, 60.0);
    let growth: f64 = 100.0;
    let mut run = Run::new(wanted, 5);
    run.load(10.0, |_| 100.0);
    let up = run.load(seconds, |at| 100.0 * growth.powf(at / seconds));
    // N·T + N·τ·ln(growth), with N·τ = 20.
    let expected = wanted * seconds + 20.0 * growth.ln();
    assert!((up.kept - expected).abs() <= slack(expected) + 0.02 * expected, "{expected}: {up:?}");
    up.assert_counts_are_right();

    let down = run.load(seconds, |at| 10_000.0 * growth.powf(-at / seconds));
    let expected = wanted * seconds - 20.0 * growth.ln();
    assert!((down.kept - expected).abs() <= slack(expected) + 0.02 * expected, "{expected}: {down:?}");
    down.assert_counts_are_right();
}

#[test]
fn a_load_that_ends_is_forgotten() {
    let mut run = Run::new(10.0, 6);
    run.burst(1_000_000);
    run.now += 60_000.0;
    let tally = run.load(1.0, |_| 5.0);
    assert_eq!(tally.kept, tally.came);
}

#[test]
fn a_clock_that_wraps_around_changes_nothing() {
    let wrap = f64::from(u32::MAX);
    let at = |start| Run::starting_at(start, 10.0, 7).load(60.0, |_| 1_000.0);
    let (plain, wrapping) = (at(0.0), at(wrap - 30_000.0));
    assert!((plain.kept - wrapping.kept).abs() <= slack(plain.kept) / 4.0, "{plain:?} {wrapping:?}");
}

#[test]
fn a_time_that_comes_late_does_not_turn_the_clock_back() {
    let state = counted((1_000, 50.0), 999, 1_000.0);
    assert_eq!(state, (1_000, 51.0));
    // A long silence is not mistaken for a late clock reading.
    assert_eq!(counted((1_000, 50.0), 1_000 + u32::MAX / 2 + 1, 1_000.0), (1_000 + u32::MAX / 2 + 1, 1.0));
}

#[test]
fn a_rate_that_wants_nothing_keeps_nothing() {
    for nothing in [0.0, -1.0, f64::NAN] {
        assert_eq!(Adaptive::new(nothing).observe(), None, "{nothing}");
    }
    assert_eq!(Adaptive::new(f64::INFINITY).observe(), Some(Threshold::ZERO));
}

#[test]
fn threads_at_once_lose_no_root() {
    const THREADS: u64 = 8;
    const ROOTS: u32 = 50_000;
    let clock = Manual::default();
    let adaptive = Adaptive::with_clock(100.0, Box::new(clock));
    let kept: f64 = thread::scope(|scope| {
        let decide = |seed| {
            let mut draw = Draw(seed);
            let adaptive = &adaptive;
            scope.spawn(move || {
                let decide =
                    |_| adaptive.observe().is_some_and(|threshold| threshold.keeps(draw.randomness()));
                (0..ROOTS).map(decide).filter(|kept| *kept).count() as f64
            })
        };
        let threads: Vec<_> = (0..THREADS).map(decide).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    // The clock stood still, so that nothing decayed: the count is exact, and the number kept is that of one burst.
    let (_, count) = unpack(adaptive.state.load(Ordering::Relaxed));
    let roots = THREADS as f64 * f64::from(ROOTS);
    assert_eq!(f64::from(count), roots);
    let expected = 100.0 * (1.0 + (roots / 100.0).ln());
    assert!((kept - expected).abs() <= slack(expected), "{expected}: {kept}");
}

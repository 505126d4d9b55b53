//! The number of traces a second that `adaptive` keeps, in real time, under loads that differ in size and shape.
//!
//! All loads run at the same time, each on its own thread. When the probability changes with the load, the sum of the
//! adjusted counts of the kept traces, from their `th`, must still equal the number of roots.

use std::thread;
use std::time::{Duration, Instant};

use opentelemetry::Context;
use opentelemetry::trace::SpanKind;
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator, SamplingDecision, ShouldSample};
use otel_telemetry::sampler::Sampler;

/// The rate of the sampler, in traces a second.
const GOAL: f64 = 20.0;
/// Time before the measurement: three time constants of the sampler at this rate.
const WARM_UP: Duration = Duration::from_secs(3);
const COUNTED: Duration = Duration::from_secs(20);

/// A load: its name, and its roots a second as a function of the seconds since the start.
type Load = (&'static str, fn(f64) -> f64);

const LOADS: [Load; 8] = [
    ("10 a second", |_| 10.0),
    ("20 a second", |_| 20.0),
    ("100 a second", |_| 100.0),
    ("1,000 a second", |_| 1_000.0),
    ("10,000 a second", |_| 10_000.0),
    ("100,000 a second", |_| 100_000.0),
    ("100 to 10,000 a second, doubling every 3 seconds", |at| 100.0 * (at / 3.0).exp2()),
    ("bursts: every second 100 ms of 10,000 a second", |at| if at.fract() < 0.1 { 10_000.0 } else { 0.0 }),
];

#[derive(Default)]
struct Counted {
    roots: u64,
    kept: u64,
    /// The sum of the adjusted counts of the kept traces.
    stands_for: f64,
}

pub(crate) fn print() {
    println!(
        "adaptive, {GOAL} traces a second wanted, {COUNTED:?} of real time after {WARM_UP:?} of warming up:"
    );
    println!("{:<50} {:>9} {:>9} {:>17}", "load", "roots/s", "kept/s", "counted from th");
    let running = LOADS.map(|(name, load)| (name, thread::spawn(move || run(load))));
    for (name, running) in running {
        let Ok(Counted { roots, kept, stands_for }) = running.join() else {
            println!("{name:<50} panicked");
            continue;
        };
        let seconds = COUNTED.as_secs_f64();
        let (roots_rate, kept_rate) = (roots as f64 / seconds, kept as f64 / seconds);
        let error = (stands_for / roots as f64 - 1.0) * 100.0;
        println!("{name:<50} {roots_rate:>9.1} {kept_rate:>9.2} {error:>+16.1}%");
    }
}

fn run(load: fn(f64) -> f64) -> Counted {
    let sampler = Sampler::adaptive(GOAL);
    let (cx, ids) = (Context::new(), RandomIdGenerator::default());
    let start = Instant::now();
    let mut counted = Counted::default();
    let (mut due, mut last) = (0.0, Duration::ZERO);
    loop {
        thread::sleep(Duration::from_millis(1));
        let now = start.elapsed();
        if now > WARM_UP + COUNTED {
            return counted;
        }
        due += load(now.as_secs_f64()) * (now - last).as_secs_f64();
        last = now;
        while due >= 1.0 {
            due -= 1.0;
            let result =
                sampler.should_sample(Some(&cx), ids.new_trace_id(), "root", &SpanKind::Server, &[], &[]);
            if now < WARM_UP {
                continue;
            }
            counted.roots += 1;
            if result.decision == SamplingDecision::RecordAndSample {
                counted.kept += 1;
                counted.stands_for += stands_for(result.trace_state.get("ot").unwrap_or_default());
            }
        }
    }
}

/// Returns the adjusted count of a kept trace, from the `th` of its `ot` entry.
fn stands_for(entry: &str) -> f64 {
    let digits = entry.strip_prefix("th:").unwrap_or("0");
    let rejected = u64::from_str_radix(&format!("{digits:0<14}"), 16).unwrap_or_default();
    let all = 1_u64 << 56;
    all as f64 / (all - rejected) as f64
}

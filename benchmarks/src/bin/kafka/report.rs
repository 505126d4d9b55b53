//! Runs each cell in a separate process and prints the tables with the goals.

use benchmarks::cells::{Key, Results, facts, measure};
use benchmarks::cli::Options;
use benchmarks::process::{self, Failure};
use benchmarks::table::{Goals, Table, count, whole};

use crate::cell::{Candidate, Side, Variant};
use crate::{paced, topic};

/// The number of rounds of native measurements, alternating between rdkafka and otel-kafka.
const ROUNDS: usize = 3;

/// The number of instruction counts, because the heap layout of queued messages varies.
const COUNTS: usize = 3;

/// The number of rounds at a fixed rate, whose result is the median of the differences.
const PACED_ROUNDS: usize = 5;

/// The instructions of a message that the default build may take more.
const UNBOUND: f64 = 2500.0;

/// The candidates without the floor, which needs bound metrics and does not handle a full queue.
const BARE_AND_OURS: [Candidate; 2] = [Candidate::Bare, Candidate::Ours];

/// The variable with the address of a real broker.
const BROKERS: &str = "KAFKA_BROKERS";

/// Measures all cells and prints the tables.
pub(crate) fn report(options: &Options) -> Result<(), Failure> {
    let valgrind = if options.quick { None } else { Some(process::valgrind()?) };
    let default = process::build_default("kafka")?;
    let brokers = std::env::var(BROKERS).ok();
    let wanted = |key: &Key| {
        (brokers.is_some() || key.side != Side::Paced.name())
            && (options.only.is_empty()
                || key.candidate == Candidate::Bare.name()
                || options.only.iter().any(|text| key.label().contains(text)))
    };
    let keys: Vec<Key> = keys().into_iter().filter(wanted).collect();
    let counts = |key: &Key| if valgrind.is_some() && !is_timed_only(key) { COUNTS } else { 0 };
    let rounds = |key: &Key| if key.side == Side::Paced.name() { PACED_ROUNDS } else { ROUNDS };
    if let Some(brokers) = &brokers {
        topic::create(brokers)?;
    }
    let results = measure(&keys, &default, rounds, counts);
    if let Some(brokers) = &brokers {
        topic::delete(brokers)?;
    }
    let results = results?;
    let mut goals = (0, 0);
    println!("# Kafka: cost per message\n");
    println!("{}\n", facts(valgrind.as_deref()));
    for side in [Side::Producer, Side::Consumer] {
        print_side(&results, side, &mut goals);
    }
    print_full(&results, &mut goals);
    print_paced(&results, &mut goals);
    println!("Goals: {} met, {} missed.", goals.0, goals.1);
    Ok(())
}

fn key(default_build: bool, side: Side, candidate: Candidate, variant: Variant) -> Key {
    Key { default_build, side: side.name(), candidate: candidate.name(), variant: variant.name() }
}

fn is_timed_only(key: &Key) -> bool {
    key.side == Side::Full.name() || key.side == Side::Paced.name()
}

fn keys() -> Vec<Key> {
    let mut keys = Vec::new();
    for &side in &[Side::Producer, Side::Consumer] {
        for &variant in Variant::ALL {
            let candidates = if variant.has_floor() { Candidate::ALL } else { &BARE_AND_OURS };
            keys.extend(candidates.iter().map(|&of| key(false, side, of, variant)));
            keys.extend(BARE_AND_OURS.map(|of| key(true, side, of, variant)));
        }
    }
    for &side in &[Side::Full, Side::Paced] {
        keys.extend(BARE_AND_OURS.map(|of| key(false, side, of, Variant::Sampled)));
    }
    keys
}

fn print_side(results: &Results, side: Side, sum: &mut (usize, usize)) {
    println!(
        "## {}\n",
        match side {
            Side::Producer =>
                "`FutureProducer::send_result` and the delivery report, over rdkafka's with one `traceparent` \
                 written by hand",
            _ => "`StreamConsumer::recv` and `process`, over rdkafka's `recv`",
        }
    );
    let mut table = Table::new(&["", "instructions", "allocations", "ns", "goals"]);
    for &variant in Variant::ALL {
        for (default_build, candidate, name) in [
            (false, Candidate::Floor, "floor: SDK propagator, span, attributes, bound metrics"),
            (false, Candidate::Ours, "otel-kafka, `bound-metrics`"),
            (true, Candidate::Ours, "otel-kafka, default build"),
        ] {
            let at = key(default_build, side, candidate, variant);
            if !results.has(at) {
                continue;
            }
            let cost = results.get(at).over(results.get(key(default_build, side, Candidate::Bare, variant)));
            let mut goals = Goals::default();
            if let (Candidate::Ours, Some(most)) = (candidate, most(side, variant)) {
                // The default build records unbound metrics, if there are any.
                let unbound = if default_build && variant.has_sdk() { UNBOUND } else { 0.0 };
                goals.at_most(cost.instructions, most + unbound, "");
            }
            goals.add_to(sum);
            table.row(vec![
                format!("{}: {name}", sampled(variant)),
                whole(cost.instructions),
                count(cost.native.allocations),
                whole(cost.native.nanoseconds),
                goals.cell(),
            ]);
        }
    }
    table.print();
    let bare = results.get(key(false, side, Candidate::Bare, Variant::Sampled));
    println!(
        "rdkafka itself: {} instructions, {} allocations, {} ns.\n",
        whole(bare.instructions),
        count(bare.native.allocations),
        whole(bare.native.nanoseconds)
    );
}

fn sampled(variant: Variant) -> &'static str {
    match variant {
        Variant::Unsampled => "not sampled",
        Variant::Declared => "not sampled, declared",
        Variant::Tenth => "one in ten sampled",
        Variant::Sampled => "all sampled",
        Variant::NoSdk => "a propagator without an SDK",
        Variant::Nothing => "nothing installed",
    }
}

/// Returns the goal for the instructions per message.
fn most(side: Side, variant: Variant) -> Option<f64> {
    match (side, variant) {
        (Side::Producer, Variant::Unsampled | Variant::Declared) => Some(1500.0),
        (Side::Producer, Variant::Tenth) => Some(1850.0),
        (Side::Producer, Variant::Sampled) => Some(5000.0),
        (Side::Producer, Variant::NoSdk) => Some(1200.0),
        (Side::Producer, Variant::Nothing) => Some(650.0),
        (Side::Consumer, Variant::Unsampled | Variant::Declared) => Some(4300.0),
        (Side::Consumer, Variant::Sampled) => Some(7500.0),
        (Side::Consumer, Variant::NoSdk) => Some(3200.0),
        (Side::Consumer, Variant::Nothing) => Some(300.0),
        _ => None,
    }
}

fn print_full(results: &Results, sum: &mut (usize, usize)) {
    let [bare, ours] = BARE_AND_OURS.map(|of| key(false, Side::Full, of, Variant::Sampled));
    if !results.has(ours) {
        return;
    }
    println!("## 200 messages at once into a queue of 10\n");
    let mut goals = Goals::default();
    let milliseconds = |key| results.get(key).native.nanoseconds / 1e6;
    // The goal is below the duration of one retry pause of rdkafka.
    goals.at_most_exactly(milliseconds(ours), 100.0, " ms");
    goals.add_to(sum);
    println!(
        "rdkafka {:.1} ms, otel-kafka {:.1} ms: {:.0} times as fast; {}\n",
        milliseconds(bare),
        milliseconds(ours),
        results.times_faster(ours, bare),
        goals.cell()
    );
}

fn print_paced(results: &Results, sum: &mut (usize, usize)) {
    println!("## {} messages per second to a real broker, all sampled\n", paced::RATE);
    let [bare, ours] = BARE_AND_OURS.map(|of| key(false, Side::Paced, of, Variant::Sampled));
    if !results.has(ours) {
        println!("Not measured: {} is not set (`cargo xtask services up kafka`).\n", BROKERS);
        return;
    }
    // The processor time per second.
    let share = |nanoseconds: f64| nanoseconds / 1e7;
    let of = |key| share(results.get(key).native.nanoseconds);
    let more = share(results.nanoseconds_more(ours, bare));
    let mut goals = Goals::default();
    goals.at_most_exactly(more, 8.0, " % of a core");
    goals.add_to(sum);
    println!(
        "Of a core the whole process takes {:.1} % with rdkafka, {:.1} % with otel-kafka (medians of {PACED_ROUNDS}); the \
         median of the differences: {}\n",
        of(bare),
        of(ours),
        goals.cell()
    );
}

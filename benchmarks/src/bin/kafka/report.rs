//! Runs each cell in a separate process and prints the tables with the goals.

use benchmarks::cells::{COLUMNS, Key, Results, measure};
use benchmarks::cli::Options;
use benchmarks::process::{self, Failure};
use benchmarks::results::Document;
use benchmarks::table::{Cell, Goals, Table};

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

/// Measures all cells and adds the tables.
pub(crate) fn report(options: &Options, document: &mut Document) -> Result<(), Failure> {
    let is_counted = options.counts()?;
    let default = process::build_default("kafka")?;
    let brokers = std::env::var(BROKERS).ok();
    let wanted = |key: &Key| {
        (brokers.is_some() || key.side != Side::Paced.name())
            && (key.candidate == Candidate::Bare.name() || options.wants(&key.label()))
    };
    let keys: Vec<Key> = keys().into_iter().filter(wanted).collect();
    let counts = |key: &Key| if is_counted && !is_timed_only(key) { COUNTS } else { 0 };
    let rounds = |key: &Key| if key.side == Side::Paced.name() { PACED_ROUNDS } else { ROUNDS };
    if let Some(brokers) = &brokers {
        topic::create(brokers)?;
    }
    let results = measure(&keys, &default, rounds, counts);
    if let Some(brokers) = &brokers {
        topic::delete(brokers)?;
    }
    let results = results?;
    document.title("Kafka: cost per message");
    for side in [Side::Producer, Side::Consumer] {
        add_side(&results, side, document);
    }
    add_full(&results, document);
    add_paced(&results, document);
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

fn add_side(results: &Results, side: Side, document: &mut Document) {
    document.section(match side {
        Side::Producer => {
            "`FutureProducer::send_result` and the delivery report, over rdkafka's with one `traceparent` \
                 written by hand"
        }
        _ => "`StreamConsumer::recv` and `process`, over rdkafka's `recv`",
    });
    let mut table = Table::new(&COLUMNS);
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
            let cost = results.over(at, key(default_build, side, Candidate::Bare, variant));
            let mut goals = Goals::default();
            if let (Candidate::Ours, Some(most)) = (candidate, most(side, variant)) {
                // The default build records unbound metrics, if there are any.
                let unbound = if default_build && variant.has_sdk() { UNBOUND } else { 0.0 };
                goals.at_most(cost.instructions, most + unbound, "");
            }
            table.row(format!("{}: {name}", sampled(variant)), cost.cells(), goals);
        }
    }
    document.table(table);
    let bare = results.get(key(false, side, Candidate::Bare, Variant::Sampled));
    document.note(bare.describe("rdkafka itself"));
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

fn add_full(results: &Results, document: &mut Document) {
    let [bare, ours] = BARE_AND_OURS.map(|of| key(false, Side::Full, of, Variant::Sampled));
    if !results.has(ours) {
        return;
    }
    document.section("200 messages at once into a queue of 10");
    let mut table = Table::new(&["ms (range)", "times as fast as rdkafka"]);
    let cells = |key| {
        let measured = results.get(key);
        let [time, least, most] =
            [measured.native.nanoseconds, measured.range[0], measured.range[1]].map(|time| time / 1e6);
        (
            time,
            vec![
                Cell::decimal(time, 1).with_spread([least, most]),
                Cell::whole(results.times_faster(key, bare)),
            ],
        )
    };
    table.row("rdkafka", cells(bare).1, Goals::default());
    let (time, cells) = cells(ours);
    let mut goals = Goals::default();
    // The goal is below the duration of one retry pause of rdkafka.
    goals.at_most_exactly(time, 100.0, " ms");
    table.row("otel-kafka", cells, goals);
    document.table(table);
}

fn add_paced(results: &Results, document: &mut Document) {
    document.section(format!("{} messages per second to a real broker, all sampled", paced::RATE));
    let [bare, ours] = BARE_AND_OURS.map(|of| key(false, Side::Paced, of, Variant::Sampled));
    if !results.has(ours) {
        document.note(format!("Not measured: {BROKERS} is not set (`cargo xtask services up kafka`)."));
        return;
    }
    // The processor time per second.
    let share = |nanoseconds: f64| nanoseconds / 1e7;
    let mut table =
        Table::new(&["processor time of the process, % of a core (range)", "more: median of the rounds"]);
    let cell = |key| {
        let measured = results.get(key);
        Cell::decimal(share(measured.native.nanoseconds), 1).with_spread(measured.range.map(share))
    };
    table.row("rdkafka", vec![cell(bare), "".into()], Goals::default());
    let more = share(results.nanoseconds_more(ours, bare));
    let mut goals = Goals::default();
    goals.at_most_exactly(more, 8.0, " % of a core");
    table.row("otel-kafka", vec![cell(ours), Cell::decimal(more, 1)], goals);
    document.table(table);
}

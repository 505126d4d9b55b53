//! Runs each cell in a separate process and prints the tables with the goals.

use benchmarks::cli::Options;
use benchmarks::measure::{median, range};
use benchmarks::process::{self, Failure};
use benchmarks::results::Document;
use benchmarks::table::{Cell, Goals, Table, whole};

use crate::candidate::{BATCH, Candidate, QUEUE};
use crate::load::{RATE, RUN, SLICE, TASKS};

/// The number of runs under load, of which the median is reported.
const ROUNDS: usize = 9;

/// The number of counts of instructions, of which the median is reported.
const COUNTS: usize = 3;

/// Measures all cells and adds the tables.
pub(crate) fn report(options: &Options, document: &mut Document) -> Result<(), Failure> {
    let counts = options.counts()?;
    document.title(&format!(
        "Telemetry: batch processors, with queues of {QUEUE} spans, batches of {BATCH}, an exporter that discards"
    ));
    if options.wants("load") {
        load(document)?;
    }
    if options.wants("end") && counts {
        end(document)?;
    }
    Ok(())
}

fn label(candidate: Candidate) -> &'static str {
    match candidate {
        Candidate::Drop => "a processor that drops the span",
        Candidate::Sdk => "the SDK's `BatchSpanProcessor`",
        Candidate::Ours => "otel-telemetry",
    }
}

fn load(document: &mut Document) -> Result<(), Failure> {
    let both = [Candidate::Sdk, Candidate::Ours];
    let (mut lost, mut seconds) = ([const { Vec::new() }; 2], [const { Vec::new() }; 2]);
    let binary = std::env::current_exe()?;
    for round in 1..=ROUNDS {
        eprintln!("measuring lost spans, round {round} of {ROUNDS}");
        // Alternates the order, because the load of the machine changes.
        for place in if round % 2 == 0 { [1, 0] } else { [0, 1] } {
            let printed = process::numbers(&binary, &["--cell", "load", both[place].name()])?;
            let value = |name: &str| printed.get(name).copied().ok_or_else(|| format!("no line `{name}`"));
            lost[place].push(value("lost")?);
            seconds[place].push(value("seconds")?);
        }
    }
    let offered = RATE * RUN.as_secs();
    document.section(format!(
        "Lost spans of {}: {} a second for {RUN:?}, {TASKS} tasks that pause for {SLICE:?}",
        whole(offered as f64),
        whole(RATE as f64)
    ));
    let medians = lost.each_mut().map(|runs| median(runs));
    let mut table = Table::new(&["median (range)", "seconds"]);
    for (place, candidate) in both.into_iter().enumerate() {
        let mut goals = Goals::default();
        if candidate == Candidate::Ours {
            goals.at_most(medians[place], medians[0], " (the SDK's)");
        }
        let spread = range(&lost[place]);
        let cells = vec![
            Cell::whole(medians[place]).with_spread(spread),
            Cell::decimal(median(&mut seconds[place]), 2),
        ];
        table.row(label(candidate), cells, goals);
    }
    document.table(table);
    Ok(())
}

fn end(document: &mut Document) -> Result<(), Failure> {
    let binary = std::env::current_exe()?;
    let count = |candidate: Candidate| {
        eprintln!("counting instructions of {}", candidate.name());
        let runs = (0..COUNTS).map(|_| {
            let label = format!("telemetry-end-{}", candidate.name());
            process::instructions(&binary, &label, &["--cell", "end", candidate.name()])
        });
        runs.collect::<Result<Vec<_>, _>>().map(|mut runs| median(&mut runs))
    };
    document.section("The end of a span with six attributes, on the thread that ends it");
    let mut table = Table::new(&["instructions"]);
    let mut bound = f64::NAN;
    for &candidate in Candidate::ALL {
        let instructions = count(candidate)?;
        let mut goals = Goals::default();
        match candidate {
            Candidate::Drop => {}
            Candidate::Sdk => bound = instructions,
            Candidate::Ours => goals.at_most(instructions, bound, " (the SDK's)"),
        }
        table.row(label(candidate), vec![Cell::whole(instructions)], goals);
    }
    document.table(table);
    Ok(())
}

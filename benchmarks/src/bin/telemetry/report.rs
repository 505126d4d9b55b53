//! Runs each cell in a separate process and prints the tables with the goals.

use benchmarks::cells::facts;
use benchmarks::cli::Options;
use benchmarks::measure::median;
use benchmarks::process::{self, Failure};
use benchmarks::table::{Goals, Table, whole};

use crate::candidate::{BATCH, Candidate, QUEUE};
use crate::load::{RATE, RUN, SLICE, TASKS};

/// The number of runs under load, of which the median is reported.
const ROUNDS: usize = 9;

/// The number of counts of instructions, of which the median is reported.
const COUNTS: usize = 3;

/// Measures all cells and prints the tables.
pub(crate) fn report(options: &Options) -> Result<(), Failure> {
    let valgrind = if options.quick { None } else { Some(process::valgrind()?) };
    let wanted =
        |name: &str| options.only.is_empty() || options.only.iter().any(|text| name.contains(&**text));
    let mut goals = (0, 0);
    println!("# Telemetry: batch processors\n");
    println!("{}\n", facts(valgrind.as_deref()));
    println!("Queues of {QUEUE} spans, batches of {BATCH}, an exporter that discards.\n");
    if wanted("load") {
        load(&mut goals)?;
    }
    if wanted("end") && valgrind.is_some() {
        end(&mut goals)?;
    }
    println!("Goals: {} met, {} missed.", goals.0, goals.1);
    Ok(())
}

fn label(candidate: Candidate) -> &'static str {
    match candidate {
        Candidate::Drop => "a processor that drops the span",
        Candidate::Sdk => "the SDK's `BatchSpanProcessor`",
        Candidate::Ours => "otel-telemetry",
    }
}

fn load(sum: &mut (usize, usize)) -> Result<(), Failure> {
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
    println!(
        "## Lost spans of {}: {} a second for {RUN:?}, {TASKS} tasks that pause for {SLICE:?}\n",
        whole(offered as f64),
        whole(RATE as f64)
    );
    let medians = lost.each_mut().map(|runs| median(runs));
    let mut table = Table::new(&["", "median", "least", "most", "seconds", "goal"]);
    for (place, candidate) in both.into_iter().enumerate() {
        let mut goals = Goals::default();
        if candidate == Candidate::Ours {
            goals.at_most(medians[place], medians[0], "");
        }
        goals.add_to(sum);
        // `median` has sorted them.
        let (least, most) = (lost[place].first(), lost[place].last());
        let mut row = vec![label(candidate).to_owned(), whole(medians[place])];
        row.extend([least, most].map(|value| whole(value.copied().unwrap_or(f64::NAN))));
        row.extend([format!("{:.2}", median(&mut seconds[place])), goals.cell()]);
        table.row(row);
    }
    table.print();
    Ok(())
}

fn end(sum: &mut (usize, usize)) -> Result<(), Failure> {
    let binary = std::env::current_exe()?;
    let count = |candidate: Candidate| {
        eprintln!("counting instructions of {}", candidate.name());
        let runs = (0..COUNTS).map(|_| {
            let label = format!("telemetry-end-{}", candidate.name());
            process::instructions(&binary, &label, &["--cell", "end", candidate.name()])
        });
        runs.collect::<Result<Vec<_>, _>>().map(|mut runs| median(&mut runs))
    };
    println!("## The end of a span with six attributes, on the thread that ends it\n");
    let mut table = Table::new(&["", "instructions", "goal: 1.0 × the SDK's"]);
    let mut bound = f64::NAN;
    for &candidate in Candidate::ALL {
        let instructions = count(candidate)?;
        let mut goals = Goals::default();
        match candidate {
            Candidate::Drop => {}
            Candidate::Sdk => bound = instructions,
            Candidate::Ours => goals.at_most(instructions, bound, ""),
        }
        goals.add_to(sum);
        table.row(vec![label(candidate).to_owned(), whole(instructions), goals.cell()]);
    }
    table.print();
    Ok(())
}

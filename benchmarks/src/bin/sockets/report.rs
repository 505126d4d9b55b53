//! Runs all servers in interleaved rounds and prints the tables with the goals.

use benchmarks::cells::machine;
use benchmarks::cli::Options;
use benchmarks::measure::median;
use benchmarks::process::Failure;
use benchmarks::table::{Goals, Table, whole};

use crate::process::{Figures, measure};
use crate::server::{Candidate, calibrate};

const ROUNDS: usize = 9;
const QUICK_ROUNDS: usize = 3;

const HANDLERS: [(&str, &str); 2] =
    [("empty", "A handler that does nothing"), ("spin", "A handler that computes for 20 µs")];

/// The rounds of one handler, by candidate.
type Rounds = Vec<Vec<Figures>>;

/// Measures all servers and prints the tables.
pub(crate) fn report(options: &Options) -> Result<(), Failure> {
    let rounds = if options.quick { QUICK_ROUNDS } else { ROUNDS };
    let wanted =
        |name: &str| options.only.is_empty() || options.only.iter().any(|text| name.contains(text.as_str()));
    let spins = calibrate();
    let load = |when: &str| {
        let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        format!("{} {when}", load.split(' ').next().unwrap_or_default())
    };
    let before = load("before");
    let mut measured: Vec<Rounds> = HANDLERS.map(|_| vec![Vec::new(); Candidate::ALL.len()]).into();
    for round in 0..rounds {
        eprintln!("round {} of {rounds}", round + 1);
        for (handler, (name, _)) in HANDLERS.iter().enumerate().filter(|(_, (name, _))| wanted(name)) {
            let spins = if *name == "spin" { spins } else { 0 };
            // Each round begins with another candidate, so that none always follows the same one.
            for index in (0..Candidate::ALL.len()).map(|index| (index + round) % Candidate::ALL.len()) {
                measured[handler][index].push(measure(Candidate::ALL[index], spins)?);
            }
        }
    }
    println!("# Sockets: an HTTP server under load\n");
    println!("{} Load average: {}, {}.\n", machine(), before, load("after"));
    let mut goals = (0, 0);
    for (handler, (name, title)) in HANDLERS.iter().enumerate().filter(|(_, (name, _))| wanted(name)) {
        println!("## {title}\n");
        print(*name == "spin", &measured[handler], &mut goals);
    }
    println!("Goals: {} met, {} missed.", goals.0, goals.1);
    Ok(())
}

fn title(candidate: Candidate) -> &'static str {
    match candidate {
        Candidate::Bare => "bare",
        Candidate::BareAgain => "bare, once more",
        Candidate::SetUp => "SDK set up, no layer",
        Candidate::InstrumentationTower => "opentelemetry-instrumentation-tower 0.19",
        Candidate::Ours => "**otel-http**, `bound-metrics`",
    }
}

/// The lower quartile, the median and the upper quartile.
fn quartiles(mut values: Vec<f64>) -> [f64; 3] {
    let middle = median(&mut values);
    let outer = (values.len() - 1) / 4;
    [values[outer], middle, values[values.len() - 1 - outer]]
}

fn print(spins: bool, rounds: &Rounds, sum: &mut (usize, usize)) {
    let median_of = |candidate: Candidate, value: fn(&Figures) -> f64| {
        median(&mut rounds[candidate as usize].iter().map(value).collect::<Vec<_>>())
    };
    // Compared within a round, whose servers ran within seconds.
    let over_bare = |candidate: Candidate, value: fn(&Figures) -> f64| {
        let pairs = rounds[candidate as usize].iter().zip(&rounds[Candidate::Bare as usize]);
        quartiles(pairs.map(|(one, bare)| value(one) - value(bare)).collect())
    };
    let processor = |figures: &Figures| figures.processor;
    let [low, _, high] = over_bare(Candidate::BareAgain, processor);
    let resolution = low.abs().max(high.abs());
    let mut table = Table::new(&[
        "",
        "processor time, µs a request",
        "over bare: median (quartiles)",
        "requests a second",
        "p50, µs",
        "p99, µs",
        "peak, MiB",
        "goals",
    ]);
    for &candidate in Candidate::ALL {
        let [low, middle, high] = over_bare(candidate, processor);
        let mut goals = Goals::default();
        if candidate == Candidate::Ours {
            let bare = median_of(Candidate::Bare, processor);
            if spins {
                let suffix = format!(" × bare (±{:.2})", resolution / bare);
                goals.at_most_precisely((bare + middle) / bare, 1.03, &suffix);
            } else {
                goals.at_most_precisely(middle, 0.5, &format!(" µs (±{resolution:.2})"));
            }
            let peak = |candidate| median_of(candidate, |figures| figures.peak);
            goals.at_most_precisely(peak(Candidate::Ours) / peak(Candidate::Bare), 1.05, " × the memory");
        }
        goals.add_to(sum);
        let difference = match candidate {
            Candidate::Bare => String::new(),
            _ => {
                let seen = if middle.abs() > resolution { "" } else { ", not resolved" };
                format!("{middle:.2} ({low:.2} to {high:.2}){seen}")
            }
        };
        table.row(vec![
            title(candidate).to_owned(),
            format!("{:.2}", median_of(candidate, processor)),
            difference,
            whole(median_of(candidate, |figures| figures.per_second)),
            whole(median_of(candidate, |figures| figures.p50)),
            whole(median_of(candidate, |figures| figures.p99)),
            format!("{:.1}", median_of(candidate, |figures| figures.peak)),
            goals.cell(),
        ]);
    }
    table.print();
    println!(
        "Differences of up to {resolution:.2} µs are not resolved: bare against bare differs by as much in a quarter of \
         the rounds.\n"
    );
}

//! Runs all servers in interleaved rounds and adds the tables with the goals.

use benchmarks::cli::Options;
use benchmarks::measure::median;
use benchmarks::process::Failure;
use benchmarks::results::Document;
use benchmarks::table::{Cell, Goals, Table};

use crate::process::{Figures, measure};
use crate::server::{Candidate, calibrate};

const ROUNDS: usize = 9;
const QUICK_ROUNDS: usize = 3;

const HANDLERS: [(&str, &str); 2] =
    [("empty", "A handler that does nothing"), ("spin", "A handler that computes for 20 µs")];

/// The sampled parents of the requests, as one of so many.
const TENTH: usize = 10;
const RATES: [usize; 3] = [100, TENTH, 1];

/// A figure of a round.
type Value = fn(&Figures) -> f64;

/// A measured server and its rounds.
struct Row {
    candidate: Candidate,
    sampled_of: usize,
    rounds: Vec<Figures>,
}

impl Row {
    fn new(candidate: Candidate, sampled_of: usize) -> Self {
        Self { candidate, sampled_of, rounds: Vec::new() }
    }

    fn median(&self, value: fn(&Figures) -> f64) -> f64 {
        median(&mut self.rounds.iter().map(value).collect::<Vec<_>>())
    }

    /// Returns the quartiles of the changes from `bare`, compared within a round, whose servers ran within minutes.
    fn change(&self, bare: &Self, value: fn(&Figures) -> f64, change: fn(f64, f64) -> f64) -> [f64; 3] {
        let pairs = self.rounds.iter().zip(&bare.rounds);
        quartiles(pairs.map(|(one, bare)| change(value(one), value(bare))).collect())
    }

    fn title(&self) -> String {
        let name = match self.candidate {
            Candidate::Bare => return "bare".to_owned(),
            Candidate::BareAgain => return "bare, once more".to_owned(),
            Candidate::SetUp => return "SDK set up, no layer".to_owned(),
            Candidate::NoSdk => return "**otel-http** without an SDK".to_owned(),
            Candidate::TowerOtel => "tower-otel 0.12",
            Candidate::InstrumentationTower => "opentelemetry-instrumentation-tower 0.19",
            Candidate::AxumTracing => "axum-tracing-opentelemetry 0.42 (traces only)",
            Candidate::Oxtel => "oxtel-tower 0.3, with its own SDK",
            Candidate::Ours => "**otel-http**, `bound-metrics`",
        };
        format!("{name}: {} % sampled", 100 / self.sampled_of)
    }
}

/// The first two rows are the bare servers. The handler that computes has fewer rows.
fn rows(spins: bool) -> Vec<Row> {
    let once = [Candidate::Bare, Candidate::BareAgain, Candidate::SetUp, Candidate::NoSdk];
    let rates = if spins { &[TENTH][..] } else { &RATES };
    let instrumented = Candidate::ALL.iter().copied().filter(|candidate| candidate.is_instrumented());
    let rated = instrumented.flat_map(|candidate| rates.iter().map(move |&rate| Row::new(candidate, rate)));
    once.into_iter().map(|candidate| Row::new(candidate, TENTH)).chain(rated).collect()
}

/// Measures all servers and adds the tables.
pub(crate) fn report(options: &Options, document: &mut Document) -> Result<(), Failure> {
    document.title("Sockets: an HTTP server under load");
    let rounds = if options.quick { QUICK_ROUNDS } else { ROUNDS };
    let spins = calibrate();
    let mut handlers: Vec<_> = HANDLERS
        .into_iter()
        .filter(|(name, _)| options.wants(name))
        .map(|(name, title)| (title, name == "spin", rows(name == "spin")))
        .collect();
    let mut random = fastrand::Rng::with_seed(0);
    for round in 0..rounds {
        eprintln!("round {} of {rounds}", round + 1);
        for (_, is_spinning, rows) in &mut handlers {
            let count = rows.len();
            // The order of each round is another one, so that no row always follows the same one.
            let mut order: Vec<usize> = (0..count).collect();
            random.shuffle(&mut order);
            for index in order {
                let row = &mut rows[index];
                let spins = if *is_spinning { spins } else { 0 };
                row.rounds.push(measure(row.candidate, spins, row.sampled_of)?);
            }
        }
    }
    for (title, is_spinning, rows) in &handlers {
        document.section(*title);
        add(*is_spinning, rows, document);
    }
    if let Some((.., rows)) = handlers.iter().find(|(_, is_spinning, _)| !is_spinning) {
        add_claims(rows, document);
    }
    Ok(())
}

/// The lower quartile, the median and the upper quartile.
fn quartiles(mut values: Vec<f64>) -> [f64; 3] {
    let middle = median(&mut values);
    let outer = (values.len() - 1) / 4;
    [values[outer], middle, values[values.len() - 1 - outer]]
}

fn difference(one: f64, bare: f64) -> f64 {
    one - bare
}

fn percent(one: f64, bare: f64) -> f64 {
    (one / bare - 1.0) * 100.0
}

fn resolution([low, _, high]: [f64; 3]) -> f64 {
    low.abs().max(high.abs())
}

fn add(is_spinning: bool, rows: &[Row], document: &mut Document) {
    let [bare, again, ..] = rows else { return };
    let processor = |figures: &Figures| figures.processor;
    let resolution = resolution(again.change(bare, processor, difference));
    let mut table = Table::new(&[
        "processor time, µs a request",
        "over bare: median (quartiles)",
        "requests a second",
        "p50, µs",
        "p99, µs",
        "peak, MiB",
        "lost spans, %",
    ]);
    for row in rows {
        let [low, middle, high] = row.change(bare, processor, difference);
        let mut goals = Goals::default();
        if row.candidate == Candidate::Ours && row.sampled_of == TENTH {
            let base = bare.median(processor);
            if is_spinning {
                let suffix = format!(" × bare (±{:.2})", resolution / base);
                goals.at_most_precisely((base + middle) / base, 1.03, &suffix);
            } else {
                goals.at_most_precisely(middle, 0.5, &format!(" µs (±{resolution:.2})"));
            }
            let peak = |row: &Row| row.median(|figures| figures.peak);
            goals.at_most_precisely(peak(row) / peak(bare), 1.05, " × the memory");
        }
        let difference = match row.candidate {
            Candidate::Bare => "".into(),
            _ => {
                let seen = if middle.abs() > resolution { "" } else { ", not resolved" };
                let text = format!("{middle:.2} ({low:.2} to {high:.2}){seen}");
                Cell::number(middle, text.replace('-', "−"))
            }
        };
        let cells = vec![
            Cell::decimal(row.median(processor), 2),
            difference,
            Cell::whole(row.median(|figures| figures.per_second)),
            Cell::whole(row.median(|figures| figures.p50)),
            Cell::whole(row.median(|figures| figures.p99)),
            Cell::decimal(row.median(|figures| figures.peak), 1),
            Cell::decimal(row.median(|figures| figures.lost), 1),
        ];
        table.row(row.title(), cells, goals);
    }
    document.table(table);
    document.note(format!(
        "Differences of up to {resolution:.2} µs are not resolved: that is the farther quartile of bare against bare."
    ));
}

/// Compares the claims of the guides, for one request of ten sampled, with the same figures of ours.
fn add_claims(rows: &[Row], document: &mut Document) {
    let [bare, again, ..] = rows else { return };
    let Some(ours) = rows.iter().find(|row| row.candidate == Candidate::Ours && row.sampled_of == TENTH)
    else {
        return;
    };
    document.section("The claims of the guides at 10 % sampling, beside otel-http");
    let mut table =
        Table::new(&["the guides", "otel-http over bare: median (quartiles)", "bare against bare"]);
    let claims: [(_, _, Value); 4] = [
        ("processor time a request", "–", |figures| figures.processor),
        ("throughput", "−3 %", |figures| figures.per_second),
        ("p99", "+8 %", |figures| figures.p99),
        ("memory", "+20 %", |figures| figures.peak),
    ];
    for (name, claim, value) in claims {
        let [low, middle, high] = ours.change(bare, value, percent);
        let resolution = resolution(again.change(bare, value, percent));
        let seen = if middle.abs() > resolution { "" } else { ", not resolved" };
        let text = format!("{middle:+.0} % ({low:+.0} to {high:+.0}){seen}").replace('-', "−");
        let cells = vec![claim.into(), Cell::number(middle, text), format!("±{resolution:.0} %").into()];
        table.row(name, cells, Goals::default());
    }
    document.table(table);
    document.note(
        "The guides do not describe their handler; this one does nothing, which makes each share as large as it can be. The \
         load is one thread beside the two of the server, on the same processors, and limits throughput as well: a server \
         that is limited by its processor alone loses what its processor time grows by.",
    );
}

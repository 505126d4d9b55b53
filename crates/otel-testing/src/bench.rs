//! Benchmarks that are counted in nanoseconds by criterion, or in instructions by callgrind.
//!
//! Instructions repeat on a shared machine, nanoseconds do not. `cargo bench -p CRATE --bench overhead -- --instructions`
//! counts them and needs valgrind.

use std::hint::black_box;
use std::io::{self, Write as _};
use std::pin::pin;
use std::process::Command;
use std::task::{Context, Waker};

use criterion::{BatchSize, Criterion};

/// The repetitions that are counted, after as many for warming up.
const REPETITIONS: u64 = 500;

/// The run of a benchmark, to which its cells are given one by one.
#[expect(missing_debug_implementations, reason = "criterion's runner has none")]
pub struct Bench(Run);

enum Run {
    Criterion(Box<Criterion>),
    /// Collects the names of the cells.
    List(Vec<String>),
    /// Runs one cell, in a process under callgrind.
    Cell(String),
}

impl Bench {
    /// Measures `work`; `setup` creates its input and is not counted.
    pub fn measure<I>(&mut self, name: &str, mut setup: impl FnMut() -> I, mut work: impl FnMut(I)) {
        match &mut self.0 {
            Run::Criterion(criterion) => {
                criterion
                    .bench_function(name, |b| b.iter_batched(&mut setup, &mut work, BatchSize::SmallInput));
            }
            Run::List(names) => names.push(name.to_owned()),
            Run::Cell(cell) if cell == name => {
                for _ in 0..REPETITIONS {
                    work(setup());
                }
                for _ in 0..REPETITIONS {
                    let mut input = Some(setup());
                    counted_region(&mut || {
                        if let Some(input) = input.take() {
                            work(input);
                        }
                    });
                }
            }
            Run::Cell(_) => {}
        }
    }

    /// Measures the creation and the only poll of a future, which must be ready then.
    ///
    /// # Panics
    /// If the future is pending.
    pub fn measure_future<I, F: Future>(
        &mut self,
        name: &str,
        setup: impl FnMut() -> I,
        mut work: impl FnMut(I) -> F,
    ) {
        self.measure(name, setup, |input| {
            let polled = pin!(work(input)).poll(&mut Context::from_waker(Waker::noop()));
            assert!(polled.is_ready(), "the future of {name} waits");
            let _ = black_box(polled);
        });
    }
}

/// Does the work where callgrind collects.
#[inline(never)]
fn counted_region(work: &mut dyn FnMut()) {
    black_box(work)();
}

/// Runs the cells that `cells` measures, as the arguments of the process require. It is the `main` of a benchmark.
///
/// # Errors
/// Returns an error if valgrind cannot be run or reports no instructions.
pub fn main(cells: impl Fn(&mut Bench)) -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--cell", name] => cells(&mut Bench(Run::Cell(name.to_owned()))),
        ["--instructions"] => {
            let mut list = Bench(Run::List(Vec::new()));
            cells(&mut list);
            let Run::List(names) = list.0 else { return Ok(()) };
            let mut out = io::stdout();
            for name in names {
                writeln!(out, "{name}: {} instructions", instructions(&name)?)?;
            }
        }
        _ => {
            let mut bench = Bench(Run::Criterion(Box::new(Criterion::default().configure_from_args())));
            cells(&mut bench);
            if let Run::Criterion(criterion) = bench.0 {
                criterion.final_summary();
            }
        }
    }
    Ok(())
}

fn instructions(cell: &str) -> io::Result<u64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--toggle-collect=*counted_region*", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe()?)
        .args(["--cell", cell])
        .output()?;
    let log = String::from_utf8_lossy(&output.stderr);
    let collected =
        log.lines().find_map(|line| line.split("Collected : ").nth(1)?.trim().parse::<u64>().ok());
    let collected = collected.filter(|_| output.status.success());
    Ok(collected.ok_or_else(|| io::Error::other(format!("callgrind of {cell}: {log}")))? / REPETITIONS)
}

//! `cargo xtask bench`: one comparison of `benchmarks/`, all of them, or the report of what they measured.
//!
//! `all` runs each comparison in turn, which writes its figures to `target/bench/NAME.json`, and then writes
//! `benchmarks/RESULTS.md` and its charts from these files alone. `--resume` keeps the files of complete comparisons.

mod chart;
mod missed;
mod report;
mod results;

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use crate::{
    bench::{missed::Missed, results::Document},
    binaries,
    process::{answer, cargo, program, run},
    repo::Repo,
    services::Lease,
};

pub(crate) use crate::bench::missed::UNEXPLAINED;

/// The folder of the figures.
const FIGURES: &str = "target/bench";

/// The reasons of missed goals.
const MISSED: &str = "benchmarks/missed-goals.json";

const RESULTS: &str = "benchmarks/RESULTS.md";
const CHARTS: &str = "benchmarks/charts";

/// A comparison, with the servers that it needs.
struct Part {
    name: &'static str,
    services: &'static [&'static str],
}

const fn part(name: &'static str) -> Part {
    Part { name, services: &[] }
}

/// All comparisons in the order of their runs. Those that count come first, because the load of the machine, the builds of the
/// first ones included, does not change counts; those that time come last, when it has become quiet.
const PARTS: &[Part] = &[
    part("http"),
    part("grpc"),
    part("tasks"),
    part("resilience"),
    part("redis"),
    part("database"),
    part("discovery"),
    part("samplers"),
    Part { name: "kafka", services: &["kafka"] },
    Part { name: "nats", services: &["nats"] },
    Part { name: "amqp", services: &["rabbitmq"] },
    part("compile"),
    Part { name: "saga", services: &["postgres"] },
    part("telemetry"),
    part("operations"),
    part("sockets"),
];

pub(crate) fn command(arguments: &[String]) -> Result<()> {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match &arguments[..] {
        ["all", rest @ ..] => all(rest),
        ["report"] => report(&Repo::open()?),
        _ => binaries::bench(&arguments),
    }
}

/// Measures all parts, or those that are named, or with `--resume` those that have not been measured.
fn all(arguments: &[&str]) -> Result<()> {
    let repo = Repo::open()?;
    let resumes = arguments.contains(&"--resume");
    let named: Vec<&str> = arguments.iter().copied().filter(|argument| *argument != "--resume").collect();
    if let Some(unknown) = named.iter().find(|name| !PARTS.iter().any(|part| part.name == **name)) {
        let names: Vec<_> = PARTS.iter().map(|part| part.name).collect();
        bail!("unknown comparison `{unknown}`; expected some of: {}", names.join(", "));
    }
    if answer(program("valgrind", &repo.root).arg("--version")).is_none() {
        bail!("valgrind is not installed; counting instructions needs it (`apt install valgrind`)");
    }
    let wanted = |part: &&Part| named.is_empty() || named.contains(&part.name);
    let file = |part: &Part| figures(&repo, part.name);
    if !resumes {
        for part in PARTS.iter().filter(wanted) {
            // Fails if it was not measured.
            let _ = fs::remove_file(file(part));
        }
    }
    run(cargo(&repo.root).args([
        "build",
        "--release",
        "--manifest-path",
        "benchmarks/Cargo.toml",
        "--bins",
    ]))?;
    for part in PARTS.iter().filter(wanted).filter(|part| !is_complete(&file(part))) {
        let lease = Lease::take(&repo.root, part.services)?;
        let mut command = binaries::bench_command(&repo.root, part.name);
        command.arg("--json").arg(file(part)).envs(lease.variables());
        run(&mut command).context("`cargo xtask bench all --resume` continues with this comparison")?;
    }
    report(&repo)
}

/// Returns true if the file has the figures of all cells.
fn is_complete(file: &Path) -> bool {
    let document = fs::read_to_string(file).ok().and_then(|text| Document::parse(&text).ok());
    document.is_some_and(|document| document.selection().is_empty())
}

fn figures(repo: &Repo, name: &str) -> PathBuf {
    repo.root.join(FIGURES).join(format!("{name}.json"))
}

/// Writes the results and the charts from the figures.
fn report(repo: &Repo) -> Result<()> {
    let (mut documents, mut absent) = (Vec::new(), Vec::new());
    for part in PARTS {
        let file = figures(repo, part.name);
        match fs::read_to_string(&file) {
            Ok(text) => documents
                .push(Document::parse(&text).with_context(|| format!("cannot read {}", file.display()))?),
            Err(_) => absent.push(part.name),
        }
    }
    let missed = read(&repo.root.join(MISSED))?;
    let missed = Missed::parse(&missed).with_context(|| format!("cannot read {MISSED}"))?;
    let charts = chart::all(&documents);
    let text = report::markdown(&documents, &absent, &missed, &charts);
    fs::create_dir_all(repo.root.join(CHARTS))?;
    for chart in &charts {
        write(&repo.root.join(CHARTS).join(format!("{}.svg", chart.name)), &chart.svg)?;
    }
    write(&repo.root.join(RESULTS), &text)?;
    println!("{RESULTS}: {} comparisons, {} charts", documents.len(), charts.len());
    Ok(())
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{PARTS, all, is_complete};

    #[test]
    fn an_unknown_comparison_is_an_error_with_the_list() {
        let error = all(&["--resume", "htp"]).unwrap_err().to_string();
        assert!(error.starts_with("unknown comparison `htp`; expected some of: http, grpc, "), "{error}");
    }

    #[test]
    fn a_part_of_a_comparison_is_measured_again() {
        let figures = include_str!("bench/report/figures.json");
        let folder = std::env::temp_dir().join(format!("xtask-bench-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let write = |name: &str, text: &str| {
            fs::write(folder.join(name), text).unwrap();
            folder.join(name)
        };
        let complete = r#""arguments": ["--json", "http.json"]"#;
        let part = r#""arguments": ["--only", "server", "--json", "http.json"]"#;
        assert!(figures.contains(complete));
        assert!(is_complete(&write("complete.json", figures)));
        assert!(!is_complete(&write("part.json", &figures.replace(complete, part))));
        assert!(!is_complete(&write("interrupted.json", &figures[..figures.len() / 2])));
        assert!(!is_complete(&folder.join("absent.json")));
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn every_comparison_is_a_part() {
        let mut names: Vec<_> = PARTS.iter().map(|part| part.name).collect();
        names.sort_unstable();
        assert_eq!(crate::binaries::comparisons().unwrap(), names);
    }
}

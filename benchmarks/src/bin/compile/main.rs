//! The processor time of the first debug build of a crate that uses an HTTP instrumentation, and the crates that are built.
//!
//! Each candidate is a package of its own with the instrumentation as its only dependency. See `benchmarks/README.md`. It needs
//! Linux, whose `/proc` has the processor time of child processes.

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use benchmarks::cli::{self, Options};
use benchmarks::measure::median;
use benchmarks::process::{Failure, target};
use benchmarks::table::{Goals, Table};

/// The candidates: name, dependency and features.
const CANDIDATES: [(&str, &str, &str); 5] = [
    (PEER, "opentelemetry-instrumentation-tower", ""),
    ("opentelemetry-instrumentation-tower 0.19, `axum`", "opentelemetry-instrumentation-tower", "axum"),
    ("tower-otel 0.12", "tower-otel", ""),
    (OURS, "otel-http", ""),
    ("otel-http, `axum`", "otel-http", "axum"),
];

const PEER: &str = "opentelemetry-instrumentation-tower 0.19";
const OURS: &str = "otel-http";

fn main() -> ExitCode {
    cli::main("compile", |_| None, Some(report))
}

fn report(options: &Options) -> Result<(), Failure> {
    let rounds = if options.quick { 1 } else { 3 };
    let wanted =
        |name: &str| options.only.is_empty() || options.only.iter().any(|text| name.contains(text.as_str()));
    let mut measured: Vec<(&str, Vec<f64>, usize)> = CANDIDATES
        .iter()
        .filter(|(name, ..)| wanted(name))
        .map(|(name, ..)| (*name, Vec::new(), 0))
        .collect();
    for round in 1..=rounds {
        eprintln!("building, round {round} of {rounds}");
        for (name, seconds, crates) in &mut measured {
            let (_, dependency, features) = CANDIDATES
                .iter()
                .find(|(candidate, ..)| candidate == name)
                .ok_or("the candidate is in the list")?;
            let (taken, count) = build(dependency, features)?;
            seconds.push(taken);
            *crates = count;
        }
    }
    let of = |wanted: &str| {
        let found = measured.iter().find(|(name, ..)| *name == wanted);
        found.map_or(f64::NAN, |(_, seconds, _)| median(&mut seconds.clone()))
    };
    println!("# The first debug build of a crate with an instrumentation\n");
    let mut table = Table::new(&["", "processor time, s", "crates", "goals"]);
    for (name, seconds, crates) in &measured {
        let mut goals = Goals::default();
        if *name == OURS {
            goals.at_most_exactly(of(OURS) / of(PEER), 1.1, &format!(" × {PEER}"));
        }
        table.row(vec![
            (*name).to_owned(),
            format!("{:.1}", median(&mut seconds.clone())),
            crates.to_string(),
            goals.cell(),
        ]);
    }
    table.print();
    Ok(())
}

/// Builds a package with one dependency from nothing. Returns the processor time in seconds and the number of crates.
fn build(dependency: &str, features: &str) -> Result<(f64, usize), Failure> {
    let name = if features.is_empty() { dependency.to_owned() } else { format!("{dependency}-{features}") };
    let folder = target()?.join("compile").join(name);
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(folder.join("src"))?;
    fs::write(folder.join("src/main.rs"), "fn main() {}\n")?;
    let source = match dependency {
        "otel-http" => {
            let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/otel-http");
            format!("path = {:?}", ours.canonicalize()?)
        }
        "tower-otel" => "version = \"=0.12.0\"".to_owned(),
        _ => "version = \"=0.19.0\"".to_owned(),
    };
    let features = if features.is_empty() { String::new() } else { format!("{features:?}") };
    let manifest = format!(
        "[workspace]\n\n[package]\nname = \"user\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[dependencies]\n\
         {dependency} = {{ {source}, features = [{features}] }}\n"
    );
    fs::write(folder.join("Cargo.toml"), manifest)?;
    cargo(&folder, &["fetch", "--quiet"])?;
    let before = children()?;
    cargo(&folder, &["build", "--quiet"])?;
    let taken = children()? - before;
    let tree = cargo(&folder, &["tree", "--edges", "normal,build", "--prefix", "none", "--no-dedupe"])?;
    let mut crates: Vec<&str> = tree.lines().filter_map(|line| line.split(" (").next()).collect();
    crates.sort_unstable();
    crates.dedup();
    // Without the package itself.
    Ok((taken, crates.len() - 1))
}

fn cargo(folder: &Path, arguments: &[&str]) -> Result<String, Failure> {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .env("CARGO_TARGET_DIR", folder.join("target"))
        .env("CARGO_INCREMENTAL", "0")
        .env_remove("RUSTFLAGS")
        .stdin(Stdio::null())
        .output()?;
    if !output.status.success() {
        return Err(format!("cargo {arguments:?} failed: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// Returns the processor time of the child processes that have ended, in seconds.
fn children() -> Result<f64, Failure> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    // The second field is the program's name in parentheses.
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let ticks = [13, 14].iter().map(|&field| fields[field].parse::<f64>()).sum::<Result<f64, _>>()?;
    // USER_HZ is 100 on all Linux systems.
    Ok(ticks / 100.0)
}

//! The processor time of the first debug build of a crate that uses an HTTP instrumentation, the crates that are built, and
//! the size of a server's binary.
//!
//! Each candidate is a package of its own with the instrumentation as its only dependency. See `benchmarks/README.md`. It needs
//! Linux, whose `/proc` has the processor time of child processes.

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use benchmarks::cli::{self, Options};
use benchmarks::measure::{median, range};
use benchmarks::process::{Failure, target};
use benchmarks::results::Document;
use benchmarks::table::{Cell, Goals, Table};

/// The candidates: name, dependency and features.
const CANDIDATES: [(&str, &str, &str); 7] = [
    (PEER, "opentelemetry-instrumentation-tower", ""),
    ("opentelemetry-instrumentation-tower 0.19, `axum`", "opentelemetry-instrumentation-tower", "axum"),
    ("tower-otel 0.12", "tower-otel", ""),
    ("oxtel-tower 0.3, its SDK included", "oxtel-tower", ""),
    (
        "opentelemetry-instrumentation-actix-web 0.25, actix-web included",
        "opentelemetry-instrumentation-actix-web",
        "",
    ),
    (OURS, "otel-http", ""),
    ("otel-http, `axum`", "otel-http", "axum"),
];

/// Servers of one route: name, dependency and the layer.
const SERVERS: [(&str, &str, &str); 4] = [
    ("axum alone", "", "tower_layer::Identity::new()"),
    (
        "opentelemetry-instrumentation-tower 0.19",
        "opentelemetry-instrumentation-tower",
        "opentelemetry_instrumentation_tower::http::server::Layer::new()",
    ),
    ("oxtel-tower 0.3, its SDK included", "oxtel-tower", "oxtel_tower::HttpServerLayer::new()"),
    (OURS, "otel-http", "otel_http::ServerLayer::new()"),
];

const PEER: &str = "opentelemetry-instrumentation-tower 0.19";
const OURS: &str = "otel-http";

fn main() -> ExitCode {
    cli::main("compile", |_| None, Some(report))
}

fn report(options: &Options, document: &mut Document) -> Result<(), Failure> {
    document.title("The build of a crate with an instrumentation");
    let rounds = if options.quick { 1 } else { 3 };
    let mut measured: Vec<(&str, Vec<f64>, usize)> = CANDIDATES
        .iter()
        .filter(|(name, ..)| options.wants(name))
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
    document.section("The first debug build, from an empty target folder");
    let mut table = Table::new(&["processor time, s (range)", "crates"]);
    for (name, seconds, crates) in &measured {
        let mut goals = Goals::default();
        if *name == OURS {
            goals.at_most_exactly(of(OURS) / of(PEER), 1.1, &format!(" × {PEER}"));
        }
        let time = Cell::decimal(median(&mut seconds.clone()), 1).with_spread(range(seconds));
        table.row(*name, vec![time, Cell::whole(*crates as f64)], goals);
    }
    document.table(table);
    if options.wants("size") {
        sizes(document)?;
    }
    Ok(())
}

/// Builds a server with each layer for release, without an exporter or an SDK of OpenTelemetry, and compares the binaries.
fn sizes(document: &mut Document) -> Result<(), Failure> {
    document.section("The binary of an axum server with one route: release, stripped");
    let mut table = Table::new(&["KiB", "over axum alone, KiB"]);
    let mut alone = f64::NAN;
    for (name, dependency, layer) in SERVERS {
        eprintln!("building the server: {name}");
        let folder = target()?.join("compile").join(format!("server-{dependency}"));
        fs::create_dir_all(folder.join("src"))?;
        let main = format!(
            "#[tokio::main(flavor = \"current_thread\")]\nasync fn main() {{\n    let route = axum::routing::get(|| async \
             {{ \"Ada\" }});\n    let app = axum::Router::new().route(\"/users/{{id}}\", route).layer({layer});\n    let \
             listener = tokio::net::TcpListener::bind(\"127.0.0.1:0\").await.unwrap();\n    axum::serve(listener, \
             app).await.unwrap();\n}}\n"
        );
        fs::write(folder.join("src/main.rs"), main)?;
        let layer = match dependency {
            "" => String::new(),
            _ => format!("{dependency} = {{ {}, features = [\"axum\"] }}\n", source(dependency)?),
        };
        let manifest = format!(
            "[workspace]\n\n[package]\nname = \"user\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[dependencies]\n\
             axum = {{ version = \"0.8\", default-features = false, features = [\"http1\", \"matched-path\", \"tokio\"] }}\n\
             tokio = {{ version = \"1\", features = [\"macros\", \"net\", \"rt\"] }}\ntower-layer = \"0.3\"\n{layer}\n\
             [profile.release]\nstrip = true\n"
        );
        fs::write(folder.join("Cargo.toml"), manifest)?;
        cargo(&folder, &["build", "--quiet", "--release"])?;
        let size = fs::metadata(folder.join("target/release/user"))?.len() as f64 / 1024.0;
        if dependency.is_empty() {
            alone = size;
        }
        table.row(name, vec![Cell::whole(size), Cell::whole(size - alone)], Goals::default());
    }
    document.table(table);
    Ok(())
}

/// Returns the version or the path of a dependency in a manifest.
fn source(dependency: &str) -> Result<String, Failure> {
    Ok(match dependency {
        "otel-http" => {
            let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/otel-http");
            format!("path = {:?}", ours.canonicalize()?)
        }
        "tower-otel" => "version = \"=0.12.0\"".to_owned(),
        "oxtel-tower" => "version = \"=0.3.1\"".to_owned(),
        "opentelemetry-instrumentation-actix-web" => "version = \"=0.25.0\"".to_owned(),
        _ => "version = \"=0.19.0\"".to_owned(),
    })
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
    let source = source(dependency)?;
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

//! The transfers, on a real Postgres: committed, aborted, killed and committed.
//!
//! The server is the one that `cargo xtask services up postgres` starts. Without it these tests fail and say so.

use crate::output::{is_golden, reduced, text};
use crate::program::{Page, program};

const START: &str = "start the server: `cargo xtask services up postgres`";

/// The URL, from the environment or from what `cargo xtask services up` wrote.
fn url() -> String {
    let name = "POSTGRES_URL";
    if let Ok(value) = std::env::var(name) {
        return value;
    }
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/services/env");
    let lines = std::fs::read_to_string(file)
        .unwrap_or_else(|_| panic!("{name} is not set and {file} is not there: {START}"));
    let mut settings = lines.lines().filter_map(|line| line.strip_prefix("export ")?.split_once('='));
    let (_, value) = settings
        .find(|(key, _)| *key == name)
        .unwrap_or_else(|| panic!("{name} is neither set nor in {file}: {START}"));
    value.trim_matches('\'').to_owned()
}

#[test]
fn each_transfer_is_one_trace_also_over_a_crash() {
    let page = Page::new("transfers");
    let output = program(&page.arguments()).args(["--postgres", &url()]).output().unwrap();
    // A warning would be one of a database that was not dropped, or an alert.
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    let output = text(&output);
    let (orders, transfers) = output.split_at(output.find("A transfer between").unwrap());
    let (transfers, _) = transfers.split_once("All of these").unwrap();
    is_golden(&reduced(orders), "orders.txt");
    is_golden(&reduced(transfers), "transfers.txt");
    page.has_all_of(&output, 6);
}

#[test]
fn the_transfers_end_the_same_without_telemetry() {
    let page = Page::new("silent");
    let mut command = program(&page.arguments());
    // By the variable, this time.
    let output = text(&command.env("POSTGRES_URL", url()).env("OTEL_SDK_DISABLED", "true").output().unwrap());
    for said in [
        "transfer/1 is committed: ada has 80.00 in checking and 20.00 in savings",
        "transfer/2 is aborted: ada has 80.00 in checking and 20.00 in savings",
        "in doubt: 1 in checking, 1 in savings",
        "transfer/3 is committed: ada has 60.00 in checking and 40.00 in savings",
    ] {
        assert!(output.contains(&format!("  {said}\n")), "{output}");
    }
    page.has_all_of(&output, 0);
}

#[test]
fn a_server_that_is_not_there_is_an_error() {
    let page = Page::new("nowhere");
    let mut command = program(&page.arguments());
    let output = command.args(["--postgres", "postgres://127.0.0.1:1"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).starts_with("error: "), "{output:?}");
}

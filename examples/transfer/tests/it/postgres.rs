//! The transfers on a real Postgres: committed, aborted, and committed after a crash.
//!
//! The tests need the server that `cargo xtask services up postgres` starts, and fail without it.

use crate::output::{assert_golden, reduce, text};
use crate::program::{Page, program};

const START: &str = "start the server: `cargo xtask services up postgres`";

/// Returns the URL from the environment or from the file that `cargo xtask services up` writes.
fn url() -> String {
    let name = "POSTGRES_URL";
    if let Ok(value) = std::env::var(name) {
        return value;
    }
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/services/env");
    let lines = std::fs::read_to_string(file)
        .unwrap_or_else(|_| panic!("{name} is not set and {file} does not exist: {START}"));
    let mut settings = lines.lines().filter_map(|line| line.strip_prefix("export ")?.split_once('='));
    let (_, value) = settings
        .find(|(key, _)| *key == name)
        .unwrap_or_else(|| panic!("{name} is set neither in the environment nor in {file}: {START}"));
    value.trim_matches('\'').to_owned()
}

#[test]
fn each_transfer_is_one_trace_even_after_a_crash() {
    let page = Page::new("transfers");
    let output = program(&page.arguments()).args(["--postgres", &url()]).output().unwrap();
    // The standard error would have a warning about a database that was not dropped, or an alert.
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    let output = text(&output);
    let (orders, transfers) = output.split_at(output.find("A transfer between").unwrap());
    let (transfers, _) = transfers.split_once("All traces on").unwrap();
    assert_golden(&reduce(orders), "orders.txt");
    assert_golden(&reduce(transfers), "transfers.txt");
    page.has_all_of(&output, 6);
}

#[test]
fn the_transfers_end_the_same_without_telemetry() {
    let page = Page::new("silent");
    let mut command = program(&page.arguments());
    // The server is given by the variable instead of an argument.
    let output = text(&command.env("POSTGRES_URL", url()).env("OTEL_SDK_DISABLED", "true").output().unwrap());
    for line in [
        "transfer/1 is committed: ada has 80.00 in checking and 20.00 in savings",
        "transfer/2 is aborted: ada has 80.00 in checking and 20.00 in savings",
        "in doubt: 1 in checking, 1 in savings",
        "transfer/3 is committed: ada has 60.00 in checking and 40.00 in savings",
    ] {
        assert!(output.contains(&format!("  {line}\n")), "{output}");
    }
    page.has_all_of(&output, 0);
}

#[test]
fn an_unreachable_server_is_an_error() {
    let page = Page::new("nowhere");
    let mut command = program(&page.arguments());
    let output = command.args(["--postgres", "postgres://127.0.0.1:1"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).starts_with("error: "), "{output:?}");
}

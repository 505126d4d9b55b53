//! The command line, and the orders: completed, compensated, and completed after a crash.

use std::path::PathBuf;
use std::process::Command;

use crate::output::{assert_golden, reduce, text};

/// The program with these arguments, without the developer's `OTEL_*` variables and `POSTGRES_URL`.
pub(crate) fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_transfer"));
    command.args(arguments).env_remove("CLICOLOR_FORCE").env_remove("POSTGRES_URL");
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("OTEL_")) {
        command.env_remove(name);
    }
    command
}

/// The path of an HTML page, removed on drop.
pub(crate) struct Page(PathBuf);

impl Page {
    pub(crate) fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("transfer-{}-{name}.html", std::process::id())))
    }

    pub(crate) fn arguments(&self) -> [&str; 2] {
        ["--html", self.0.to_str().unwrap()]
    }

    /// Checks that the page has all traces that were drawn in the terminal.
    #[track_caller]
    pub(crate) fn has_all_of(&self, output: &str, traces: usize) {
        let last = output.lines().last().unwrap();
        assert_eq!(last, format!("All traces on one page: {}", self.0.display()));
        let html = std::fs::read_to_string(&self.0).unwrap();
        let drawn: Vec<_> =
            output.lines().filter_map(|line| line.strip_prefix("trace ")?.split(' ').next()).collect();
        assert_eq!(drawn.len(), traces);
        for trace in drawn {
            assert!(html.contains(trace), "{trace} is not on the page");
        }
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn an_unknown_argument_prints_the_usage() {
    let output = program(&["--hmtl"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.starts_with("unknown argument `--hmtl`\n\ntransfer [--"), "{stderr}");
    assert!(output.stdout.is_empty());
}

#[test]
fn help_exits_with_success() {
    let output = program(&["--help"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(String::from_utf8(output.stdout).unwrap().starts_with("transfer [--"));
}

#[test]
fn each_order_is_one_trace_even_after_a_crash() {
    let page = Page::new("orders");
    let output = text(&program(&page.arguments()).arg("--no-postgres").output().unwrap());
    let (orders, rest) = output.split_once("The transfers are skipped").unwrap();
    assert_eq!(rest.lines().next().unwrap(), ", because no Postgres server is available: --no-postgres");
    assert_golden(&reduce(orders), "orders.txt");
    page.has_all_of(&output, 3);
}

#[test]
fn the_orders_end_the_same_without_telemetry() {
    for (variable, value) in [("OTEL_TRACES_SAMPLER", "always_off"), ("OTEL_SDK_DISABLED", "true")] {
        let page = Page::new(variable);
        let mut command = program(&page.arguments());
        let output = text(&command.arg("--no-postgres").env(variable, value).output().unwrap());
        for line in ["order/1 is completed", "order/2 is compensated", "order/3 is completed"] {
            assert!(output.contains(&format!("  {line}\n")), "{output}");
        }
        page.has_all_of(&output, 0);
    }
}

//! A short HTTP soak through its command line; `cargo xtask soak http` runs the long one.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail as the test does")]

use std::process::{Command, Output};

fn http(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_http")).args(arguments).output().unwrap()
}

#[test]
fn all_checks_pass() {
    let output = http(&["--requests", "2000", "--seed", "3"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{text}{stderr}");
    assert!(text.contains("2000 requests, 64 at a time, seed 3"), "{text}");
    assert!(text.contains("soak http: all checks passed"), "{text}");
    // Each outcome class occurs over both protocol versions.
    for version in ["1.1 ", "2   "] {
        for class in ["-    cancelled", "-    panic", "200  -", "200  cancelled", "200  panic", "503  503"] {
            let start = format!("  {version} {class} ");
            assert!(text.lines().any(|line| line.starts_with(&start)), "no `{start}` in {text}");
        }
    }
}

#[test]
fn an_unknown_argument_is_an_error() {
    let output = http(&["--request", "2"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().starts_with("unknown argument `--request`"));
}

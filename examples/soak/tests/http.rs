//! A short soak from its command line; the long ones are `cargo xtask soak http`.

#![expect(clippy::unwrap_used, reason = "a helper of tests is a test")]

use std::process::{Command, Output};

fn http(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_http")).args(arguments).output().unwrap()
}

#[test]
fn everything_is_accounted_for() {
    let output = http(&["--requests", "2000", "--seed", "3"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{text}{complaint}");
    assert!(text.contains("2000 requests, 64 at a time, seed 3"), "{text}");
    assert!(text.contains("soak http: everything is accounted for"), "{text}");
    // Each way to end is there, over both versions.
    for version in ["1.1 ", "2   "] {
        for class in ["-    cancelled", "-    panic", "200  -", "200  cancelled", "200  panic", "503  503"] {
            let start = format!("  {version} {class} ");
            assert!(text.lines().any(|line| line.starts_with(&start)), "no `{start}` in {text}");
        }
    }
}

#[test]
fn a_wrong_argument_is_told() {
    let output = http(&["--request", "2"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().starts_with("there is no argument `--request`"));
}

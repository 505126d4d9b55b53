//! A short saga soak through its command line; `cargo xtask soak saga` runs the long one.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail as the test does")]

use std::process::{Command, Output};

fn saga(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_saga")).args(arguments).output().unwrap()
}

#[test]
fn three_kills_on_a_file_lose_nothing() {
    let output = saga(&["--journal", "redb", "--kills", "3", "--seed", "5"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{text}{stderr}");
    assert!(text.contains("3 kills on redb, seed 5"), "{text}");
    assert!(text.contains("soak saga: all checks passed"), "{text}");
}

#[test]
fn invalid_arguments_are_errors() {
    for (arguments, expected) in [
        (&["--journal"][..], "--journal needs redb or postgres"),
        (&["--journal", "memory"], "--journal needs redb or postgres"),
        (&["--requests", "2"], "unknown argument `--requests`; expected --kills N"),
    ] {
        let output = saga(arguments);
        assert_eq!(output.status.code(), Some(2));
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(stderr.starts_with(expected), "{stderr}");
    }
}

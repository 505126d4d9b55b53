//! The program: files, pages, the demo, and its errors.

use std::{
    fs,
    io::Write,
    path::PathBuf,
    process::{Command, Output, Stdio},
};

use crate::html::data;

const DOCUMENT: &str = r#"{"resourceSpans": [{"scopeSpans": [{"spans": [
  {"traceId": "0af7651916cd43dd8448eb211c80319c", "spanId": "00000000000000ff", "name": "GET /",
   "startTimeUnixNano": "1000000", "endTimeUnixNano": "3000000"}]}]}]}"#;

fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_otel-waterfall"));
    command
        .args(arguments)
        .env_remove("CLICOLOR_FORCE")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Runs the program with this standard input.
fn output(arguments: &[&str], input: &str) -> Output {
    let mut child = program(arguments).spawn().unwrap();
    // A program that reads nothing may have ended already.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

#[track_caller]
fn printed(output: &Output) -> &str {
    assert!(output.status.success(), "{output:?}");
    std::str::from_utf8(&output.stdout).unwrap()
}

/// The message of a failure.
#[track_caller]
fn message(output: &Output) -> &str {
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0), "{output:?}");
    std::str::from_utf8(&output.stderr).unwrap()
}

fn scratch(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("program-{}-{name}", std::process::id()))
}

#[test]
fn a_file_is_drawn() {
    let file = scratch("drawn.json");
    fs::write(&file, DOCUMENT).unwrap();
    let drawn = output(&[file.to_str().unwrap()], "");
    fs::remove_file(&file).unwrap();
    let text = printed(&drawn);
    assert!(text.starts_with("trace 0af7651916cd43dd8448eb211c80319c · 2.00 ms · 1 span"), "{text}");
    assert_eq!(printed(&output(&["-"], DOCUMENT)), text, "`-` is the standard input");
    let logs = output(&["-"], r#"{"resourceLogs": []}"#);
    assert_eq!(printed(&logs), "no spans; `--html PAGE` also shows log records and metrics\n");
}

#[test]
fn a_page_is_written_or_printed() {
    let page = scratch("page.html");
    let line = output(&["--html", page.to_str().unwrap(), "-"], DOCUMENT);
    assert_eq!(printed(&line), format!("1 trace written to {}\n", page.display()));
    let written = fs::read_to_string(&page).unwrap();
    fs::remove_file(&page).unwrap();
    assert_eq!(data(&written)["traces"][0]["name"], "GET /");
    assert_eq!(printed(&output(&["--html", "-", "-"], DOCUMENT)), written);
}

#[test]
fn the_demo_has_everything_that_the_page_shows() {
    let page = output(&["--demo", "--html", "-"], "");
    let data = data(printed(&page));
    let traces = data["traces"].as_array().unwrap();
    let large = traces.iter().find(|trace| trace["n"] == 2_000).expect("a trace of 2,000 spans");
    assert_eq!((&large["name"], &large["errors"]), (&"import products".into(), &4.into()));
    let services: std::collections::HashSet<_> =
        traces.iter().flat_map(|trace| trace["services"].as_array().unwrap()).collect();
    assert_eq!(services.len(), 9);
    assert!(data["logs"].as_array().unwrap().len() > 30 && data["metrics"].as_array().unwrap().len() == 9);
}

#[test]
fn a_failure_names_the_file_and_the_cause() {
    let missing = output(&["no/such/file.json"], "");
    assert!(message(&missing).starts_with("cannot read no/such/file.json: "), "{missing:?}");
    let wrong = output(&["-"], "{");
    assert!(message(&wrong).starts_with("cannot read -: not JSON: EOF"), "{wrong:?}");
    let unwritable = output(&["--html", "no/such/folder.html", "-"], DOCUMENT);
    assert!(message(&unwritable).starts_with("cannot write no/such/folder.html: "), "{unwritable:?}");
    let unknown = output(&["--colour"], "");
    assert!(
        message(&unknown).starts_with("unknown option --colour\n\nDraws OpenTelemetry traces"),
        "{unknown:?}"
    );
}

#[test]
fn help_is_printed() {
    assert!(printed(&output(&["--help"], "")).contains("otel-waterfall doctor"));
}

#[cfg(not(feature = "serve"))]
#[test]
fn a_build_without_network_names_the_feature() {
    for arguments in [&["--serve"][..], &["doctor"]] {
        let expected = "this build has no network: build it with the feature `serve`, which is a default\n";
        assert_eq!(message(&output(arguments, "")), expected);
    }
}

#[cfg(feature = "serve")]
#[test]
fn the_status_is_that_of_the_configuration() {
    let doctor = program(&["doctor"]).env("OTEL_SDK_DISABLED", "true").output().unwrap();
    assert_eq!(doctor.status.code(), Some(1));
    let text = String::from_utf8(doctor.stdout).unwrap();
    assert!(text.starts_with("✗ environment  OTEL_SDK_DISABLED=true: nothing is recorded\n"), "{text}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let refused = output(&["--serve", "--http-port", &port, "--grpc-port", "0"], "");
    let expected = format!("cannot listen on 127.0.0.1:{port}: ");
    assert!(message(&refused).starts_with(&expected), "{refused:?}");
    assert!(
        message(&refused).ends_with("; `--http-port` and `--grpc-port` choose other ports\n"),
        "{refused:?}"
    );
}

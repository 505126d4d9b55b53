//! Real processes, real signals, stalled pipes: the shutdown of a program whose exporter is stuck.
//!
//! Each program is a function of `programs.rs`. A test starts it by starting this test binary again.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod programs;

use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// The variable with the name of the program to run.
const PROGRAM: &str = "OTEL_TELEMETRY_TEST_PROGRAM";

/// Tolerance beyond a deadline on a busy machine.
const SLACK: Duration = Duration::from_secs(3);

/// The longest wait for a line that a program prints.
const LINE: Duration = Duration::from_secs(30);

struct Program {
    child: Child,
    /// The lines of the standard error.
    lines: Receiver<String>,
}

impl Program {
    /// Starts a program. Its standard output is never read, so that it blocks once the pipe is full.
    fn start(name: &str, variables: &[(&str, &str)]) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "program", "--nocapture"])
            .env(PROGRAM, name)
            .envs(variables.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            // An error means that the test has ended before its program.
            let _ = stderr.lines().map_while(Result::ok).try_for_each(|line| sender.send(line));
        });
        Self { child, lines }
    }

    /// Waits for a line that begins with a text, and returns the rest of the line.
    fn wait_for(&self, begin: &str) -> String {
        let mut read = Vec::new();
        loop {
            match self.lines.recv_timeout(LINE) {
                Ok(line) => {
                    if let Some(rest) = line.strip_prefix(begin) {
                        return rest.trim().to_owned();
                    }
                    read.push(line);
                }
                Err(error) => panic!("no {begin:?} in {read:#?}: {error}"),
            }
        }
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    }

    fn ends_within(&mut self, deadline: Duration) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(
                start.elapsed() < deadline + SLACK,
                "it still runs {:?} after the signal",
                start.elapsed()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Not a test: the entry of the programs.
#[test]
fn program() {
    if let Ok(name) = std::env::var(PROGRAM) {
        programs::run(&name);
        // The test harness would print its result to the stalled standard output.
        std::process::exit(0);
    }
}

/// The shipped console exporter blocks on a pipe that is never read.
#[test]
fn a_stalled_console_delays_no_signal() {
    for signal in ["-TERM", "-INT"] {
        let mut program = Program::start("console", &[]);
        program.wait_for("blocked");
        let start = Instant::now();
        program.signal(signal);
        program.wait_for("not ready");
        assert!(start.elapsed() < SLACK, "{:?}", start.elapsed());
        let report = program.wait_for("telemetry was shut down in ");
        assert!(report.contains("traces did not finish"), "{report}");
        assert!(report.contains("2000 of 2000 spans were lost"), "{report}");
        assert!(!report.contains("logs did not finish"), "{report}");
        assert!(program.ends_within(programs::SHUTDOWN_TIMEOUT).success());
    }
}

#[test]
fn a_second_signal_ends_the_process_at_once() {
    for (first, second, number) in [("-TERM", "-TERM", 15), ("-INT", "-INT", 2), ("-TERM", "-INT", 2)] {
        let mut program = Program::start("stuck", &[]);
        program.wait_for("ready");
        program.signal(first);
        program.wait_for("stuck");
        program.signal(second);
        // The program never ends by itself.
        let status = program.ends_within(Duration::ZERO);
        assert_eq!(status.signal(), Some(number), "{status}");
    }
}

#[test]
fn a_second_signal_ends_the_drain_delay() {
    let mut program = Program::start("draining", &[]);
    program.wait_for("ready");
    program.signal("-TERM");
    program.wait_for("draining");
    program.signal("-TERM");
    assert_eq!(program.ends_within(Duration::ZERO).signal(), Some(15));
}

/// A subscriber that blocks, such as one that prints to a stalled pipe, is called by the thread that exports.
#[test]
fn a_subscriber_that_blocks_delays_no_signal() {
    let mut program = Program::start("blocked-log", &[]);
    program.wait_for("blocked");
    program.signal("-TERM");
    let report = program.wait_for("telemetry was shut down in ");
    assert!(report.contains("3 of 3 spans were lost"), "{report}");
    assert!(program.ends_within(programs::SHUTDOWN_TIMEOUT).success());
}

#[test]
fn the_log_has_the_configuration_and_one_failure_a_minute() {
    let mut program = Program::start("failing", &[]);
    let configuration = program.wait_for("configuration: ");
    assert!(
        configuration.contains("traces to http://127.0.0.1:1/v1/traces by http/protobuf"),
        "{configuration}"
    );
    assert!(configuration.contains("headers authorization"), "{configuration}");
    assert!(!configuration.contains("secret"), "{configuration}");
    let failures = program.wait_for("failures: ");
    assert_eq!(
        failures,
        "export of traces to http://127.0.0.1:1/v1/traces failed: client error (Connect): tcp connect error: \
         Connection refused (os error 111); the next attempt is in DELAY"
    );
    assert!(program.ends_within(programs::SHUTDOWN_TIMEOUT).success());
}

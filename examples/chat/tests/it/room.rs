//! `--serve` and `--connect`: a server and its members, each in a separate process.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use crate::picture::Picture;
use crate::program;

/// Timeout, long enough for a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The running program; dropping it kills the process.
struct Running {
    process: Child,
    lines: Receiver<String>,
}

impl Running {
    fn start(arguments: &[&str]) -> Self {
        let mut command = program(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        Self { process, lines }
    }

    fn line(&self) -> String {
        self.lines.recv_timeout(PATIENCE).unwrap()
    }

    /// Reads pictures until one matches; returns all of them.
    fn pictures_until(&self, wanted: impl Fn(&Picture) -> bool) -> Vec<Picture> {
        let mut text = String::new();
        loop {
            let line = self.lines.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|_| panic!("the expected trace was not drawn: {text}"));
            text.push_str(&line);
            text.push('\n');
            if line.is_empty() {
                let pictures = Picture::all(&text);
                if pictures.last().is_some_and(&wanted) {
                    return pictures;
                }
            }
        }
    }

    /// Waits until the program exits. Returns `true` for success, the rest of its output, and its standard error.
    fn wait(mut self) -> (bool, String, String) {
        let mut printed = String::new();
        while let Ok(line) = self.lines.recv_timeout(PATIENCE) {
            printed.push_str(&line);
            printed.push('\n');
        }
        let mut stderr = String::new();
        self.process.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        (self.process.wait().unwrap().success(), printed, stderr)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

struct Server {
    running: Running,
    address: String,
}

impl Server {
    fn start() -> Self {
        let running = Running::start(&["--serve", "127.0.0.1:0"]);
        let first = running.line();
        let address = first.strip_prefix("serving on ").and_then(|rest| rest.split_once("; "));
        let address = address.unwrap_or_else(|| panic!("{first}")).0.to_owned();
        assert_eq!(running.line(), "");
        Self { running, address }
    }

    fn member(&self, name: &str) -> Member {
        let mut running = Running::start(&["--connect", &self.address, "--name", name]);
        let keyboard = running.process.stdin.take().unwrap();
        Member { running, keyboard }
    }
}

struct Member {
    running: Running,
    keyboard: ChildStdin,
}

impl Member {
    fn says(&mut self, text: &str) {
        writeln!(self.keyboard, "{text}").unwrap();
    }

    fn hears(&self) -> String {
        self.running.line()
    }

    /// Types Ctrl-D.
    fn leaves(self) -> (bool, String, String) {
        drop(self.keyboard);
        self.running.wait()
    }
}

/// Matches a call that ended with this status.
fn call(status: &str) -> impl Fn(&Picture) -> bool {
    let status = format!("rpc.response.status_code={status}");
    move |picture| picture.is_call() && picture.has(&status)
}

#[test]
fn members_in_separate_processes_share_traces_with_the_server() {
    let server = Server::start();
    let mut ada = server.member("ada");
    assert_eq!(ada.hears(), "* joined; the room is empty");
    let mut grace = server.member("grace");
    assert_eq!(grace.hears(), "* joined; members: ada");
    assert_eq!(ada.hears(), "* grace joined");
    ada.says("hello");
    assert_eq!(grace.hears(), "ada: hello");
    grace.says("hello, too");
    assert_eq!(ada.hears(), "grace: hello, too");

    grace.running.process.kill().unwrap();
    assert_eq!(ada.hears(), "* grace lost the connection");
    let mut drawn = server.running.pictures_until(call("CANCELLED"));

    let (success, printed, stderr) = ada.leaves();
    assert!(success, "{stderr}");
    drawn.extend(server.running.pictures_until(call("OK")));

    // Ada's spans: her call, two sent and four received messages; the welcome shares the trace of her join.
    let own = Picture::all(&printed);
    assert_eq!(own.len(), 6, "{printed}");
    assert_eq!(own.iter().filter(|picture| picture.is_call()).count(), 1, "{printed}");
    for picture in &own {
        assert!(drawn.iter().any(|other| other.id == picture.id), "{picture:#?} is not among {drawn:#?}");
    }
    assert!(own.iter().any(call("OK")), "{printed}");
    // Only the server drew Grace's call: it was cancelled, which is not an error on a server.
    let cancelled = drawn.iter().find(|picture| call("CANCELLED")(picture)).unwrap();
    assert_eq!(cancelled.rows[0], "chat.Room/Talk server");
    assert!(own.iter().all(|picture| picture.id != cancelled.id), "{printed}");
}

#[test]
fn a_rejected_member_receives_the_reason() {
    let server = Server::start();
    let ada = server.member("ada");
    assert_eq!(ada.hears(), "* joined; the room is empty");
    for (name, why) in [("ada", "the name is in use"), ("", "a name has 1 to 24 printable characters")] {
        let Member { running, keyboard } = server.member(name);
        let (success, printed, stderr) = running.wait();
        drop(keyboard);
        assert!(!success && stderr.contains(why), "{stderr}");
        assert!(Picture::all(&printed).iter().any(Picture::is_call), "{printed}");
    }
    server.running.pictures_until(call("ALREADY_EXISTS"));
    server.running.pictures_until(call("INVALID_ARGUMENT"));
}

#[test]
fn an_oversized_message_ends_the_call() {
    let server = Server::start();
    let ada = server.member("ada");
    assert_eq!(ada.hears(), "* joined; the room is empty");
    let mut grace = server.member("grace");
    assert_eq!(grace.hears(), "* joined; members: ada");
    assert_eq!(ada.hears(), "* grace joined");
    grace.says(&"a".repeat(17 * 1024));
    assert_eq!(ada.hears(), "* grace lost the connection");
    let (success, _, stderr) = grace.running.wait();
    assert!(!success && stderr.contains("too large"), "{stderr}");
    server.running.pictures_until(call("OUT_OF_RANGE"));
}

#[cfg(unix)]
#[test]
fn a_stopped_server_ends_all_calls() {
    let server = Server::start();
    let ada = server.member("ada");
    assert_eq!(ada.hears(), "* joined; the room is empty");
    let id = server.running.process.id().to_string();
    assert!(std::process::Command::new("kill").args(["-s", "TERM", &id]).status().unwrap().success());
    let (success, _, stderr) = ada.running.wait();
    assert!(!success && stderr.contains("the room is closed"), "{stderr}");
    let (success, printed, stderr) = server.running.wait();
    assert!(success, "{stderr}");
    assert!(Picture::all(&printed).iter().any(call("UNAVAILABLE")), "{printed}");
}

#[test]
fn a_refused_connection_is_reported() {
    let output = program(&["--connect", "127.0.0.1:1", "--name", "ada"]).output().unwrap();
    assert!(!output.status.success());
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.starts_with("error: ") && stderr.to_lowercase().contains("refused"), "{stderr}");
}

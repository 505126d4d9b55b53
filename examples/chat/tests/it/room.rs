//! `--serve` and `--connect`: a server and its members, each in a process of its own.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use crate::picture::Picture;
use crate::program;

/// Long enough for a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(60);

/// A program that is running; it ends with the test.
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

    /// Reads until a picture is drawn of which this is true; returns all that were drawn until then.
    fn pictures_until(&self, wanted: impl Fn(&Picture) -> bool) -> Vec<Picture> {
        let mut text = String::new();
        loop {
            let line = self.lines.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|_| panic!("what is wanted is not drawn: {text}"));
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

    /// Waits for the end: whether it was a good one, what else was printed, and the complaints.
    fn ended(mut self) -> (bool, String, String) {
        let mut printed = String::new();
        while let Ok(line) = self.lines.recv_timeout(PATIENCE) {
            printed.push_str(&line);
            printed.push('\n');
        }
        let mut complaints = String::new();
        self.process.stderr.take().unwrap().read_to_string(&mut complaints).unwrap();
        (self.process.wait().unwrap().success(), printed, complaints)
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
        let address = first.strip_prefix("The room is at ").and_then(|rest| rest.split_once(". "));
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

    /// Types ctrl-D.
    fn leaves(self) -> (bool, String, String) {
        drop(self.keyboard);
        self.running.ended()
    }
}

/// A call that ended with this status.
fn call(status: &str) -> impl Fn(&Picture) -> bool {
    let status = format!("rpc.response.status_code={status}");
    move |picture| picture.is_call() && picture.has(&status)
}

#[test]
fn members_in_processes_of_their_own_share_traces_with_the_server() {
    let server = Server::start();
    let mut ada = server.member("ada");
    assert_eq!(ada.hears(), "* you are in, and nobody else");
    let mut grace = server.member("grace");
    assert_eq!(grace.hears(), "* you are in, and so are: ada");
    assert_eq!(ada.hears(), "* grace joined");
    ada.says("hello");
    assert_eq!(grace.hears(), "ada: hello");
    grace.says("hello, too");
    assert_eq!(ada.hears(), "grace: hello, too");

    grace.running.process.kill().unwrap();
    assert_eq!(ada.hears(), "* grace was cut off");
    let mut drawn = server.running.pictures_until(call("CANCELLED"));

    let (well, printed, complaints) = ada.leaves();
    assert!(well, "{complaints}");
    drawn.extend(server.running.pictures_until(call("OK")));

    // Ada's side: her call, two messages that she sent, and three that she was told. That she is in is told in the trace
    // of her joining.
    let own = Picture::all(&printed);
    assert_eq!(own.len(), 6, "{printed}");
    assert_eq!(own.iter().filter(|picture| picture.is_call()).count(), 1, "{printed}");
    for picture in &own {
        assert!(drawn.iter().any(|other| other.id == picture.id), "{picture:#?} is not among {drawn:#?}");
    }
    assert!(own.iter().any(call("OK")), "{printed}");
    // Nobody drew a call of Grace's but the server: on it the call was cancelled, and that is no error of the server's.
    let cancelled = drawn.iter().find(|picture| call("CANCELLED")(picture)).unwrap();
    assert_eq!(cancelled.rows[0], "chat.Room/Talk server");
    assert!(own.iter().all(|picture| picture.id != cancelled.id), "{printed}");
}

#[test]
fn who_is_not_let_in_is_told_why() {
    let server = Server::start();
    let ada = server.member("ada");
    assert_eq!(ada.hears(), "* you are in, and nobody else");
    for (name, why) in [("ada", "somebody has this name"), ("", "a name has 1 to 24 printable characters")] {
        let Member { running, keyboard } = server.member(name);
        let (well, printed, complaints) = running.ended();
        drop(keyboard);
        assert!(!well && complaints.contains(why), "{complaints}");
        assert!(Picture::all(&printed).iter().any(Picture::is_call), "{printed}");
    }
    server.running.pictures_until(call("ALREADY_EXISTS"));
    server.running.pictures_until(call("INVALID_ARGUMENT"));
}

#[test]
fn who_says_too_much_at_once_is_out() {
    let server = Server::start();
    let ada = server.member("ada");
    assert_eq!(ada.hears(), "* you are in, and nobody else");
    let mut grace = server.member("grace");
    assert_eq!(grace.hears(), "* you are in, and so are: ada");
    assert_eq!(ada.hears(), "* grace joined");
    grace.says(&"a".repeat(17 * 1024));
    assert_eq!(ada.hears(), "* grace was cut off");
    let (well, _, complaints) = grace.running.ended();
    assert!(!well && complaints.contains("too large"), "{complaints}");
    server.running.pictures_until(call("OUT_OF_RANGE"));
}

#[cfg(unix)]
#[test]
fn a_server_that_ends_sends_everybody_home() {
    let server = Server::start();
    let ada = server.member("ada");
    assert_eq!(ada.hears(), "* you are in, and nobody else");
    let id = server.running.process.id().to_string();
    assert!(std::process::Command::new("kill").args(["-s", "TERM", &id]).status().unwrap().success());
    let (well, _, complaints) = ada.running.ended();
    assert!(!well && complaints.contains("the room is closed"), "{complaints}");
    let (well, printed, complaints) = server.running.ended();
    assert!(well, "{complaints}");
    assert!(Picture::all(&printed).iter().any(call("UNAVAILABLE")), "{printed}");
}

#[test]
fn nobody_to_connect_to_is_said() {
    let output = program(&["--connect", "127.0.0.1:1", "--name", "ada"]).output().unwrap();
    assert!(!output.status.success());
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert!(complaint.starts_with("error: ") && complaint.to_lowercase().contains("refused"), "{complaint}");
}

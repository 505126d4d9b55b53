//! `--serve`: a caller's `traceparent` is continued through both services, and the trace drawn by itself.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use crate::{Picture, program};

/// Long enough for a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(30);

/// The program while it serves; it ends with the test.
struct Serving {
    process: Child,
    lines: Receiver<String>,
    users: String,
}

impl Serving {
    fn start() -> Self {
        let mut process = program(&["--serve", "--port", "0"]).stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        let first = lines.recv_timeout(PATIENCE).unwrap();
        let users = first.strip_prefix("users     http://").unwrap_or_else(|| panic!("{first}")).to_owned();
        Self { process, lines, users }
    }

    /// Sends a request as text and reads the answer as text.
    fn send(&self, method: &str, path: &str, headers: &str, body: &str) -> String {
        let mut socket = TcpStream::connect(&self.users).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let length = body.len();
        let head = format!("{method} {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n", self.users);
        write!(socket, "{head}content-length: {length}\r\n{headers}\r\n{body}").unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        answer
    }

    /// The next trace that is drawn.
    fn picture(&self) -> Picture {
        let mut text = String::new();
        loop {
            let line =
                self.lines.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("no trace is drawn: {text}"));
            text.push_str(&line);
            text.push('\n');
            if line.is_empty()
                && let Some(picture) = Picture::all(&text).pop()
            {
                return picture;
            }
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn a_traceparent_is_continued_through_both_services() {
    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    let serving = Serving::start();
    let headers =
        format!("content-type: application/json\r\ntraceparent: 00-{TRACE}-00f067aa0ba902b7-01\r\n");
    let body = r#"{"name":"Ada Lovelace","email":"ada@example.com"}"#;

    let answer = serving.send("POST", "/users", &headers, body);
    assert!(answer.starts_with("HTTP/1.1 201 Created\r\n"), "{answer}");
    let trace = serving.picture();
    assert_eq!(trace.id, TRACE);
    let mut services: Vec<_> = trace.rows.iter().filter(|row| row.contains(" server ")).collect();
    assert_eq!(services.len(), 2, "{trace:#?}");
    assert!(services.remove(0).contains("POST /users "), "{trace:#?}");
    assert!(services.remove(0).contains("└─ POST /accounts "), "{trace:#?}");

    // Without one a trace of its own begins.
    let answer = serving.send("GET", "/users/1", "", "");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains(r#""account":{"owner":1,"balance":0}"#), "{answer}");
    let trace = serving.picture();
    assert_ne!(trace.id, TRACE);
    trace.row("GET /users/{id} ");
}

#[cfg(unix)]
#[test]
fn sigterm_ends_it_well() {
    let mut serving = Serving::start();
    assert!(serving.send("GET", "/users", "", "").starts_with("HTTP/1.1 200 OK\r\n"));
    serving.picture();
    let pid = serving.process.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    // The output ends with the program.
    let rest: Vec<_> = std::iter::from_fn(|| serving.lines.recv_timeout(PATIENCE).ok()).collect();
    assert!(rest.contains(&"metrics of users".to_owned()), "{rest:#?}");
    assert!(serving.process.wait().unwrap().success());
}

//! `--serve`: both services continue a caller's `traceparent`, and each trace is drawn when it is complete.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use crate::{Picture, program};

/// Timeout, long enough for a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// The running program; dropping it kills the process.
struct Server {
    process: Child,
    lines: Receiver<String>,
    users: String,
}

impl Server {
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

    /// Sends an HTTP/1.1 request and returns the response as text.
    fn send(&self, method: &str, path: &str, headers: &str, body: &str) -> String {
        let mut socket = TcpStream::connect(&self.users).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let length = body.len();
        let head = format!("{method} {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n", self.users);
        write!(socket, "{head}content-length: {length}\r\n{headers}\r\n{body}").unwrap();
        let mut response = String::new();
        socket.read_to_string(&mut response).unwrap();
        response
    }

    /// Waits for the next drawn trace.
    fn picture(&self) -> Picture {
        let mut text = String::new();
        loop {
            let line =
                self.lines.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("no trace was drawn: {text}"));
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

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn a_traceparent_is_continued_through_both_services() {
    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    let server = Server::start();
    let headers =
        format!("content-type: application/json\r\ntraceparent: 00-{TRACE}-00f067aa0ba902b7-01\r\n");
    let body = r#"{"name":"Ada Lovelace","email":"ada@example.com"}"#;

    let response = server.send("POST", "/users", &headers, body);
    assert!(response.starts_with("HTTP/1.1 201 Created\r\n"), "{response}");
    let trace = server.picture();
    assert_eq!(trace.id, TRACE);
    let mut services: Vec<_> = trace.rows.iter().filter(|row| row.contains(" server ")).collect();
    assert_eq!(services.len(), 2, "{trace:#?}");
    assert!(services.remove(0).contains("POST /users "), "{trace:#?}");
    assert!(services.remove(0).contains("└─ POST /accounts "), "{trace:#?}");

    // A request without `traceparent` begins a new trace.
    let response = server.send("GET", "/users/1", "", "");
    assert!(response.starts_with("HTTP/1.1 200 OK\r\n"), "{response}");
    assert!(response.contains(r#""account":{"owner":1,"balance":0}"#), "{response}");
    let trace = server.picture();
    assert_ne!(trace.id, TRACE);
    trace.row("GET /users/{id} ");
}

#[cfg(unix)]
#[test]
fn sigterm_stops_the_program_with_success() {
    let mut server = Server::start();
    assert!(server.send("GET", "/users", "", "").starts_with("HTTP/1.1 200 OK\r\n"));
    server.picture();
    let pid = server.process.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    // The channel closes when the program exits.
    let rest: Vec<_> = std::iter::from_fn(|| server.lines.recv_timeout(PATIENCE).ok()).collect();
    assert!(rest.contains(&"metrics of users".to_owned()), "{rest:#?}");
    assert!(server.process.wait().unwrap().success());
}

//! Tests of URL parsing, of the search for programs, and of the health check with canned responses.

use std::{
    fs,
    io::{Read, Write},
    net::TcpListener,
    path::Path,
    thread,
};

use super::{LOG, URL, answers, parts, programs, setting};
use crate::services::{lifecycle::tests::folder, probe::tests::closed_port, record::Variables};

const AUTHENTICATED: &[u8] = b"R\0\0\0\x08\0\0\0\0";
const READY: &[u8] = b"Z\0\0\0\x05I";

fn row(value: &str) -> Vec<u8> {
    let length = u8::try_from(value.len()).unwrap();
    [b"D\0\0\0", &[10 + length][..], b"\0\x01\0\0\0", &[length], value.as_bytes()].concat()
}

/// Starts a server that replies to each message with the next of these responses; returns its URL.
fn server(answers: Vec<Vec<u8>>) -> (String, thread::JoinHandle<Vec<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("postgres://me:secret@{}/shop?a=b", listener.local_addr().unwrap());
    let handle = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let answer = |answer: Vec<u8>| {
            let mut seen = vec![0; 4096];
            let read = stream.read(&mut seen).unwrap();
            stream.write_all(&answer).unwrap();
            seen.truncate(read);
            seen
        };
        answers.into_iter().map(answer).collect()
    });
    (url, handle)
}

#[test]
fn a_setting_is_read() {
    let (url, seen) =
        server(vec![[AUTHENTICATED, b"S\0\0\0\x08a\0b\0", READY].concat(), [&row("64"), READY].concat()]);
    assert_eq!(setting(&url, "max_prepared_transactions").unwrap().as_deref(), Some("64"));
    let seen = seen.join().unwrap();
    assert_eq!(seen[0], b"\0\0\0\x1f\0\x03\0\0user\0me\0database\0shop\0\0");
    assert_eq!(seen[1], b"Q\0\0\0\x23SHOW max_prepared_transactions\0");
}

#[test]
fn a_server_without_prepared_transactions_is_an_error() {
    let (url, _) = server(vec![[AUTHENTICATED, READY].concat(), [&row("0"), READY].concat()]);
    let error = answers(&[(URL.to_owned(), url)].into()).unwrap_err().to_string();
    let expected =
        "POSTGRES_URL: the server has max_prepared_transactions = 0; two-phase commit needs 1 or more";
    assert_eq!(error, expected);
}

#[test]
fn a_server_that_asks_for_a_password_passes() {
    let (url, _) = server(vec![b"R\0\0\0\x08\0\0\0\x03".to_vec()]);
    let mut variables: Variables = [(URL.to_owned(), url)].into();
    answers(&variables).unwrap();
    let (url, _) = server(vec![b"R\0\0\0\x08\0\0\0\x03".to_vec()]);
    variables.extend([(URL.to_owned(), url), (LOG.to_owned(), "/no/such".to_owned())]);
    assert_eq!(answers(&variables).unwrap_err().to_string(), "POSTGRES_LOG: /no/such is not a file");
}

#[test]
fn an_error_response_is_reported_with_its_message() {
    let (url, _) = server(vec![b"E\0\0\0\x1eSFATAL\0C57P03\0Mstarting up\0\0".to_vec()]);
    let error = format!("{:#}", setting(&url, "x").unwrap_err());
    assert!(error.ends_with(" returned an error: starting up"), "{error}");
}

#[test]
fn a_different_protocol_is_an_error() {
    let (url, _) = server(vec![b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()]);
    let error = format!("{:#}", setting(&url, "x").unwrap_err());
    assert!(error.ends_with("not a PostgreSQL server"), "{error}");
    let (closed, _held) = closed_port();
    let error = format!(
        "{:#}",
        answers(&[(URL.to_owned(), format!("postgres://127.0.0.1:{closed}"))].into()).unwrap_err()
    );
    let expected = format!("POSTGRES_URL: no answer: cannot connect to 127.0.0.1:{closed}");
    assert!(error.starts_with(&expected), "{error}");
}

#[test]
fn a_url_is_parsed() {
    let parts = |url| parts(url).map(|(user, address, database)| format!("{user} {address} {database}"));
    assert_eq!(parts("postgres://postgres@127.0.0.1:1").unwrap(), "postgres 127.0.0.1:1 postgres");
    assert_eq!(parts("postgresql://a:p@ss@db/shop?sslmode=disable").unwrap(), "a db:5432 shop");
    assert_eq!(parts("postgres://[::1]").unwrap(), "postgres [::1]:5432 postgres");
    assert_eq!(parts("http://127.0.0.1"), None);
}

#[test]
fn the_latest_complete_release_is_used() {
    let top = folder("postgres-releases");
    for (release, names) in
        [("9", &["initdb", "postgres"][..]), ("15", &["initdb", "postgres"]), ("16", &["psql"])]
    {
        let bin = top.join(release).join("bin");
        fs::create_dir_all(&bin).unwrap();
        for name in names {
            fs::write(bin.join(name), "").unwrap();
        }
    }
    assert_eq!(programs(&top).unwrap(), top.join("15/bin"));
    assert_ne!(programs(Path::new("/no/such")), Some(top.join("15/bin")));
}

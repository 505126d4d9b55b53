//! Health checks over plain TCP sockets with short timeouts, without a client library. TLS is not supported.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream, ToSocketAddrs},
    time::Duration,
};

use anyhow::{Context, Result, bail};

/// Timeout for connecting, and for each read and write.
const PATIENCE: Duration = Duration::from_secs(2);

/// Timeout for a response that the server has to compute.
const RESPONSE: Duration = Duration::from_secs(30);

/// The first bytes of an HTTP/2 client: the preface and an empty SETTINGS frame,
/// <https://www.rfc-editor.org/rfc/rfc9113#section-3.4>.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// Returns different TCP ports of the loopback address that are free at the moment of the call.
pub(crate) fn free_ports<const N: usize>() -> Result<[u16; N]> {
    let mut ports = [0; N];
    let mut held = Vec::with_capacity(N);
    for port in &mut ports {
        let listener = TcpListener::bind(("127.0.0.1", 0)).context("no free port")?;
        *port = listener.local_addr()?.port();
        held.push(listener);
    }
    Ok(ports)
}

/// Posts JSON over HTTP/1.1 and returns the response status.
pub(crate) fn http_post(url: &str, path: &str, json: &str) -> Result<u16> {
    let authority = authority(url)?;
    let mut stream = connect(authority)?;
    let length = json.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: {authority}\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\nconnection: close\r\n\r\n{json}"
    );
    let silent = || format!("{authority} sent no response");
    stream.write_all(head.as_bytes()).with_context(silent)?;
    let mut line = String::new();
    // Limited, because a server of a different protocol may never send a newline.
    BufReader::new(stream.take(1024)).read_line(&mut line).with_context(silent)?;
    let status = line.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
    status.with_context(|| format!("{authority} is not an HTTP/1.1 server: {:?}", line.trim_end()))
}

/// Returns the status and the body of a resource. By HTTP/1.0, so that the body ends with the connection.
pub(crate) fn http_get(url: &str, path: &str) -> Result<(u16, String)> {
    let authority = authority(url)?;
    let mut stream = connect(authority)?;
    stream.set_read_timeout(Some(RESPONSE))?;
    let silent = || format!("{authority} sent no response");
    stream
        .write_all(format!("GET {path} HTTP/1.0\r\nhost: {authority}\r\n\r\n").as_bytes())
        .with_context(silent)?;
    let mut response = String::new();
    stream.read_to_string(&mut response).with_context(silent)?;
    let (head, body) = response.split_once("\r\n\r\n").with_context(silent)?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.with_context(|| format!("{authority} is not an HTTP server: {head:?}"))?;
    Ok((status, body.to_owned()))
}

/// Succeeds if the server speaks HTTP/2: its first frame must be SETTINGS.
pub(super) fn http2(url: &str) -> Result<()> {
    let authority = authority(url)?;
    let mut stream = connect(authority)?;
    let silent = || format!("{authority} sent no response");
    stream.write_all(PREFACE).with_context(silent)?;
    let mut frame = [0; 9];
    stream.read_exact(&mut frame).with_context(silent)?;
    if frame[3] != 4 {
        bail!("{authority} is not an HTTP/2 server");
    }
    Ok(())
}

fn authority(url: &str) -> Result<&str> {
    let rest = url.strip_prefix("http://").map(|rest| rest.trim_end_matches('/'));
    rest.with_context(|| format!("invalid address `{url}`; expected http://HOST:PORT"))
}

/// Connects to HOST:PORT, with timeouts for reading and writing.
pub(crate) fn connect(authority: &str) -> Result<TcpStream> {
    let addresses = authority.to_socket_addrs().with_context(|| format!("no address for `{authority}`"))?;
    let mut last = None;
    for address in addresses {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(stream) => {
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_write_timeout(Some(PATIENCE))?;
                return Ok(stream);
            }
            Err(error) => last = Some(error),
        }
    }
    match last {
        Some(error) => Err(error).with_context(|| format!("cannot connect to {authority}")),
        None => bail!("no address for `{authority}`"),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::{
        io::{Read, Write},
        net::{TcpListener, TcpStream},
        thread,
    };

    use super::{PREFACE, free_ports, http_get, http_post, http2};

    /// Starts a server that accepts one connection, reads once and sends one response; the handle returns the request.
    pub(in crate::services) fn server(answer: &'static [u8]) -> (String, thread::JoinHandle<Vec<u8>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let handle = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut seen = vec![0; 4096];
            let read = stream.read(&mut seen).unwrap();
            seen.truncate(read);
            stream.write_all(answer).unwrap();
            seen
        });
        (url, handle)
    }

    /// Returns a port that refuses connections for as long as the stream exists, because it is the port of a client.
    /// Another program could listen on a free port meanwhile.
    pub(in crate::services) fn closed_port() -> (u16, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (client.local_addr().unwrap().port(), client)
    }

    #[test]
    fn ports_are_free_and_different() {
        let ports: [u16; 8] = free_ports().unwrap();
        let mut unique = ports.to_vec();
        unique.sort_unstable();
        unique.dedup();
        assert_eq!(unique.len(), ports.len());
        // Another program can take a free port before this one does, hence several attempts.
        let free = |ports: [u16; 8]| ports.iter().all(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok());
        assert!((0..10).any(|_| free(free_ports().unwrap())));
    }

    #[test]
    fn the_status_of_a_post_is_returned() {
        let (url, seen) = server(b"HTTP/1.1 503 Service Unavailable\r\n\r\n");
        assert_eq!(http_post(&url, "/v1/traces", "{}").unwrap(), 503);
        let seen = String::from_utf8(seen.join().unwrap()).unwrap();
        assert!(seen.starts_with("POST /v1/traces HTTP/1.1\r\n"), "{seen}");
        assert!(seen.ends_with("content-length: 2\r\nconnection: close\r\n\r\n{}"), "{seen}");
    }

    #[test]
    fn a_body_is_returned_with_its_status() {
        let (url, seen) =
            server(b"HTTP/1.0 404 Not Found\r\ncontent-type: text/plain\r\n\r\nno such\r\n\r\ntrace");
        assert_eq!(http_get(&url, "/traces/1").unwrap(), (404, "no such\r\n\r\ntrace".to_owned()));
        assert!(seen.join().unwrap().starts_with(b"GET /traces/1 HTTP/1.0\r\n"));
        let (url, _) = server(b"SSH-2.0-x\r\n");
        assert!(http_get(&url, "/").is_err());
    }

    #[test]
    fn a_different_protocol_is_an_error() {
        let (url, _) = server(b"220 mail.example ESMTP\r\n");
        let error = http_post(&url, "/", "{}").unwrap_err().to_string();
        assert!(error.ends_with("is not an HTTP/1.1 server: \"220 mail.example ESMTP\""), "{error}");
        let (url, _) = server(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        let error = http2(&url).unwrap_err().to_string();
        assert!(error.ends_with("is not an HTTP/2 server"), "{error}");
    }

    #[test]
    fn a_settings_frame_is_accepted() {
        let (url, seen) = server(b"\0\0\0\x04\0\0\0\0\0");
        http2(&url).unwrap();
        assert_eq!(seen.join().unwrap(), PREFACE);
    }

    #[test]
    fn a_closed_port_and_a_wrong_scheme_are_errors() {
        let (port, _held) = closed_port();
        let error = http2(&format!("http://127.0.0.1:{port}")).unwrap_err().to_string();
        assert_eq!(error, format!("cannot connect to 127.0.0.1:{port}"));
        let error = http2("https://127.0.0.1:1").unwrap_err().to_string();
        assert_eq!(error, "invalid address `https://127.0.0.1:1`; expected http://HOST:PORT");
    }
}

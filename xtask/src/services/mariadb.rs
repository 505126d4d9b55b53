//! MariaDB 10.11 or later, one server.
//!
//! `MARIADB_URL` has an administrator that needs no password, and no database: `mysql://USER@HOST:PORT`, to which tests
//! append `/NAME`. `MARIADB_LOG` is the path of the log file. The server starts without data.

use std::{
    io::{Read, Write},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, bail};

use crate::{
    process::run_within,
    services::{
        Service,
        compose::{Compose, Port},
        daemon::{self, Process},
        debian::{self, Requirement},
        probe,
        record::{self, Variables},
    },
};

const URL: &str = "MARIADB_URL";
const LOG: &str = "MARIADB_LOG";

/// The URL of a server started here, up to its address.
const SCHEME: &str = "mysql://root@";

/// Timeout of `mariadb-install-db`, which takes seconds.
const LIMIT: Duration = Duration::from_secs(5 * 60);

pub(super) const SERVICE: Service = Service {
    name: "mariadb",
    about: "MariaDB, one server",
    variables: &[URL],
    optional: &[LOG],
    answers,
    compose: Compose {
        file: "\
services:
  mariadb:
    image: mariadb:10.11
    environment: {MARIADB_ALLOW_EMPTY_ROOT_PASSWORD: 'yes'}
    ports: ['127.0.0.1::3306']
",
        service: "mariadb",
        ports: &[Port { inside: 3306, variable: URL, scheme: SCHEME }],
        log: LOG,
        optional: |_| Ok(Variables::new()),
    },
    stop_signal: "TERM",
    missing,
    native,
};

fn missing(_folder: &Path) -> Vec<Requirement> {
    match programs() {
        Some(_) => Vec::new(),
        None => vec![("mariadbd", "mariadb-server")],
    }
}

fn native(folder: &Path) -> Result<(Process, Variables)> {
    debian::install(folder, &missing(folder))?;
    let (install, server) =
        programs().context("package mariadb-server was installed, but mariadbd was not found")?;
    let data = folder.join("data");
    daemon::remove_data(&data)?;
    // As root the server and its installer drop to this user, whom the Debian package creates.
    let user = if debian::is_root(folder) { &["--user=mysql"][..] } else { &[] };
    let directory = format!("--datadir={}", data.display());
    let mut create = Command::new(install);
    create.args(["--no-defaults", &directory, "--auth-root-authentication-method=normal", "--skip-test-db"]);
    run_within(create.args(user).current_dir(folder), LIMIT).with_context(|| {
        format!(
            "mariadb-install-db failed; as root it runs as `mysql`, which needs access to {}",
            data.display()
        )
    })?;
    let [port] = probe::free_ports()?;
    let mut mariadb = Command::new(server);
    mariadb.args(["--no-defaults", &directory, "--bind-address=127.0.0.1"]).args(user);
    // Relative to the folder of the data, because the path of a socket is limited to 107 bytes.
    mariadb.args([&format!("--port={port}"), "--socket=socket", "--pid-file=pid", "--skip-log-bin"]);
    let process = Process::start(&mut mariadb, folder)?;
    let variables =
        [(URL, format!("{SCHEME}127.0.0.1:{port}")), (LOG, daemon::log(folder).display().to_string())];
    Ok((process, variables.map(|(name, value)| (name.to_owned(), value)).into()))
}

/// The installer of the data and the server. Debian installs the latter in a folder that is not on the path of all users.
fn programs() -> Option<(&'static str, PathBuf)> {
    let server = match debian::has("mariadbd") {
        true => PathBuf::from("mariadbd"),
        false => Some(PathBuf::from("/usr/sbin/mariadbd")).filter(|path| path.is_file())?,
    };
    debian::has("mariadb-install-db").then_some(("mariadb-install-db", server))
}

/// Logs in. A server that asks for a password passes unchecked, because authentication is not implemented here.
fn answers(variables: &Variables) -> Result<()> {
    login(record::get(variables, URL)?).with_context(|| format!("{URL}: no answer"))?;
    if let Some(log) = variables.get(LOG).filter(|log| !Path::new(log).is_file()) {
        bail!("{LOG}: {log} is not a file");
    }
    Ok(())
}

/// Parses a URL into user and address.
fn parts(url: &str) -> Option<(&str, String)> {
    let rest = url.strip_prefix("mysql://").or_else(|| url.strip_prefix("mariadb://"))?;
    let authority = rest.split(['/', '?']).next()?;
    let (credentials, address) = authority.rsplit_once('@')?;
    let user = credentials.split(':').next()?;
    let has_port = address.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    Some((user, if has_port { address.to_owned() } else { format!("{address}:3306") }))
}

/// Connects and logs in without a password, <https://mariadb.com/kb/en/connection/>. Numbers are little-endian.
fn login(url: &str) -> Result<()> {
    /// The capabilities PROTOCOL_41, SECURE_CONNECTION and PLUGIN_AUTH.
    const CAPABILITIES: u32 = 1 << 9 | 1 << 15 | 1 << 19;
    const UTF8MB4: u8 = 45;
    let (user, address) =
        parts(url).with_context(|| format!("`{url}` is not of the form mysql://USER@HOST:PORT"))?;
    let mut stream = probe::connect(&address)?;
    let greeting = receive(&mut stream).with_context(|| format!("{address} sent no greeting"))?;
    match greeting.first() {
        Some(10) => {}
        Some(0xff) => bail!("{address} returned an error: {}", error_message(&greeting)),
        _ => bail!("{address} is not a MariaDB server"),
    }
    let mut response =
        [&CAPABILITIES.to_le_bytes()[..], &(1_u32 << 24).to_le_bytes(), &[UTF8MB4], &[0; 23]].concat();
    // The user, an empty password, and the name of the plugin.
    response.extend_from_slice(format!("{user}\0\0mysql_native_password\0").as_bytes());
    let [length @ .., _] = u32::try_from(response.len())?.to_le_bytes();
    stream.write_all(&[&length[..], &[1], &response].concat())?;
    let answer = receive(&mut stream).with_context(|| format!("{address} sent no response"))?;
    match answer.first() {
        Some(0xff) => bail!("{address} returned an error: {}", error_message(&answer)),
        // Logged in, or asked for other credentials.
        Some(0 | 0xfe) => Ok(()),
        _ => bail!("{address} is not a MariaDB server"),
    }
}

/// Receives the body of one packet, whose head is its length (3 bytes) and its number.
fn receive(stream: &mut impl Read) -> Result<Vec<u8>> {
    let mut head = [0; 4];
    stream.read_exact(&mut head)?;
    let [low, middle, high, _] = head;
    let length = u32::from_le_bytes([low, middle, high, 0]);
    // The bytes of a different protocol parse as a length, too; almost always as a large one.
    if length > 64 * 1024 {
        bail!("not a MariaDB server");
    }
    let mut body = vec![0; usize::try_from(length)?];
    stream.read_exact(&mut body)?;
    Ok(body)
}

/// The message of an error packet, which follows its marker, its code (2 bytes) and, once the protocol is negotiated, a
/// `#` and an SQLSTATE (5 bytes).
fn error_message(body: &[u8]) -> String {
    let text = body.get(3..).unwrap_or_default();
    let text = if text.first() == Some(&b'#') { text.get(6..).unwrap_or_default() } else { text };
    String::from_utf8_lossy(text).into_owned()
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::TcpListener,
        thread,
    };

    use super::{login, parts};

    /// Starts a server with this greeting and this response; returns the result of a login, and the client's packet.
    fn logged_in(greeting: &'static [u8], response: &'static [u8]) -> (String, Vec<u8>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("mysql://me@{}/shop", listener.local_addr().unwrap());
        let handle = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(greeting).unwrap();
            let mut seen = vec![0; 4096];
            // The client has closed the connection if it did not accept the greeting.
            let read = stream.read(&mut seen).unwrap_or_default();
            seen.truncate(read);
            let _ = stream.write_all(response);
            seen
        });
        let result = login(&url).map_or_else(|error| format!("{error:#}"), |()| "logged in".to_owned());
        (result, handle.join().unwrap())
    }

    const GREETING: &[u8] = b"\x03\0\0\0\x0a5\0";

    #[test]
    fn a_client_logs_in() {
        let (result, seen) = logged_in(GREETING, b"\x01\0\0\x02\0");
        assert_eq!(result, "logged in");
        assert_eq!(&seen[..8], b"\x3a\0\0\x01\0\x82\x08\0");
        assert!(seen.ends_with(b"\0me\0\0mysql_native_password\0"));
        assert_eq!(logged_in(GREETING, b"\x01\0\0\x02\xfe").0, "logged in");
    }

    #[test]
    fn an_error_is_reported_with_its_message() {
        let (error, _) = logged_in(GREETING, b"\x0b\0\0\x02\xff\x15\x04#28000no");
        assert!(error.ends_with(" returned an error: no"), "{error}");
        let (error, _) = logged_in(b"\x0b\0\0\0\xff\x10\x04too many", b"");
        assert!(error.ends_with(" returned an error: too many"), "{error}");
    }

    #[test]
    fn a_different_protocol_is_an_error() {
        let (error, _) = logged_in(b"220 mail.example ESMTP\r\n", b"");
        assert!(error.ends_with("not a MariaDB server"), "{error}");
        let (error, _) = logged_in(b"\x01\0\0\0\x09", b"");
        assert!(error.ends_with("is not a MariaDB server"), "{error}");
    }

    #[test]
    fn a_url_is_parsed() {
        let parts = |url| parts(url).map(|(user, address)| format!("{user} {address}"));
        assert_eq!(parts("mysql://root@127.0.0.1:1").unwrap(), "root 127.0.0.1:1");
        assert_eq!(parts("mariadb://a:p@ss@db/shop?ssl-mode=disabled").unwrap(), "a db:3306");
        assert_eq!(parts("mysql://127.0.0.1"), None);
        assert_eq!(parts("http://a@127.0.0.1"), None);
    }
}

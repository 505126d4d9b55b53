//! Tests of the broker script with a fake `java`, and of the health check with canned responses.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use super::{BROKERS, LOG, SCRIPT, SERVER, SERVICE, answers, java_release, members};
use crate::services::{
    lifecycle::tests::folder,
    probe::tests::{closed_port, server},
    record::Variables,
    script,
};

fn variables(pairs: &[(&str, &str)]) -> Variables {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// A folder with the broker script and a fake `java`, which formats a folder or runs until it is killed.
fn installed(name: &str) -> PathBuf {
    let folder = folder(name);
    let java = "\
#!/bin/sh
echo \"$@\" >>\"$(dirname \"$0\")/calls\"
case \"$*\" in
*StorageTool*) mkdir -p run/data && touch run/data/meta.properties ;;
*) exec sleep 60 ;;
esac
";
    for (name, text) in [("broker", SCRIPT), ("java", java)] {
        script::install(&folder.join(name), text).unwrap();
    }
    fs::create_dir(folder.join("lib")).unwrap();
    folder
}

fn start(folder: &Path, input: Stdio) -> Child {
    let path =
        env::join_paths([folder].into_iter().map(Path::to_owned).chain(env::split_paths("/usr/bin:/bin")));
    let mut command = Command::new(folder.join("broker"));
    command.args(["run", "4001", "4002"]).current_dir(folder).env("PATH", path.unwrap());
    command.stdin(input).spawn().unwrap()
}

fn calls(folder: &Path) -> Vec<String> {
    fs::read_to_string(folder.join("calls")).unwrap_or_default().lines().map(str::to_owned).collect()
}

fn wait_for(what: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !what() {
        assert!(Instant::now() < deadline, "condition not met within 30 s");
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_broker_is_formatted_once_and_keeps_its_data() {
    let folder = installed("kafka-again");
    for number in [2, 3] {
        let mut broker = start(&folder, Stdio::null());
        wait_for(|| calls(&folder).len() == number);
        // The script has replaced itself by the broker, so that killing the child crashes the broker.
        let program = fs::read_link(format!("/proc/{}/exe", broker.id())).unwrap();
        assert!(!program.ends_with("cat"), "{}", program.display());
        assert!(broker.try_wait().unwrap().is_none());
        broker.kill().unwrap();
        broker.wait().unwrap();
    }
    let calls = calls(&folder);
    assert!(calls[0].contains("kafka.tools.StorageTool format"), "{calls:?}");
    for call in &calls[1..] {
        assert!(call.ends_with(&format!("kafka.Kafka {}/run/server.properties", folder.display())), "{call}");
    }
    let config = fs::read_to_string(folder.join("run/server.properties")).unwrap();
    let data = format!("log.dirs={}/run/data", folder.display());
    for line in [&*data, "listeners=PLAINTEXT://127.0.0.1:4001,CONTROLLER://127.0.0.1:4002"] {
        assert!(config.lines().any(|there| there == line), "{config}");
    }
}

#[test]
fn a_broker_stops_at_the_end_of_its_input() {
    let folder = installed("kafka-input");
    let mut broker = start(&folder, Stdio::piped());
    wait_for(|| calls(&folder).len() == 2);
    assert!(broker.try_wait().unwrap().is_none());
    drop(broker.stdin.take());
    // Ended by the signal: the fake `java` would otherwise run for a minute.
    let status = broker.wait().unwrap();
    assert_eq!(status.code(), None, "{status}");
}

#[test]
fn wrong_arguments_print_the_usage() {
    let folder = installed("kafka-usage");
    let output = Command::new(folder.join("broker")).arg("run").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.ends_with("broker FOLDER PORT CONTROLLER_PORT\n"), "{text}");
}

#[test]
fn a_broker_in_a_container_has_the_same_settings() {
    let settings: Vec<_> = SCRIPT
        .lines()
        .filter_map(|line| line.split_once('='))
        .filter(|(name, value)| name.contains('.') && !name.contains(' ') && !value.contains('$'))
        .collect();
    assert!(settings.len() > 8, "{settings:?}");
    for (name, value) in settings {
        let line = format!("      KAFKA_{}: '{value}'", name.to_uppercase().replace('.', "_"));
        assert!(SERVICE.compose.file.lines().any(|there| there == line), "{line}");
    }
}

#[test]
fn a_java_release_is_parsed() {
    assert_eq!(java_release("openjdk 17.0.15 2025-04-15\nOpenJDK Runtime Environment"), Some(17));
    assert_eq!(java_release("java 21 2023-09-19 LTS"), Some(21));
    assert_eq!(java_release("openjdk 26-ea 2026-03-17"), Some(26));
    assert_eq!(java_release("command not found"), None);
    assert_eq!(java_release(""), None);
}

#[test]
fn the_brokers_of_a_metadata_response_are_counted() {
    let (url, seen) = server(b"\0\0\0\x10otel\0\0\0\x01\0\0\0\x01");
    assert_eq!(members(url.trim_start_matches("http://")).unwrap(), 1);
    assert_eq!(seen.join().unwrap(), b"\0\0\0\x0e\0\x03\0\x01otel\xff\xff\0\0\0\0");
    let (url, _) = server(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    let error = members(url.trim_start_matches("http://")).unwrap_err().to_string();
    assert!(error.ends_with("does not speak Kafka's protocol"), "{error}");
}

#[test]
fn one_of_several_brokers_has_to_be_ready() {
    let (closed, _held) = closed_port();
    let (url, _) = server(b"\0\0\0\x10otel\0\0\0\x01");
    let list = format!("127.0.0.1:{closed}, {}", url.trim_start_matches("http://"));
    answers(&variables(&[(BROKERS, &list)])).unwrap();
    let (url, _) = server(b"\0\0\0\x10otel\0\0\0\0");
    let error = answers(&variables(&[(BROKERS, url.trim_start_matches("http://"))])).unwrap_err();
    assert!(format!("{error:#}").ends_with("lists no broker that is ready"), "{error:#}");
    let closed = format!("127.0.0.1:{closed}");
    let error = answers(&variables(&[(BROKERS, &closed)])).unwrap_err();
    assert!(
        format!("{error:#}").starts_with(&format!("KAFKA_BROKERS: no answer: cannot connect to {closed}")),
        "{error:#}"
    );
}

#[test]
fn files_that_variables_name_have_to_exist() {
    for name in [LOG, SERVER] {
        let (url, _) = server(b"\0\0\0\x10otel\0\0\0\x01");
        let given = variables(&[(BROKERS, url.trim_start_matches("http://")), (name, "/no/such")]);
        assert_eq!(answers(&given).unwrap_err().to_string(), format!("{name}: /no/such is not a file"));
    }
}

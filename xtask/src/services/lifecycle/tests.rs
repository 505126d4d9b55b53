//! Tests of the resolution order with fake services; processes and files are real.

use std::{
    env, fs,
    net::TcpListener,
    os::fd::AsRawFd,
    path::{Path, PathBuf},
    process::{self, Command},
    time::Duration,
};

use anyhow::{Result, bail};

use super::{Host, Up, down, needs_recipe, status, up};
use crate::services::{
    Lease, Service,
    compose::Compose,
    daemon::Process,
    record::{Record, Server, Variables},
};

/// An empty folder for one test.
pub(crate) fn folder(name: &str) -> PathBuf {
    let folder = env::temp_dir().join(format!("otel-xtask-{}", process::id())).join(name);
    // A leftover of an earlier process with the same ID.
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

const SLEEPER: Service = Service {
    name: "sleeper",
    about: "passes its health check if the URL starts with `up:`",
    variables: &["SLEEPER_LOG", "SLEEPER_URL"],
    optional: &["SLEEPER_MORE"],
    answers: |variables| match variables.get("SLEEPER_URL") {
        Some(url) if url.starts_with("up:") => Ok(()),
        other => bail!("{other:?} does not answer"),
    },
    compose: Compose {
        file: "",
        service: "sleeper",
        ports: &[],
        log: "SLEEPER_LOG",
        optional: |_| Ok(Variables::new()),
    },
    stop_signal: "TERM",
    missing: |_| vec![("sleep", "coreutils")],
    native: |folder| started(folder, "exec sleep 60", "up:native"),
};

fn started(folder: &Path, script: &str, url: &str) -> Result<(Process, Variables)> {
    let process = Process::start(Command::new("sh").args(["-c", script]), folder)?;
    Ok((process, variables(url)))
}

fn variables(url: &str) -> Variables {
    let pairs = [("SLEEPER_LOG", "/log"), ("SLEEPER_URL", url)];
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

fn host(name: &str) -> Host {
    Host {
        folder: folder(name),
        environment: |_| None,
        engine: |_| bail!("no engine"),
        patience: Duration::from_millis(100),
    }
}

fn environment(host: &Host) -> Option<String> {
    fs::read_to_string(host.environment_file()).ok()
}

fn process_of(record: &Record) -> Process {
    match &record.server {
        Server::Native(process) => process.clone(),
        other => panic!("{other}"),
    }
}

#[test]
fn a_server_is_started_once_and_stopped() {
    let host = host("once");
    assert_eq!(status(&SLEEPER, &host), "not running");
    assert_eq!(down(&SLEEPER, &host).unwrap(), "not running");
    let (how, record) = up(&SLEEPER, &host).unwrap();
    let process = process_of(&record);
    assert_eq!((how, process.is_running()), (Up::Started, true));
    assert_eq!(environment(&host).unwrap(), "export SLEEPER_LOG=/log\nexport SLEEPER_URL=up:native\n");
    assert_eq!(up(&SLEEPER, &host).unwrap(), (Up::Running, record));
    assert_eq!(status(&SLEEPER, &host), format!("answers, process {}", process.id));
    assert_eq!(down(&SLEEPER, &host).unwrap(), format!("stopped, process {}", process.id));
    assert!(!process.is_running());
    assert_eq!(environment(&host), None);
    assert_eq!(status(&SLEEPER, &host), "not running");
}

#[test]
fn a_server_that_has_exited_is_restarted() {
    let host = host("ended");
    let (_, first) = up(&SLEEPER, &host).unwrap();
    process_of(&first).stop("TERM").unwrap();
    let gone = format!("does not answer, process {}: the process has exited", process_of(&first).id);
    assert_eq!(status(&SLEEPER, &host), gone);
    let (how, second) = up(&SLEEPER, &host).unwrap();
    assert_eq!((how, process_of(&second).is_running()), (Up::Started, true));
    assert_ne!(process_of(&first), process_of(&second));
    down(&SLEEPER, &host).unwrap();
}

#[test]
fn a_reused_process_id_is_restarted_and_not_stopped() {
    let host = host("stale");
    let other = Process::start(Command::new("sleep").arg("60"), &folder("stale-other")).unwrap();
    let stale = Process { id: other.id, start_time: other.start_time - 1 };
    let own = host.service_folder(&SLEEPER);
    fs::create_dir_all(&own).unwrap();
    Record { server: Server::Native(stale), variables: variables("up:native") }.write(&own).unwrap();
    assert_eq!(up(&SLEEPER, &host).unwrap().0, Up::Started);
    down(&SLEEPER, &host).unwrap();
    assert!(other.is_running());
    other.stop("TERM").unwrap();
}

#[test]
fn an_external_server_comes_first_and_is_not_stopped() {
    let mut host = host("given");
    let (_, own) = up(&SLEEPER, &host).unwrap();
    host.environment = |name| match name {
        "SLEEPER_URL" => Some("up:given".to_owned()),
        "SLEEPER_LOG" => Some("/given".to_owned()),
        _ => None,
    };
    host.engine = |_| panic!("the engine was used");
    let never = Service { native: |_| panic!("a server was started"), ..SLEEPER };
    let (how, record) = up(&never, &host).unwrap();
    assert_eq!((how, &record.server), (Up::External, &Server::External));
    assert!(!process_of(&own).is_running(), "the replaced server was started here");
    assert_eq!(environment(&host).unwrap(), "export SLEEPER_LOG=/given\nexport SLEEPER_URL=up:given\n");
    // The record is used again in the same environment, and also without the variables.
    assert_eq!(up(&never, &host).unwrap().0, Up::Running);
    host.environment = |_| None;
    assert_eq!(up(&never, &host).unwrap().0, Up::Running);
    assert_eq!(down(&never, &host).unwrap(), "left running, because xtask did not start it");
    assert_eq!(environment(&host), None);
}

#[test]
fn variables_of_the_recorded_server_are_not_an_external_server() {
    let mut host = host("sourced");
    let (_, first) = up(&SLEEPER, &host).unwrap();
    host.environment = |name| variables("up:native").get(name).cloned();
    assert_eq!(up(&SLEEPER, &host).unwrap(), (Up::Running, first.clone()));
    // A subset is still the recorded server: treating it as external would stop the recorded one.
    host.environment = |name| variables("up:native").remove(name).filter(|_| name == "SLEEPER_URL");
    assert_eq!(up(&SLEEPER, &host).unwrap(), (Up::Running, first.clone()));
    process_of(&first).stop("TERM").unwrap();
    assert_eq!(up(&SLEEPER, &host).unwrap().0, Up::Started);
    down(&SLEEPER, &host).unwrap();
}

#[test]
fn optional_variables_are_used_if_set() {
    let mut host = host("optional");
    let never = Service { native: |_| panic!("a server was started"), ..SLEEPER };
    host.environment = |name| (name != "SLEEPER_MORE").then(|| "up:given".to_owned());
    assert_eq!(up(&never, &host).unwrap().1.variables.len(), 2);
    host.environment = |_| Some("up:more".to_owned());
    let (how, record) = up(&never, &host).unwrap();
    assert_eq!((how, &*record.variables["SLEEPER_MORE"]), (Up::External, "up:more"));
}

#[test]
fn an_incomplete_or_wrong_environment_is_an_error() {
    let never = Service { native: |_| panic!("a server was started"), ..SLEEPER };
    let mut host = host("wrong");
    host.environment = |name| (name == "SLEEPER_URL").then(|| "up:given".to_owned());
    let error = up(&never, &host).unwrap_err().to_string();
    let expected =
        "sleeper: SLEEPER_URL set in the environment, but not SLEEPER_LOG; set all of them or none";
    assert_eq!(error, expected);
    host.environment = |_| Some("down".to_owned());
    let error = format!("{:#}", up(&never, &host).unwrap_err());
    let expected = "sleeper: the server named by the environment does not answer; \
                    start it, or unset SLEEPER_LOG, SLEEPER_URL: Some(\"down\") does not answer";
    assert_eq!(error, expected);
    assert_eq!(environment(&host), None);
}

#[test]
fn packages_are_needed_where_only_the_recipe_can_start_the_service() {
    let mut host = host("recipe");
    let needs = |host: &Host| needs_recipe(&SLEEPER, host, Path::new("."));
    assert!(needs(&host));
    host.engine = |_| Ok(());
    assert!(!needs(&host), "an engine starts it");
    host.engine = |_| bail!("no engine here");
    host.environment = |name| variables("up:there").get(name).cloned();
    assert!(!needs(&host), "the environment names it");
    host.environment = |_| None;
    up(&SLEEPER, &host).unwrap();
    assert!(!needs(&host), "it is up");
    down(&SLEEPER, &host).unwrap();
    assert!(needs(&host));
}

#[test]
fn an_engine_comes_before_a_native_process() {
    let mut host = host("engine");
    host.engine = |folder| {
        fs::write(folder.join("checked"), "")?;
        bail!("no engine")
    };
    let native = |folder: &Path| {
        assert!(folder.join("checked").exists(), "the engine was not checked first");
        started(folder, "exec sleep 60", "up:native")
    };
    assert_eq!(up(&Service { native, ..SLEEPER }, &host).unwrap().0, Up::Started);
    down(&SLEEPER, &host).unwrap();
}

#[test]
fn an_error_has_the_reason_for_each_way() {
    let host = host("no-way");
    let service = Service { native: |_| bail!("python3 is missing"), ..SLEEPER };
    let error = up(&service, &host).unwrap_err().to_string();
    let expected = "\
cannot start sleeper; one of these has to be fixed:
  environment: SLEEPER_LOG, SLEEPER_URL are not set
  docker compose: no engine
  native: python3 is missing";
    assert_eq!(error, expected);
    assert_eq!(environment(&host), None);
}

#[test]
fn a_server_that_exits_at_once_is_an_error_with_the_end_of_its_log() {
    // The process must have exited before the patience ends, on a busy machine too.
    let host = Host { patience: Duration::from_secs(30), ..host("ends") };
    let native = |folder: &Path| started(folder, "echo port taken >&2; exit 1", "down");
    let error = up(&Service { native, ..SLEEPER }, &host).unwrap_err().to_string();
    let log = host.service_folder(&SLEEPER).join("log").display().to_string();
    let expected =
        format!("  native: the server did not start ({log} ends with: port taken): the process has exited");
    assert_eq!(error.lines().last().unwrap(), expected);
    assert_eq!(status(&SLEEPER, &host), "not running");
}

#[test]
fn a_server_that_does_not_answer_is_stopped() {
    let host = host("mute");
    let native = |folder: &Path| {
        let (process, variables) = started(folder, "exec sleep 60", "down")?;
        fs::write(folder.join("started"), format!("{} {}", process.id, process.start_time))?;
        Ok((process, variables))
    };
    let error = up(&Service { native, ..SLEEPER }, &host).unwrap_err().to_string();
    assert!(error.ends_with("no answer within 100ms: Some(\"down\") does not answer"), "{error}");
    let started = fs::read_to_string(host.service_folder(&SLEEPER).join("started")).unwrap();
    let (id, start_time) = started.split_once(' ').unwrap();
    assert!(!Process { id: id.parse().unwrap(), start_time: start_time.parse().unwrap() }.is_running());
    assert_eq!(status(&SLEEPER, &host), "not running");
}

#[test]
fn a_lease_stops_only_the_services_that_it_started() {
    const FAILS: Service = Service { name: "fails", native: |_| bail!("broken"), ..SLEEPER };
    const BEFORE: Service = Service { name: "before", ..SLEEPER };
    let top = folder("lease");
    let host = || Host { folder: top.clone(), ..host("lease-host") };
    let up_now = |service: &Service| !status(service, &host()).starts_with("not running");
    up(&BEFORE, &host()).unwrap();
    let lease = Lease::start(host(), &[&BEFORE, &SLEEPER]).unwrap();
    assert!(up_now(&SLEEPER));
    drop(lease);
    assert_eq!((up_now(&BEFORE), up_now(&SLEEPER)), (true, false));
    assert!(Lease::start(host(), &[&BEFORE, &SLEEPER, &FAILS]).is_err());
    assert_eq!((up_now(&BEFORE), up_now(&SLEEPER)), (true, false));
    down(&BEFORE, &host()).unwrap();
}

/// A server that inherited xtask's pipes or its lock would block readers of the output and later runs of xtask.
///
/// Reads the server's `/proc/ID/fd`. Binding or locking again would also fail because of children that other tests are
/// starting: between fork and exec, a child has all descriptors of this process.
#[test]
fn a_server_inherits_no_descriptors() {
    let host = host("inherits");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (_, record) = up(&SLEEPER, &host).unwrap();
    let log = host.service_folder(&SLEEPER).join("log");
    let numbers = format!("/proc/{}/fd", process_of(&record).id);
    let open = |number: &str| fs::read_link(Path::new(&numbers).join(number));
    assert_eq!(["0", "1", "2"].map(|number| open(number).unwrap()), ["/dev/null".into(), log.clone(), log]);
    // A descriptor that the starting program has open may be closed before its link is read.
    let held: Vec<_> = fs::read_dir(&numbers)
        .unwrap()
        .filter_map(|entry| fs::read_link(entry.unwrap().path()).ok())
        .collect();
    let socket = fs::read_link(format!("/proc/self/fd/{}", listener.as_raw_fd())).unwrap();
    assert!(!held.contains(&socket), "{held:?} has {}", socket.display());
    assert!(!held.contains(&host.folder.join("lock")), "{held:?}");
    down(&SLEEPER, &host).unwrap();
}

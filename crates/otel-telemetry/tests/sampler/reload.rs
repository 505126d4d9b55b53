//! Rules from a file: reloaded on request and by watching, under load, and with invalid files.

use std::fs::{self, File};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, SystemTime};

use otel_telemetry::sampler::{FileError, Reloadable, Sampler};

use crate::support::{HIGH, decide_root};

/// Long enough for any machine; no successful test waits for it.
const PATIENCE: Duration = Duration::from_secs(60);

/// A file of a test, removed when it is dropped.
struct Rules(PathBuf);

impl Rules {
    fn new(name: &str) -> Self {
        static FILES: AtomicUsize = AtomicUsize::new(0);
        let n = FILES.fetch_add(1, Ordering::Relaxed);
        Self(std::env::temp_dir().join(format!("otel-telemetry-{}-{n}-{name}.json", std::process::id())))
    }

    fn with_ratio(name: &str, ratio: &str) -> Self {
        let rules = Self::new(name);
        rules.write_ratio(ratio);
        rules
    }

    fn write(&self, text: &str) {
        fs::write(&self.0, text).unwrap();
    }

    fn write_ratio(&self, ratio: &str) {
        self.write(&document(ratio));
    }

    /// Sets the modification time, because the system's resolution may be too coarse for a test.
    fn touch(&self, seconds: u64) {
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        File::options().write(true).open(&self.0).unwrap().set_modified(time).unwrap();
    }

    fn open(&self) -> Reloadable {
        Reloadable::open(&self.0, "orders").unwrap()
    }
}

impl Drop for Rules {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn document(ratio: &str) -> String {
    format!(
        r#"{{"file_format": "1.0", "tracer_provider": {{"sampler": {{"trace_id_ratio_based": {{"ratio": {ratio}}}}}}}}}"#
    )
}

fn state(sampler: &Sampler) -> String {
    decide_root(sampler, HIGH).1
}

#[test]
fn what_is_read_again_is_in_force_everywhere() {
    let file = Rules::with_ratio("again", "0.5");
    let handle = file.open();
    let (sampler, earlier_clone) = (handle.sampler(), handle.sampler().clone());
    assert_eq!(state(&sampler), "ot=th:8");
    file.write_ratio("0.25");
    assert_eq!(state(&sampler), "ot=th:8", "not before it is read");
    assert!(handle.clone().reload().unwrap());
    assert_eq!(state(&sampler), "ot=th:c");
    assert_eq!(state(&earlier_clone), "ot=th:c");
    assert!(!handle.reload().unwrap(), "nothing has changed");
}

#[test]
fn a_file_that_says_the_same_keeps_what_was_learnt() {
    let file = Rules::new("same");
    let text =
        r#"{"file_format": "1.0", "tracer_provider": {"sampler": {"adaptive": {"traces_per_second": 1}}}}"#;
    file.write(text);
    let handle = file.open();
    let sampler = handle.sampler();
    let last = (0..1_000).fold(String::new(), |_, _| state(&sampler));
    assert!(last.starts_with("ot=th:f"), "{last}");
    file.write(text);
    assert!(!handle.reload().unwrap());
    assert!(state(&sampler).starts_with("ot=th:f"));
}

#[test]
fn a_bad_file_keeps_the_rules_and_says_why() {
    let file = Rules::with_ratio("bad", "0.5");
    let handle = file.open();
    let sampler = handle.sampler();
    let path = file.0.display();

    file.write_ratio("2");
    let error = handle.reload().unwrap_err();
    assert!(matches!(error, FileError::Invalid { line: 1, .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.starts_with(&format!("{path}:1:")), "{text}");
    assert!(text.ends_with(": invalid value: floating point `2.0`, expected a ratio from 0 to 1"), "{text}");
    assert_eq!(state(&sampler), "ot=th:8");

    file.write(&" ".repeat((1 << 20) + 1));
    assert!(matches!(handle.reload().unwrap_err(), FileError::TooLong { .. }));
    assert_eq!(state(&sampler), "ot=th:8");

    fs::write(&file.0, b"\xff").unwrap();
    assert!(matches!(handle.reload().unwrap_err(), FileError::Read { .. }));
    fs::remove_file(&file.0).unwrap();
    let error = handle.reload().unwrap_err();
    assert!(error.to_string().starts_with(&format!("{path}: cannot be read: ")), "{error}");
    assert_eq!(state(&sampler), "ot=th:8");

    // The text that is restored is the one in use.
    file.write_ratio("0.5");
    assert!(!handle.reload().unwrap());
    file.write_ratio("0.25");
    assert!(handle.reload().unwrap());
    assert_eq!(state(&sampler), "ot=th:c");
}

#[test]
fn a_file_that_is_not_there_yet_can_come_later() {
    let file = Rules::new("later");
    assert!(matches!(Reloadable::open(&file.0, "orders").unwrap_err(), FileError::Read { .. }));
    let handle = Reloadable::with_initial(&file.0, "orders", Sampler::ratio(0.5));
    assert_eq!(state(&handle.sampler()), "ot=th:8");
    assert!(handle.reload().is_err());
    file.write_ratio("0.25");
    assert!(handle.reload().unwrap());
    assert_eq!(state(&handle.sampler()), "ot=th:c");
}

#[test]
fn the_service_chooses_the_rules() {
    let file = Rules::new("service");
    file.write(
        r#"{"file_format": "1.0", "tracer_provider": {"sampler": {"composite/development": {"rule_based": {"rules": [
            {"service": "orders", "sampler": {"probability": {"ratio": 0.5}}},
            {"sampler": {"probability": {"ratio": 0.25}}}]}}}}}"#,
    );
    assert_eq!(state(&file.open().sampler()), "ot=th:8");
    assert_eq!(state(&Reloadable::open(&file.0, "users").unwrap().sampler()), "ot=th:c");
}

#[test]
fn spans_that_start_during_reloads_see_one_table_or_the_other() {
    let file = Rules::with_ratio("load", "0.5");
    let handle = file.open();
    let sampler = handle.sampler();
    let done = AtomicBool::new(false);
    let (seen, news) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..4 {
            let (sampler, done, seen) = (&sampler, &done, seen.clone());
            scope.spawn(move || {
                let mut last = String::new();
                while !done.load(Ordering::Relaxed) {
                    let state = state(sampler);
                    assert!(state == "ot=th:8" || state == "ot=th:c", "{state}");
                    if state != last {
                        // The receiver is gone once the test has received enough changes.
                        let _ = seen.send(state.clone());
                        last = state;
                    }
                }
            });
        }
        // Runs until the threads have seen enough changes, far below the limit of rounds.
        let mut reports = 0;
        for round in 0..100_000 {
            let ratio = if round % 2 == 0 { "0.25" } else { "0.5" };
            file.write_ratio(ratio);
            assert!(handle.reload().unwrap());
            file.write("{");
            assert!(handle.reload().is_err());
            reports += news.try_iter().count();
            if reports >= 200 && round % 2 == 1 {
                break;
            }
        }
        done.store(true, Ordering::Relaxed);
        assert!(reports >= 200, "{reports}");
    });
    assert_eq!(state(&sampler), "ot=th:8");
}

#[test]
fn a_watched_file_is_read_when_it_changes() {
    let file = Rules::with_ratio("watched", "0.5");
    file.touch(1_000);
    let handle = file.open();
    let sampler = handle.sampler();
    let (sender, outcomes) = mpsc::channel();
    let watcher = handle
        .watch(Duration::ZERO, move |outcome| {
            let _ = sender.send(outcome.map_err(|error| error.to_string()));
        })
        .unwrap();

    let next = || outcomes.recv_timeout(PATIENCE).expect("the change is seen");
    file.write_ratio("0.25");
    // The file is written in two steps; a read between them finds it empty, which is an error before the change.
    while next() != Ok(true) {}
    assert_eq!(state(&sampler), "ot=th:c");

    fs::remove_file(&file.0).unwrap();
    while !next().is_err_and(|error| error.contains("cannot be read")) {}
    assert_eq!(state(&sampler), "ot=th:c");
    file.write_ratio("0.125");
    while next() != Ok(true) {}
    assert_eq!(state(&sampler), "ot=th:e");

    // Dropping returns after the thread has ended and its callback has dropped the sender.
    drop(watcher);
    while outcomes.try_recv().is_ok() {}
    assert_eq!(outcomes.try_recv(), Err(mpsc::TryRecvError::Disconnected));
}

#[test]
fn a_watcher_can_be_dropped_by_its_own_callback() {
    let file = Rules::with_ratio("own", "0.5");
    file.touch(1_000);
    let (give, take) = mpsc::channel();
    let (sender, outcomes) = mpsc::channel();
    let watcher = file
        .open()
        .watch(Duration::ZERO, move |_| {
            drop(take.recv());
            let _ = sender.send(());
        })
        .unwrap();
    give.send(watcher).unwrap();
    file.touch(2_000);
    outcomes.recv_timeout(PATIENCE).expect("dropping does not wait for itself");
    // The thread ends and drops its sender.
    assert_eq!(outcomes.recv_timeout(PATIENCE), Err(mpsc::RecvTimeoutError::Disconnected));
}

//! The journal in a file: reopened, locked, damaged, torn, full.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use otel_saga::flow::Phase;
use otel_saga::journal::{
    AfterAppend, AppendError, CreateOutcome, Cursor, Journal, JournalError, NewInstance, OpenError, Query,
    RedbJournal, Status,
};
use otel_saga::{RetryPolicy, Runtime, Saga, StepContext, StepError};

use crate::shop::{Fault, Shop, builder, order};
use crate::support::Scratch;

fn open(path: &Path) -> Arc<dyn Journal> {
    Arc::new(RedbJournal::open(path).unwrap())
}

fn records(instance: usize) -> Vec<Vec<u8>> {
    (0..6_usize).map(|record| format!("{instance}/{record}:").repeat(20 + record).into_bytes()).collect()
}

/// Fills a journal with many instances, in a file of several hundred pages.
async fn filled(path: &Path) {
    let journal = open(path);
    for instance in 0..40 {
        let id = format!("order/{instance:02}");
        let mut records = records(instance).into_iter();
        let new = NewInstance::new(&id, "order", 1, vec![records.next().unwrap()]);
        let CreateOutcome::New(mut cursor) = journal.create(new).await.unwrap() else { panic!("it exists") };
        for record in records {
            cursor = journal.append(&id, cursor, vec![record], AfterAppend::Continue).await.unwrap();
        }
    }
}

#[tokio::test]
async fn what_was_written_is_there_when_it_is_opened_again() {
    let dir = Scratch::new();
    let path = dir.path().join("j");
    filled(&path).await;
    let journal = open(&path);
    for instance in 0..40 {
        let loaded = journal.load(&format!("order/{instance:02}")).await.unwrap().unwrap();
        assert!(loaded.records == records(instance));
    }
    // Leases do not outlive the process, so that everything can be claimed at once.
    assert_eq!(journal.claim("w", None, 100).await.unwrap().len(), 40);
}

#[tokio::test]
async fn a_file_that_is_in_use_or_is_none_says_so() {
    let dir = Scratch::new();
    let path = dir.path().join("j");
    let held = open(&path);
    let second = RedbJournal::open(&path).unwrap_err();
    assert!(matches!(second, OpenError::InUse { .. }), "{second}");
    drop(held);
    drop(open(&path));

    let text = dir.path().join("text");
    fs::write(&text, "this is no journal".repeat(1000)).unwrap();
    let error = RedbJournal::open(&text).unwrap_err();
    assert!(matches!(error, OpenError::Failed { .. }), "{error}");
    let nowhere = RedbJournal::open(dir.path().join("no/such/folder")).unwrap_err();
    assert!(matches!(nowhere, OpenError::Failed { .. }), "{nowhere}");
}

/// Checks that a damaged file yields the written data, less of it, or an error, and never anything else.
async fn assert_no_wrong_bytes(path: &Path, what: &str) -> bool {
    let Ok(journal) = RedbJournal::open(path) else { return true };
    let mut noticed = false;
    for instance in 0..40 {
        match journal.load(&format!("order/{instance:02}")).await {
            Ok(Some(loaded)) => {
                let written = records(instance);
                noticed |= loaded.records.len() < written.len();
                assert!(written.starts_with(&loaded.records), "{what}: wrong bytes in {instance}");
            }
            Ok(None) | Err(_) => noticed = true,
        }
    }
    // Unreadable instances do not block the others.
    let _ = journal.list(&Query::default()).await;
    noticed
}

#[tokio::test]
async fn a_damaged_file_gives_errors_and_no_wrong_bytes() {
    let dir = Scratch::new();
    let path = dir.path().join("j");
    filled(&path).await;
    let whole = fs::read(&path).unwrap();
    let damaged = dir.path().join("damaged");
    let mut noticed = 0;
    for round in 0..60_usize {
        let mut bytes = whole.clone();
        // Damages one bit or a range, at places spread over the file.
        let at = round * 7919 * 131 % bytes.len();
        if round % 2 == 0 {
            bytes[at] ^= 1 << (round % 8);
        } else {
            let end = (at + 100).min(bytes.len());
            bytes[at..end].fill(0);
        }
        fs::write(&damaged, bytes).unwrap();
        noticed += usize::from(assert_no_wrong_bytes(&damaged, &format!("round {round}")).await);
    }
    println!("{noticed} of 60 were noticed; the others had hit what is not in use");
    assert!(noticed > 0, "the damage did no harm: it is no test");
}

#[tokio::test]
async fn a_file_that_was_cut_gives_errors_and_no_wrong_bytes() {
    let dir = Scratch::new();
    let path = dir.path().join("j");
    filled(&path).await;
    let whole = fs::read(&path).unwrap();
    let cut = dir.path().join("cut");
    for round in 0..12 {
        fs::write(&cut, &whole[..whole.len() * round / 12]).unwrap();
        assert_no_wrong_bytes(&cut, &format!("cut to {round}/12")).await;
    }
}

/// Flips bytes in all copies of one instance's record, found by its text.
fn spoil(path: &Path, needle: &str) {
    let mut bytes = fs::read(path).unwrap();
    let needle = needle.as_bytes();
    let places: Vec<usize> =
        (0..bytes.len() - needle.len()).filter(|at| &bytes[*at..*at + needle.len()] == needle).collect();
    assert!(!places.is_empty());
    for at in places {
        bytes[at] ^= 0xff;
    }
    fs::write(path, bytes).unwrap();
}

#[tokio::test]
async fn one_damaged_record_is_an_error_of_its_instance_alone() {
    let dir = Scratch::new();
    let path = dir.path().join("j");
    filled(&path).await;
    spoil(&path, "17/3:17/3:17/3:");
    let journal = open(&path);
    let error = journal.load("order/17").await.unwrap_err();
    assert!(matches!(&error, JournalError::Damaged { at } if at == "order/17"), "{error}");
    assert!(journal.load("order/16").await.unwrap().unwrap().records == records(16));
}

#[tokio::test]
async fn a_replacement_does_not_pass_over_a_damaged_record() {
    let dir = Scratch::new();
    let path = dir.path().join("j");
    filled(&path).await;
    spoil(&path, "17/3:17/3:17/3:");
    let journal = open(&path);
    let before = journal.summary("order/17").await.unwrap().unwrap();
    for from in 0..=3 {
        let replaced = journal.replace("order/17", before.cursor(), from, vec![]).await;
        let damaged =
            matches!(&replaced, Err(AppendError::Journal(JournalError::Damaged { at })) if at == "order/17");
        assert!(damaged, "from {from}: {replaced:?}");
        assert_eq!(journal.summary("order/17").await.unwrap().unwrap(), before, "from {from}");
    }
    // Records after the damaged one can be replaced, and the instance stays damaged.
    let after = journal.replace("order/17", before.cursor(), 4, vec![b"new".to_vec()]).await.unwrap();
    assert_eq!(after, Cursor::new(5, before.epoch + 1));
    assert!(matches!(journal.load("order/17").await, Err(JournalError::Damaged { .. })));
    // Other instances can be replaced, also after the errors.
    let cursor = journal.summary("order/16").await.unwrap().unwrap().cursor();
    journal.replace("order/16", cursor, 2, vec![b"new".to_vec()]).await.unwrap();
    let expected = [&records(16)[..2], &[b"new".to_vec()]].concat();
    assert!(journal.load("order/16").await.unwrap().unwrap().records == expected);
}

#[tokio::test]
async fn a_replacement_in_a_damaged_file_gives_errors_and_no_wrong_bytes() {
    let dir = Scratch::new();
    let path = dir.path().join("j");
    filled(&path).await;
    let whole = fs::read(&path).unwrap();
    let damaged = dir.path().join("damaged");
    // Most of the file is not in use, and zero.
    let used: Vec<usize> = (0..whole.len()).filter(|at| whole[*at] != 0).collect();
    let (mut refused, mut done) = (0, 0);
    for round in 0..40_usize {
        let mut bytes = whole.clone();
        let (at, from) = (used[round * 7919 * 131 % used.len()], round % 6);
        let end = (at + 100).min(bytes.len());
        bytes[at..end].fill(0);
        fs::write(&damaged, bytes).unwrap();
        let Ok(journal) = RedbJournal::open(&damaged) else { continue };
        for instance in 0..40 {
            let id = format!("order/{instance:02}");
            let Ok(Some(summary)) = journal.summary(&id).await else { continue };
            let new = vec![format!("new {instance}").into_bytes()];
            let is_done = journal.replace(&id, summary.cursor(), from as u64, new.clone()).await.is_ok();
            (refused, done) = (refused + usize::from(!is_done), done + usize::from(is_done));
            // An error can have closed the file, so that it is opened again for this call.
            let Ok(Some(loaded)) = journal.load(&id).await else { continue };
            let (old, replaced) = (records(instance), [&records(instance)[..from], &new].concat());
            let is_written = loaded.records == replaced || (!is_done && old.starts_with(&loaded.records));
            assert!(is_written, "round {round}: wrong bytes in {instance}");
        }
    }
    println!("{done} replacements were done, {refused} refused");
    assert!(refused > 0 && done > 0, "{refused} refused, {done} done: it is no test");
}

#[tokio::test]
async fn a_damaged_saga_is_parked_and_the_others_go_on() {
    let dir = Scratch::new();
    let path = dir.path().join("j");
    let shop = Shop::default();
    {
        let journal = open(&path);
        let runtime = builder(&journal, &shop, "w").start();
        shop.script("pay", Phase::Action, [Fault::Slow(600_000), Fault::Slow(600_000)]);
        for key in ["first", "second"] {
            runtime.start(&order(1), key, 7).await.unwrap();
        }
        while shop.world().calls.len() < 4 {
            tokio::task::yield_now().await;
        }
        drop(runtime);
        // Aborted tasks drop the journal when they are polled.
        while Arc::strong_count(&journal) > 1 {
            tokio::task::yield_now().await;
        }
    }
    spoil(&path, r#""intent":{"step":1,"phase":"action","attempt":1"#);
    let journal = open(&path);
    let runtime = builder(&journal, &shop, "w2").start();
    let fine = runtime.start(&order(1), "third", 7).await.unwrap();
    assert_eq!(runtime.wait(&fine).await.unwrap(), Status::Completed);
    for id in ["order/first", "order/second"] {
        loop {
            let page = journal.list(&Query::default()).await.unwrap();
            if page.iter().any(|summary| summary.id == id && summary.status == Status::Parked) {
                break;
            }
            tokio::task::yield_now().await;
        }
    }
}

async fn waits(cx: StepContext<Arc<AtomicBool>>, _: u32, (): ()) -> Result<(), StepError> {
    if cx.state().load(Ordering::SeqCst) { Ok(()) } else { Err(StepError::uncertain("closed")) }
}

async fn passes<I>(_: StepContext<Arc<AtomicBool>>, _: I, (): ()) -> Result<(), StepError> {
    Ok(())
}

#[tokio::test]
async fn a_long_journal_is_recovered_completely_beside_an_input_of_another_type() {
    let dir = Scratch::new();
    let path = dir.path().join("j");
    let wait = RetryPolicy::exponential(Duration::from_millis(1), Duration::from_millis(1));
    let mut long = Saga::builder("long", 1);
    for step in 0..400 {
        long.step(format!("s{step}"), (), passes).undo(async |_, _, (), _| Ok(()));
    }
    long.step("last", (), waits).retry(wait).pivot();
    let mut before = Saga::builder("changed", 1);
    before.step("last", (), waits).retry(wait).pivot();
    let (long, before) = (long.build().unwrap(), before.build().unwrap());
    let is_open = Arc::<AtomicBool>::default();
    {
        let runtime = Runtime::builder(open(&path), Arc::clone(&is_open)).with_saga(&long).with_saga(&before);
        let runtime = runtime.start();
        runtime.start(&before, "1", 7).await.unwrap();
        let id = runtime.start(&long, "1", 7).await.unwrap();
        while runtime.status(&id).await.unwrap().state.steps[400].action.failures == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        runtime.shutdown(Duration::from_secs(10)).await;
    }
    is_open.store(true, Ordering::SeqCst);
    // A deployment by mistake: the same name and version, with another type of input.
    let mut after = Saga::<_, String>::builder("changed", 1);
    after.step("last", (), passes).pivot();
    let runtime = Runtime::builder(open(&path), is_open).with_saga(&long).with_saga(&after.build().unwrap());
    let runtime = runtime.start();
    assert_eq!(runtime.wait("long/1").await.unwrap(), Status::Completed);
    let state = runtime.status("long/1").await.unwrap().state;
    assert!(state.steps[..400].iter().all(|step| step.action.attempts == 1), "a step was repeated");
    assert_eq!(runtime.wait("changed/1").await.unwrap(), Status::Parked);
    assert!(runtime.shutdown(Duration::from_secs(10)).await);
}

/// The environment variable with the path of the file, which marks the child process.
#[cfg(unix)]
const CHILD: &str = "OTEL_SAGA_FULL";

/// Complements the simulated faults: a process whose files may not grow beyond a limit of the system.
#[cfg(unix)]
#[tokio::test]
async fn a_process_that_may_write_no_more_loses_nothing_that_was_answered() {
    if let Some(path) = std::env::var_os(CHILD) {
        return fill(Path::new(&path)).await;
    }
    let dir = Scratch::new();
    let path = dir.path().join("j");
    // The child ignores the signal that accompanies the error.
    let output = std::process::Command::new("sh")
        .args(["-c", r#"trap '' XFSZ; ulimit -f 6000; exec "$0" "$@""#])
        .arg(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "file::a_process_that_may_write_no_more_loses_nothing_that_was_answered",
            "--nocapture",
        ])
        .env(CHILD, &path)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let word = |name: &str| said.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("nothing");
    let answered: usize = word("answered ").parse().unwrap();
    assert!(word("error ").contains("File too large"), "{said}");
    let journal = open(&path);
    let loaded = journal.load("a").await.unwrap().unwrap();
    assert!((answered..=answered + 1).contains(&loaded.records.len()), "{answered}, {:?}", loaded.summary);
    let record = vec![b"x".to_vec()];
    journal.append("a", loaded.summary.cursor(), record, AfterAppend::Continue).await.unwrap();
}

#[cfg(unix)]
#[expect(clippy::print_stdout, reason = "the parent reads it")]
async fn fill(path: &Path) {
    use std::error::Error as _;
    let journal = open(path);
    let new = NewInstance::new("a", "order", 1, vec![b"first".to_vec()]);
    let CreateOutcome::New(mut cursor) = journal.create(new).await.unwrap() else { panic!("it is new") };
    let error = loop {
        match journal.append("a", cursor, vec![vec![b'x'; 50_000]], AfterAppend::Continue).await {
            Ok(next) => cursor = next,
            Err(error) => break error,
        }
    };
    println!("\nanswered {}", cursor.head);
    println!("error {error}: {}", error.source().unwrap());
}

//! Tests of the file on a disk that is full or read-only, or that fails during a write: calls return a clear error or
//! wait without spinning, no acknowledged append is lost, and work continues afterwards.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::backend::Disk;
use super::thread::Thread;
use super::{OpenError, RedbJournal};
use crate::error::with_causes;
use crate::journal::{AfterAppend, AppendError, CreateOutcome, Cursor, Journal, NewInstance, Query, Status};
use crate::{Runtime, Saga, StepContext, StepError};

/// A file that is removed after the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("otel-saga-redb-{}-{name}", std::process::id())))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn open(file: &Scratch, disk: &Arc<Disk>) -> Result<RedbJournal, OpenError> {
    Ok(RedbJournal { path: file.0.clone(), thread: Thread::open_on(Arc::clone(disk), &file.0)? })
}

/// A fault of a disk that has room for this number of bytes.
fn full(room: u64) -> impl FnMut(u64, usize) -> Result<(), (usize, io::Error)> + Send + 'static {
    move |end, _| if end > room { Err((0, io::ErrorKind::StorageFull.into())) } else { Ok(()) }
}

async fn create(journal: &RedbJournal, id: &str) -> Cursor {
    let new = NewInstance::new(id, "order", 1, vec![b"first".to_vec()]);
    match journal.create(new).await.unwrap() {
        CreateOutcome::New(cursor) => cursor,
        CreateOutcome::Exists => panic!("it is new"),
    }
}

fn record(number: u64) -> Vec<u8> {
    format!("{number}:").repeat(500).into_bytes()
}

/// Appends until an append fails. Returns the last cursor and the error.
async fn append_until_it_fails(journal: &RedbJournal, mut cursor: Cursor) -> (Cursor, AppendError) {
    loop {
        match journal.append("a", cursor, vec![record(cursor.head)], AfterAppend::Continue).await {
            Ok(next) => cursor = next,
            Err(error) => return (cursor, error),
        }
    }
}

async fn assert_whole(journal: &RedbJournal, cursor: Cursor) {
    let loaded = journal.load("a").await.unwrap().unwrap();
    // One more record may exist: the outcome of its append is unknown.
    assert!((cursor.head..=cursor.head + 1).contains(&loaded.summary.head), "{:?}", loaded.summary);
    let expected = (1..loaded.summary.head).map(record);
    assert!(loaded.records[1..].iter().cloned().eq(expected));
}

#[tokio::test]
async fn a_full_disk_is_an_error_that_says_so_and_room_lets_it_go_on() {
    let (file, disk) = (Scratch::new("full"), Arc::new(Disk::default()));
    let journal = open(&file, &disk).unwrap();
    let mut cursor = create(&journal, "a").await;
    for megabytes in [2, 3, 4] {
        disk.faults.set(full(megabytes << 20));
        let (reached, error) = append_until_it_fails(&journal, cursor).await;
        assert!(matches!(error, AppendError::Journal(_)), "{error:?}");
        let text = with_causes(&error);
        assert!(text.contains("no storage space"), "{text}");
        // Each further call fails while the disk is full, and opens the file at most once.
        let before = disk.faults.opened();
        for _ in 0..20 {
            let answer = journal.create(NewInstance::new("b", "order", 1, vec![record(7); 1000])).await;
            assert!(answer.is_err(), "{answer:?}");
        }
        assert!(disk.faults.opened() - before <= 20);
        disk.faults.clear();
        assert_whole(&journal, reached).await;
        assert!(journal.load("b").await.unwrap().is_none());
        cursor = journal.load("a").await.unwrap().unwrap().summary.cursor();
        cursor = journal.append("a", cursor, vec![record(cursor.head)], AfterAppend::Continue).await.unwrap();
    }
    drop(journal);
    assert_whole(&open(&file, &Arc::default()).unwrap(), cursor).await;
}

#[tokio::test]
async fn a_disk_that_turns_read_only_is_an_error_and_opening_it_is_one_too() {
    let read_only = |_, _| Err((0, io::ErrorKind::ReadOnlyFilesystem.into()));
    let (file, disk) = (Scratch::new("read-only"), Arc::new(Disk::default()));
    let journal = open(&file, &disk).unwrap();
    let cursor = create(&journal, "a").await;
    disk.faults.set(read_only);
    let (reached, error) = append_until_it_fails(&journal, cursor).await;
    let text = with_causes(&error);
    assert!(text.contains("read-only"), "{text}");
    drop(journal);
    let error = open(&file, &disk).unwrap_err();
    assert!(matches!(error, OpenError::Failed { .. }), "{error:?}");
    let text = with_causes(&error);
    assert!(text.contains("read-only") && text.contains("cannot be opened"), "{text}");
    disk.faults.clear();
    assert_whole(&open(&file, &disk).unwrap(), reached).await;
}

#[tokio::test]
async fn a_write_that_is_torn_loses_nothing_that_was_answered() {
    for last in 1..60_u64 {
        let (file, disk) = (Scratch::new(&format!("torn-{last}")), Arc::new(Disk::default()));
        let journal = open(&file, &disk).unwrap();
        let mut cursor = create(&journal, "a").await;
        for _ in 0..3 {
            cursor =
                journal.append("a", cursor, vec![record(cursor.head)], AfterAppend::Continue).await.unwrap();
        }
        // One write is cut in half and no later one succeeds, as in a power failure.
        let mut writes = 0;
        disk.faults.set(move |_, len| {
            writes += 1;
            if writes < last { Ok(()) } else { Err((if writes == last { len / 2 } else { 0 }, gone())) }
        });
        let (reached, _) = append_until_it_fails(&journal, cursor).await;
        drop(journal);
        let journal = open(&file, &Arc::default()).unwrap();
        assert_whole(&journal, reached).await;
        let cursor = journal.load("a").await.unwrap().unwrap().summary.cursor();
        journal.append("a", cursor, vec![record(cursor.head)], AfterAppend::Continue).await.unwrap();
    }
}

/// Replaces the last records of an instance while one write is cut, for each write in turn, until no write is cut.
#[tokio::test]
async fn a_replacement_whose_write_is_torn_is_done_or_not_done() {
    let (mut kept, mut replaced) = (0, 0);
    for last in 1.. {
        let (file, disk) = (Scratch::new(&format!("torn-replace-{last}")), Arc::new(Disk::default()));
        let journal = open(&file, &disk).unwrap();
        let mut cursor = create(&journal, "a").await;
        for _ in 0..6 {
            cursor =
                journal.append("a", cursor, vec![record(cursor.head)], AfterAppend::Continue).await.unwrap();
        }
        let beside = create(&journal, "b").await;
        let before = journal.load("a").await.unwrap().unwrap().records;
        let short = vec![b"short".to_vec()];
        let after = [&before[..3], &short].concat();
        let cuts = Arc::new(AtomicU64::new(0));
        let (cut, mut writes) = (Arc::clone(&cuts), 0);
        disk.faults.set(move |_, len| {
            writes += 1;
            if writes < last {
                return Ok(());
            }
            cut.fetch_add(1, Ordering::SeqCst);
            Err((if writes == last { len / 2 } else { 0 }, gone()))
        });
        let result = journal.replace("a", cursor, 3, short.clone()).await;
        disk.faults.clear();
        drop(journal);
        let journal = open(&file, &Arc::default()).unwrap();
        let loaded = journal.load("a").await.unwrap().unwrap();
        let is_done = loaded.summary.cursor() != cursor;
        assert!(is_done || result.is_err(), "write {last}: acknowledged and lost");
        assert_eq!(loaded.records, if is_done { after } else { before }, "write {last}");
        assert_eq!(journal.load("b").await.unwrap().unwrap().summary.cursor(), beside);
        // The worker repeats what was not done, and continues from there.
        let mut cursor = loaded.summary.cursor();
        if !is_done {
            cursor = journal.replace("a", cursor, 3, short).await.unwrap();
        }
        assert_eq!(cursor, Cursor::new(4, 2), "write {last}");
        journal.append("a", cursor, vec![record(4)], AfterAppend::Continue).await.unwrap();
        (kept, replaced) = (kept + u64::from(!is_done), replaced + u64::from(is_done));
        if cuts.load(Ordering::SeqCst) == 0 {
            break;
        }
    }
    println!("{kept} cut writes left the records, with {replaced} the replacement was done");
    assert!(kept > 1, "no write was cut: it is no test");
}

fn gone() -> io::Error {
    io::Error::other("the power is gone")
}

async fn act(_: StepContext<()>, _: u32, (): ()) -> Result<String, StepError> {
    // Large enough that the file has to grow for some of them.
    Ok("x".repeat(100_000))
}

async fn undo(_: StepContext<()>, _: u32, (): (), _: Option<String>) -> Result<(), StepError> {
    Ok(())
}

#[tokio::test]
async fn sagas_wait_for_room_without_spinning_and_go_on() {
    let (file, disk) = (Scratch::new("waiting"), Arc::new(Disk::default()));
    let journal: Arc<dyn Journal> = Arc::new(open(&file, &disk).unwrap());
    let mut saga = Saga::builder("large", 1);
    for step in ["one", "two", "three"] {
        saga.step(step, (), act).undo(undo);
    }
    let saga = saga.build().unwrap();
    let runtime = Runtime::builder(Arc::clone(&journal), ()).with_saga(&saga).start();
    // The disk has room for the starts only.
    let mut ids = vec![runtime.start(&saga, "0", 7).await.unwrap()];
    assert_eq!(runtime.wait(&ids[0]).await.unwrap(), Status::Completed);
    let len = std::fs::metadata(&file.0).unwrap().len();
    disk.faults.set(full(len));
    let mut refused = 0;
    for key in 1..40 {
        match runtime.start(&saga, &key.to_string(), 7).await {
            Ok(id) => ids.push(id),
            Err(_) => refused += 1,
        }
    }
    let opened = disk.faults.opened();
    assert!(refused > 0 || opened > 1, "the disk was large enough: it is no test");
    tokio::time::sleep(Duration::from_secs(1)).await;
    let reopened = disk.faults.opened() - opened;
    // Each active saga retries after 50 ms, 100, 200 …; claims and counts call the journal as well.
    assert!(reopened < 20 * 40, "opened {reopened} times in a second");
    disk.faults.clear();
    for id in &ids {
        assert_eq!(runtime.wait(id).await.unwrap(), Status::Completed, "{id}");
    }
    // A refused start was refused, or its reply was lost: a start with the same key settles it.
    for key in 1..40 {
        let id = runtime.start(&saga, &key.to_string(), 7).await.unwrap();
        assert_eq!(runtime.wait(&id).await.unwrap(), Status::Completed);
    }
    assert_eq!(journal.list(&Query::default()).await.unwrap().len(), 40);
}

#[tokio::test]
async fn counts_are_those_of_what_is_there() {
    let file = Scratch::new("counts");
    let journal = open(&file, &Arc::default()).unwrap();
    for number in 0..50 {
        let cursor = create(&journal, &format!("i{number}")).await;
        let after_append = match number % 5 {
            0 => AfterAppend::Parked,
            1 => AfterAppend::Finished(crate::flow::SagaOutcome::Completed),
            2 => AfterAppend::Runnable { at: 5 },
            _ => AfterAppend::Continue,
        };
        journal.append(&format!("i{number}"), cursor, vec![], after_append).await.unwrap();
    }
    assert_eq!(journal.claim("w", None, 7).await.unwrap().len(), 7);
    assert_eq!(journal.prune(u64::MAX, 4).await.unwrap(), 4);
    let counts = journal.counts().await.unwrap();
    let all = journal.list(&Query { limit: 1000, ..Query::default() }).await.unwrap();
    for count in &counts {
        let of = all.iter().filter(|summary| summary.status == count.status);
        assert_eq!(of.clone().count() as u64, count.count, "{count:?}");
        assert_eq!(of.map(|summary| summary.created).min(), Some(count.oldest), "{count:?}");
        let query = Query { status: Some(count.status), limit: 1000, ..Query::default() };
        assert_eq!(journal.list(&query).await.unwrap().len() as u64, count.count);
    }
    assert_eq!(counts.iter().map(|count| count.count).sum::<u64>(), 46);
}

//! Tests of a failing job: the other jobs of its transaction, and the file, which is opened again.

use std::path::PathBuf;

use super::*;
use crate::journal::{InstanceSummary, NewInstance};

/// A file that is removed after the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("otel-saga-thread-{}-{name}", std::process::id())))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

async fn put(thread: &Thread, id: &'static str) -> Result<(), JournalError> {
    let put = move |tables: &mut Tables<'_>, _: &mut Leases| {
        tables.create(&InstanceSummary::new(&NewInstance::new(id, "order", 1, Vec::new()), 1), &[])
    };
    thread.call(true, put).await
}

async fn is_there(thread: &Thread, id: &'static str) -> bool {
    let summary = thread.call(false, move |tables, _| tables.find(id).map(|kept| kept.is_some())).await;
    summary.unwrap()
}

#[tokio::test]
async fn a_job_that_fails_takes_its_transaction_along_and_the_file_is_opened_again() {
    let file = Scratch::new("fails");
    let thread = Thread::open(&file.0).unwrap();
    put(&thread, "before").await.unwrap();
    let failing = thread.call::<()>(true, |tables, _| {
        tables.create(&InstanceSummary::new(&NewInstance::new("half", "order", 1, Vec::new()), 1), &[])?;
        Err(Fault::Storage("the disk is full".into()))
    });
    let error = failing.await.unwrap_err();
    assert!(matches!(error, JournalError::Failed(_)), "{error:?}");
    put(&thread, "after").await.unwrap();
    assert!(is_there(&thread, "before").await && is_there(&thread, "after").await);
    assert!(!is_there(&thread, "half").await);
}

#[tokio::test]
async fn after_a_panic_nobody_knows_and_the_file_is_opened_again() {
    let file = Scratch::new("panics");
    let thread = Thread::open(&file.0).unwrap();
    let error = thread.call::<()>(true, |_, _| panic!("as redb does on a damaged page")).await.unwrap_err();
    assert!(matches!(error, JournalError::Unknown(_)), "{error:?}");
    put(&thread, "after").await.unwrap();
    assert!(is_there(&thread, "after").await);
}

#[tokio::test]
async fn a_file_that_cannot_be_opened_again_fails_until_it_can() {
    let file = Scratch::new("away");
    let away = Scratch::new("away-meanwhile");
    let thread = Thread::open(&file.0).unwrap();
    put(&thread, "before").await.unwrap();
    std::fs::rename(&file.0, &away.0).unwrap();
    let _ = thread.call::<()>(true, |_, _| panic!("so that it is opened again")).await;
    let error = put(&thread, "lost").await.unwrap_err();
    assert!(matches!(error, JournalError::Failed(_)), "{error:?}");
    assert!(!file.0.exists(), "an empty journal has taken its place");
    std::fs::rename(&away.0, &file.0).unwrap();
    assert!(is_there(&thread, "before").await);
    assert!(!is_there(&thread, "lost").await);
    put(&thread, "after").await.unwrap();
}

#[tokio::test]
async fn what_waits_while_one_is_committed_goes_together() {
    let file = Scratch::new("together");
    let thread = Thread::open(&file.0).unwrap();
    let jobs = (0..200_u64).map(|number| {
        thread.call(true, move |tables, _| {
            let new = NewInstance::new(format!("i{number}"), "order", 1, Vec::new());
            tables.create(&InstanceSummary::new(&new, number), &[])
        })
    });
    let done = futures_util::future::join_all(jobs).await;
    assert!(done.into_iter().all(|one| one.is_ok()));
    let counts = thread.call(false, |tables, _| tables.counts()).await.unwrap();
    assert_eq!(counts[0].count, 200);
}

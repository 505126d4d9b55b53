//! A coordinator whose journal was lost: another one is in its place, and participants hold prepared branches.

use std::sync::Arc;

use async_trait::async_trait;
use otel_saga::journal::{Journal, MemoryJournal};
use otel_saga::two_phase::{Acknowledgement, Branch, Coordinator, Participant, PostgresParticipant, Vote};

use super::lines::{Lines, set_default};
use super::support::{BEGIN, Banks, until};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A participant that never gets a commit.
#[derive(Debug)]
struct Unreachable(PostgresParticipant);

#[async_trait]
impl Participant for Unreachable {
    fn name(&self) -> &str {
        self.0.name()
    }

    async fn prepare(&self, branch: &Branch) -> Result<Vote, BoxError> {
        self.0.prepare(branch).await
    }

    async fn commit(&self, _: &Branch) -> Result<Acknowledgement, BoxError> {
        Err("unreachable".into())
    }

    async fn rollback(&self, branch: &Branch) -> Result<Acknowledgement, BoxError> {
        self.0.rollback(branch).await
    }
}

fn new_journal() -> Arc<dyn Journal> {
    Arc::new(MemoryJournal::new())
}

/// Starts a coordinator of both participants over this journal.
async fn coordinator(banks: &Banks, journal: &Arc<dyn Journal>, is_new: bool) -> Coordinator {
    let [a, b] = banks.participants.clone();
    let mut builder = banks.builder(journal).with_participant(a).with_participant(b);
    if is_new {
        builder = builder.with_new_journal();
    }
    builder.start().await.unwrap()
}

/// Waits until both participants remember the journal.
async fn remembered(banks: &Banks, journal: &Arc<dyn Journal>) {
    let identity = journal.identity().await.unwrap().unwrap();
    for pool in &banks.pools {
        until("the journal to be remembered", || async {
            let remembered = sqlx::query_scalar("SELECT journal FROM twopc_journal").fetch_optional(pool);
            remembered.await.unwrap().is_some_and(|remembered: String| remembered == identity)
        })
        .await;
    }
}

/// Prepares a branch at the first participant that is in no journal.
async fn prepare(banks: &Banks, key: &str) -> String {
    let branch = Branch::parse(format!("{}/a/transfer/{key}", banks.coordinator)).unwrap();
    let mut work = banks.participants[0].begin_branch(branch.clone()).await.unwrap();
    sqlx::query("UPDATE account SET cents = cents - 100").execute(work.connection()).await.unwrap();
    assert_eq!(work.prepare(&branch).await.unwrap(), Vote::Yes);
    branch.as_str().to_owned()
}

#[tokio::test]
async fn a_commit_that_one_participant_has_reaches_the_other_one() {
    let lines = Lines::default();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(lines.clone()).finish();
    let _guard = set_default(subscriber);
    let banks = Banks::new().await;
    let [a, b] = banks.participants.clone();
    let first = banks.builder(&new_journal()).with_participant(a).with_participant(Unreachable(b));
    let first = first.start().await.unwrap();
    let begun = first.begin("transfer", "k1").unwrap();
    let debit = banks.branch(0, &begun, -100).await;
    let credit = banks.branch(1, &begun, 100).await;
    let outcome = begun.with(debit).with(credit).commit().await.unwrap();
    assert_eq!((outcome.is_committed(), outcome.unacknowledged), (true, vec!["b".to_owned()]));
    drop(first);
    assert_eq!(banks.cents().await, [BEGIN - 100, BEGIN]);
    let prepared = banks.prepared().await;
    assert_eq!(prepared.len(), 1);

    // The wrong file, an empty volume, a backup of yesterday.
    let second = coordinator(&banks, &new_journal(), false).await;
    until("the commit of the branch", || async { banks.prepared().await.is_empty() }).await;
    assert_eq!(banks.cents().await, [BEGIN - 100, BEGIN + 100]);
    let text = lines.text();
    for part in [
        "the coordinator's journal was lost or swapped",
        "a prepared transaction that the journal does not know is committed",
        &prepared[0],
        "`a` has committed its branch",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    drop(second);
    banks.drop().await;
}

#[tokio::test]
async fn a_branch_without_proof_stays_prepared_until_the_new_journal_is_accepted() {
    let lines = Lines::default();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(lines.clone()).finish();
    let _guard = set_default(subscriber);
    let banks = Banks::new().await;
    let journal = new_journal();
    let first = coordinator(&banks, &journal, false).await;
    remembered(&banks, &journal).await;
    drop(first);
    let branch = prepare(&banks, "lost").await;

    let journal = new_journal();
    let second = coordinator(&banks, &journal, false).await;
    let event = "a prepared transaction that the journal does not know stays prepared";
    until("the alert", || async { lines.text().contains(event) }).await;
    assert!(lines.text().lines().any(|line| line.contains(event) && line.contains(&branch)));
    assert_eq!(banks.prepared().await, [&*branch]);
    drop(second);

    let third = coordinator(&banks, &journal, true).await;
    until("the rollback", || async { banks.prepared().await.is_empty() }).await;
    drop(third);
    assert_eq!(banks.cents().await, [BEGIN, BEGIN]);
    let event = "a prepared transaction that the journal does not know is rolled back";
    assert!(lines.text().lines().any(|line| line.contains(event) && line.contains(&branch)));

    // The journal is known from then on.
    let branch = prepare(&banks, "late").await;
    let fourth = coordinator(&banks, &journal, false).await;
    until("the rollback", || async { banks.prepared().await.is_empty() }).await;
    drop(fourth);
    assert!(lines.text().lines().any(|line| line.contains(event) && line.contains(&branch)));
    banks.drop().await;
}

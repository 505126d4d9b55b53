//! The Postgres participant alone: each call repeated, late, and out of order.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use otel_saga::BoxError;
use otel_saga::two_phase::{Acknowledgement, Branch, Participant, PostgresBranch, PostgresParticipant, Vote};
use sqlx::AssertSqlSafe;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use tokio::sync::oneshot;

use super::support::{BEGIN, Banks, until, url};

/// A branch that delays its vote after it has prepared.
#[derive(Clone)]
pub(crate) struct Slow {
    inner: Arc<PostgresBranch>,
    proceed: Arc<Mutex<Option<oneshot::Receiver<()>>>>,
    voted: Arc<AtomicBool>,
}

impl Slow {
    pub(crate) fn new(branch: PostgresBranch) -> Self {
        Self { inner: Arc::new(branch), proceed: Arc::default(), voted: Arc::default() }
    }

    /// Returns true once the branch has prepared.
    pub(crate) fn has_voted(&self) -> bool {
        self.voted.load(Ordering::SeqCst)
    }

    /// Delays the vote until the returned sender is used.
    pub(crate) async fn prepared(&self) -> oneshot::Sender<()> {
        let (proceed, wait) = oneshot::channel();
        *self.proceed.lock().unwrap() = Some(wait);
        proceed
    }
}

impl fmt::Debug for Slow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait]
impl Participant for Slow {
    fn name(&self) -> &str {
        self.inner.name()
    }

    async fn prepare(&self, branch: &Branch) -> Result<Vote, BoxError> {
        let vote = self.inner.prepare(branch).await;
        self.voted.store(true, Ordering::SeqCst);
        let wait = self.proceed.lock().unwrap().take();
        if let Some(wait) = wait {
            wait.await?;
        }
        vote
    }

    async fn commit(&self, branch: &Branch) -> Result<Acknowledgement, BoxError> {
        self.inner.commit(branch).await
    }

    async fn rollback(&self, branch: &Branch) -> Result<Acknowledgement, BoxError> {
        self.inner.rollback(branch).await
    }
}

async fn begin(banks: &Banks, branch: &Branch, cents: i64) -> PostgresBranch {
    let mut open = banks.participants[0].begin_branch(branch.clone()).await.unwrap();
    let add = sqlx::query("UPDATE account SET cents = cents + $1 WHERE id = 1").bind(cents);
    add.execute(open.connection()).await.unwrap();
    open
}

fn branch(banks: &Banks, key: &str) -> Branch {
    Branch::parse(format!("{}/a/transfer/{key}", banks.coordinator)).unwrap()
}

fn is_no(vote: &Vote) -> bool {
    matches!(vote, Vote::No(_))
}

#[tokio::test]
async fn each_call_again_is_answered_as_it_was() {
    let banks = Banks::new().await;
    let participant = &banks.participants[0];
    let one = branch(&banks, "1");
    let open = begin(&banks, &one, 5).await;
    for _ in 0..2 {
        assert_eq!(open.prepare(&one).await.unwrap(), Vote::Yes);
        assert_eq!(participant.prepare(&one).await.unwrap(), Vote::Yes);
    }
    for _ in 0..2 {
        assert_eq!(participant.commit(&one).await.unwrap(), Acknowledgement::Done);
    }
    assert_eq!(participant.rollback(&one).await.unwrap(), Acknowledgement::Committed);
    let two = branch(&banks, "2");
    let open = begin(&banks, &two, 5).await;
    assert_eq!(open.prepare(&two).await.unwrap(), Vote::Yes);
    for _ in 0..2 {
        assert_eq!(participant.rollback(&two).await.unwrap(), Acknowledgement::Done);
    }
    assert_eq!(participant.commit(&two).await.unwrap(), Acknowledgement::RolledBack);
    assert!(is_no(&participant.prepare(&two).await.unwrap()));
    assert_eq!(banks.cents().await, [BEGIN + 5, BEGIN]);
    banks.drop().await;
}

#[tokio::test]
async fn a_late_prepare_finds_the_tombstone() {
    let banks = Banks::new().await;
    let one = branch(&banks, "1");
    let open = begin(&banks, &one, 5).await;
    // The rollback does not wait for the branch, which has not written its row.
    assert_eq!(banks.participants[0].rollback(&one).await.unwrap(), Acknowledgement::Done);
    assert!(is_no(&open.prepare(&one).await.unwrap()));
    // The branch cannot commit in one phase either.
    let open = begin(&banks, &one, 5).await;
    assert!(is_no(&open.commit_in_one_phase(&one).await.unwrap()));
    assert_eq!(banks.cents().await, [BEGIN, BEGIN]);
    banks.drop().await;
}

#[tokio::test]
async fn a_rollback_that_meets_an_open_branch_is_asked_again() {
    let banks = Banks::new().await;
    let participant = &banks.participants[0];
    let one = branch(&banks, "1");
    // A branch between its row and its `PREPARE TRANSACTION`.
    let mut open = begin(&banks, &one, 5).await;
    let row = sqlx::query("INSERT INTO twopc_branch (gid, tombstone) VALUES ($1, false)").bind(one.as_str());
    row.execute(open.connection()).await.unwrap();
    let error = participant.rollback(&one).await.unwrap_err();
    assert!(error.to_string().contains("lock timeout"), "{error}");
    let prepare = format!("PREPARE TRANSACTION '{one}'");
    sqlx::raw_sql(AssertSqlSafe(prepare)).execute(open.connection()).await.unwrap();
    assert_eq!(participant.rollback(&one).await.unwrap(), Acknowledgement::Done);
    assert_eq!(banks.cents().await, [BEGIN, BEGIN]);
    drop(open);
    banks.drop().await;
}

#[tokio::test]
async fn a_transaction_that_was_ended_or_is_another_one_votes_no() {
    let banks = Banks::new().await;
    let one = branch(&banks, "1");
    for end in ["COMMIT", "ROLLBACK", "COMMIT; BEGIN; UPDATE account SET cents = cents"] {
        let mut open = begin(&banks, &one, 0).await;
        sqlx::raw_sql(end).execute(open.connection()).await.unwrap();
        assert!(is_no(&open.prepare(&one).await.unwrap()), "{end}");
    }
    let open = begin(&banks, &one, 0).await;
    assert!(is_no(&open.prepare(&branch(&banks, "2")).await.unwrap()), "a branch of another transaction");
    banks.drop().await;
}

#[tokio::test]
async fn the_scan_sees_what_is_ours_in_this_database() {
    let banks = Banks::new().await;
    let participant = &banks.participants[0];
    let ours = branch(&banks, "1");
    let foreign = [format!("{}x/a/transfer/1", banks.coordinator), format!("{}/a", banks.coordinator)];
    assert_eq!(begin(&banks, &ours, 0).await.prepare(&ours).await.unwrap(), Vote::Yes);
    for (bank, gid) in
        [(0, &foreign[0]), (0, &foreign[1]), (1, &format!("{}/a/transfer/2", banks.coordinator))]
    {
        banks
            .execute(
                bank,
                format!("BEGIN; UPDATE account SET id = id WHERE id = 2; PREPARE TRANSACTION '{gid}'"),
            )
            .await;
    }
    let found = participant.in_doubt(&format!("{}/a/", banks.coordinator)).await.unwrap();
    assert_eq!(found, std::slice::from_ref(&ours));
    // A starting coordinator rolls back branches of its name that its journal does not have, and leaves others.
    let coordinator = banks.coordinator().await;
    until("the stray to be gone", || async { !banks.prepared().await.contains(&ours.to_string()) }).await;
    let left = banks.prepared().await;
    assert!(foreign.iter().all(|gid| left.contains(gid)), "{left:?}");
    drop(coordinator);
    for (bank, gid) in
        [(0, &foreign[0]), (0, &foreign[1]), (1, &format!("{}/a/transfer/2", banks.coordinator))]
    {
        banks.execute(bank, format!("ROLLBACK PREPARED '{gid}'")).await;
    }
    banks.drop().await;
}

#[tokio::test]
async fn old_rows_are_forgotten_and_those_of_others_kept() {
    let banks = Banks::new().await;
    let participant = &banks.participants[0];
    let rows = "INSERT INTO twopc_branch (gid, tombstone, at) VALUES \
                ('ours/a/t/1', true, now() - interval '2 hours'), ('ours/a/t/2', false, now()), \
                ('others/a/t/1', true, now() - interval '2 hours')";
    banks.execute(0, rows.to_owned()).await;
    participant.prune("ours/a/", Duration::from_secs(3600)).await.unwrap();
    let left: Vec<String> = sqlx::query_scalar("SELECT gid FROM twopc_branch ORDER BY gid")
        .fetch_all(&banks.pools[0])
        .await
        .unwrap();
    assert_eq!(left, ["others/a/t/1", "ours/a/t/2"]);
    banks.drop().await;
}

#[tokio::test]
async fn connections_go_back_to_the_pool_and_never_in_a_transaction() {
    let banks = Banks::new().await;
    for key in 0..12 {
        let one = branch(&banks, &key.to_string());
        let open = begin(&banks, &one, 0).await;
        if key % 3 == 0 {
            open.prepare(&one).await.unwrap();
        }
        drop(open);
        if key % 3 == 0 {
            banks.participants[0].rollback(&one).await.unwrap();
        }
        // The pool's connections are in no transaction: their changes are visible at once.
        banks.execute(0, format!("UPDATE account SET cents = {key}")).await;
        assert_eq!(banks.cents().await[0], key);
    }
    banks.drop().await;
}

#[tokio::test]
async fn only_the_same_user_in_the_same_database_ends_a_branch() {
    let banks = Banks::new().await;
    let one = branch(&banks, "1");
    assert_eq!(begin(&banks, &one, 5).await.prepare(&one).await.unwrap(), Vote::Yes);
    let monitor = url(&banks.names[0]).parse::<PgConnectOptions>().unwrap().options([("role", "pg_monitor")]);
    let user = PgPoolOptions::new().max_connections(1).connect_with(monitor).await.unwrap();
    let user = PostgresParticipant::connect("a", user).await.unwrap();
    for (stranger, text) in [(&user, "permission denied"), (&banks.participants[1], "another database")] {
        // An error, after which the call is repeated, and not an outcome.
        for error in [stranger.commit(&one).await.unwrap_err(), stranger.rollback(&one).await.unwrap_err()] {
            assert!(error.to_string().contains(text), "{error}");
        }
    }
    assert_eq!(banks.prepared().await, [one.as_str()]);
    assert_eq!(banks.participants[0].commit(&one).await.unwrap(), Acknowledgement::Done);
    assert_eq!(banks.cents().await, [BEGIN + 5, BEGIN]);
    banks.drop().await;
}

#[tokio::test]
async fn the_longest_text_of_a_branch_is_one_that_can_be_prepared() {
    let banks = Banks::new().await;
    let start = format!("{}/a/transfer/", banks.coordinator);
    let of_length = |length: usize| Branch::parse(format!("{start}{}", "k".repeat(length - start.len())));
    let longest = of_length(199).unwrap();
    assert_eq!(begin(&banks, &longest, 5).await.prepare(&longest).await.unwrap(), Vote::Yes);
    assert_eq!(banks.participants[0].commit(&longest).await.unwrap(), Acknowledgement::Done);
    assert!(of_length(200).is_err());
    banks.drop().await;
}

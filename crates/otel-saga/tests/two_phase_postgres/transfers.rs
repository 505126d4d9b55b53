//! Whole transactions: committed, aborted, interrupted, interfered with.

use std::time::Duration;

use otel_saga::two_phase::flow::Decision;
use otel_saga::two_phase::{Acknowledgement, Coordinator, Outcome};
use sqlx::Connection as _;

use super::branches::Slow;
use super::support::{BEGIN, Banks, until};

/// Transfers this amount from the first account to the second.
async fn transfer(banks: &Banks, coordinator: &Coordinator, key: &str, cents: i64) -> Outcome {
    let transfer = coordinator.begin("transfer", key).unwrap();
    let debit = banks.branch(0, &transfer, -cents).await;
    let credit = banks.branch(1, &transfer, cents).await;
    transfer.with(debit).with(credit).commit().await.unwrap()
}

#[tokio::test]
async fn both_commit_or_none_does() {
    let banks = Banks::new().await;
    let coordinator = banks.coordinator().await;
    let outcome = transfer(&banks, &coordinator, "1", 300).await;
    assert!(outcome.is_committed() && outcome.unacknowledged.is_empty(), "{outcome:?}");
    assert_eq!(banks.cents().await, [BEGIN - 300, BEGIN + 300]);

    // A branch with a failed statement votes no, even if the caller ignored the error: Postgres answers its `PREPARE
    // TRANSACTION` with success.
    let begun = coordinator.begin("transfer", "2").unwrap();
    let mut debit = banks.branch(0, &begun, -300).await;
    let overdraw = sqlx::query("UPDATE account SET cents = cents - 10000");
    assert!(overdraw.execute(debit.connection()).await.is_err());
    let credit = banks.branch(1, &begun, 300).await;
    let outcome = begun.with(debit).with(credit).commit().await.unwrap();
    assert_eq!(outcome.decision, Decision::Abort);
    assert!(outcome.reason.unwrap().starts_with("a: "));
    assert_eq!(banks.cents().await, [BEGIN - 300, BEGIN + 300]);

    // The same key is the same transaction, and the work of the repeated one is rolled back.
    assert!(transfer(&banks, &coordinator, "1", 300).await.is_committed());
    assert!(!transfer(&banks, &coordinator, "2", 300).await.is_committed());
    assert_eq!(banks.cents().await, [BEGIN - 300, BEGIN + 300]);
    // Dropped before its commit, the transaction leaves nothing.
    let begun = coordinator.begin("transfer", "3").unwrap();
    drop(begun.with(banks.branch(0, &coordinator.begin("transfer", "3").unwrap(), -300).await));
    until("the rollback", || async { banks.cents().await == [BEGIN - 300, BEGIN + 300] }).await;
    banks.drop().await;
}

#[tokio::test]
async fn a_check_that_is_deferred_votes_no() {
    let banks = Banks::new().await;
    let coordinator = banks.coordinator().await;
    let table = "CREATE TABLE parent (id int PRIMARY KEY); CREATE TABLE child (id int REFERENCES parent \
                 DEFERRABLE INITIALLY DEFERRED)";
    banks.execute(1, table.to_owned()).await;
    let begun = coordinator.begin("transfer", "1").unwrap();
    let debit = banks.branch(0, &begun, -300).await;
    let mut credit = banks.branch(1, &begun, 300).await;
    sqlx::query("INSERT INTO child VALUES (1)").execute(credit.connection()).await.unwrap();
    let outcome = begun.with(debit).with(credit).commit().await.unwrap();
    assert!(outcome.reason.unwrap().contains("foreign key"));
    assert_eq!(banks.cents().await, [BEGIN, BEGIN]);
    banks.drop().await;
}

#[tokio::test]
async fn who_has_only_read_is_left_out_and_who_is_alone_commits_at_once() {
    let banks = Banks::new().await;
    let coordinator = banks.coordinator().await;
    let begun = coordinator.begin("transfer", "1").unwrap();
    let debit = banks.branch(0, &begun, -300).await;
    let mut look = banks.participants[1].begin(&begun).await.unwrap();
    sqlx::query("SELECT * FROM account").execute(look.connection()).await.unwrap();
    assert!(begun.with(debit).with(look).commit().await.unwrap().is_committed());
    assert_eq!(banks.cents().await, [BEGIN - 300, BEGIN]);

    let begun = coordinator.begin("transfer", "2").unwrap();
    let alone = banks.branch(0, &begun, 300).await;
    let branch = begun.branch("a").unwrap();
    assert!(begun.with(alone).commit().await.unwrap().is_committed());
    assert_eq!(banks.cents().await, [BEGIN, BEGIN]);
    // A coordinator that lost the answer sends a rollback, and learns that the branch is committed.
    use otel_saga::two_phase::Participant as _;
    assert_eq!(banks.participants[0].rollback(&branch).await.unwrap(), Acknowledgement::Committed);
    banks.drop().await;
}

#[tokio::test]
async fn a_connection_that_is_lost_before_the_vote_aborts() {
    let banks = Banks::new().await;
    let coordinator = banks.coordinator().await;
    let begun = coordinator.begin("transfer", "1").unwrap();
    let debit = banks.branch(0, &begun, -300).await;
    let mut credit = banks.branch(1, &begun, 300).await;
    let pid: i32 =
        sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(credit.connection()).await.unwrap();
    banks.execute(1, format!("SELECT pg_terminate_backend({pid}, 60000)")).await;
    let outcome = begun.with(debit).with(credit).commit().await.unwrap();
    assert_eq!(outcome.decision, Decision::Abort, "{outcome:?}");
    coordinator.wait("transfer/1").await.unwrap();
    assert_eq!(banks.cents().await, [BEGIN, BEGIN]);
    banks.drop().await;
}

#[tokio::test]
async fn connections_that_are_lost_between_prepare_and_commit_change_nothing() {
    let banks = Banks::new().await;
    let coordinator = banks.coordinator().await;
    let begun = coordinator.begin("transfer", "1").unwrap();
    let debit = Slow::new(banks.branch(0, &begun, -300).await);
    let credit = Slow::new(banks.branch(1, &begun, 300).await);
    let proceed = credit.prepared().await;
    let committing = tokio::spawn(begun.with(debit.clone()).with(credit.clone()).commit());
    until("both to vote", || async { debit.has_voted() && credit.has_voted() }).await;
    assert_eq!(banks.prepared().await.len(), 2);
    for (bank, name) in banks.names.iter().enumerate() {
        let others = "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity \
                      WHERE pid <> pg_backend_pid() AND datname = ";
        banks.execute(bank, format!("{others}'{name}'")).await;
    }
    proceed.send(()).unwrap();
    assert!(committing.await.unwrap().unwrap().is_committed());
    let outcome = coordinator.wait("transfer/1").await.unwrap();
    assert!(outcome.is_consistent(), "{outcome:?}");
    assert_eq!(banks.cents().await, [BEGIN - 300, BEGIN + 300]);
    banks.drop().await;
}

#[tokio::test]
async fn somebody_else_who_rolls_a_prepared_branch_back_is_reported() {
    let banks = Banks::new().await;
    let coordinator = banks.coordinator().await;
    let begun = coordinator.begin("transfer", "it's \\ \"quoted\"").unwrap();
    let (id, gid) = (begun.id().to_owned(), begun.branch("b").unwrap());
    let debit = banks.branch(0, &begun, -300).await;
    let credit = Slow::new(banks.branch(1, &begun, 300).await);
    let proceed = credit.prepared().await;
    let committing = tokio::spawn(begun.with(debit).with(credit.clone()).commit());
    until("both to be prepared", || async { credit.has_voted() && banks.prepared().await.len() == 2 }).await;
    assert!(banks.prepared().await.contains(&gid.to_string()));
    let mut somebody = banks.pools[1].acquire().await.unwrap();
    let rollback = format!("ROLLBACK PREPARED '{}'", gid.as_str().replace('\'', "''"));
    sqlx::raw_sql(sqlx::AssertSqlSafe(rollback)).execute(&mut *somebody).await.unwrap();
    somebody.ping().await.unwrap();
    drop(somebody);
    proceed.send(()).unwrap();
    let outcome = committing.await.unwrap().unwrap();
    assert!(outcome.is_committed() && !outcome.is_consistent(), "{outcome:?}");
    assert_eq!(
        (&*outcome.heuristics[0].participant, outcome.heuristics[0].acknowledgement),
        ("b", Acknowledgement::RolledBack)
    );
    assert_eq!(coordinator.wait(&id).await.unwrap(), outcome);
    assert_eq!(banks.cents().await, [BEGIN - 300, BEGIN]);
    banks.drop().await;
}

#[tokio::test]
async fn many_at_once_leave_the_sum_as_it_was() {
    let banks = Banks::new().await;
    let coordinator = banks.coordinator().await;
    let gates = tokio::sync::Semaphore::new(2);
    let all = (0..40).map(|key| {
        let (banks, coordinator, gates) = (&banks, &coordinator, &gates);
        async move {
            // Limits the concurrent branches to the connections of the pools, less one for commits.
            let _gate = gates.acquire().await.unwrap();
            transfer(banks, coordinator, &key.to_string(), if key % 2 == 0 { 7 } else { -7 }).await
        }
    });
    for outcome in futures_util::future::join_all(all).await {
        assert!(outcome.is_committed() && outcome.is_consistent(), "{outcome:?}");
    }
    assert!(coordinator.shutdown(Duration::from_secs(60)).await);
    assert_eq!(banks.cents().await, [BEGIN, BEGIN]);
    banks.drop().await;
}

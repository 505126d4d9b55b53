//! The test suite of all journals: cases that are generic over the journal.
//!
//! They run under tokio's paused clock, so that leases and waits end when a case advances it.

#[path = "claims.rs"]
mod claims;
#[path = "replacements.rs"]
mod replacements;

use std::sync::Arc;
use std::time::Duration;

use otel_saga::flow::SagaOutcome;
use otel_saga::journal::{
    AfterAppend, AppendError, CreateOutcome, Cursor, Journal, NewInstance, Query, Status, now,
};

pub(super) use self::claims::*;
pub(super) use self::replacements::*;

/// Makes a test of each case for one journal. The expression opens that journal in a new directory.
macro_rules! journal_suite {
    ($name:ident, |$dir:ident| $make:expr) => {
        journal_suite!(@ $name, |$dir| $make,
            an_id_is_created_once
            records_come_back_in_order_and_unchanged
            an_append_elsewhere_is_fenced
            of_many_appends_at_one_cursor_one_wins
            a_claim_takes_what_is_due_and_free
            a_claim_takes_those_first_that_wait_longest
            an_instance_is_claimed_by_one_of_many
            only_instances_of_the_given_definitions_are_claimed
            what_no_worker_claims_is_listed
            a_lease_that_is_over_fences_its_worker
            what_waits_is_claimed_when_it_is_due
            what_stands_still_is_not_claimed
            a_request_wakes_what_waits_and_leaves_what_is_at_work
            a_worker_can_hand_over
            all_pages_list_everything_once
            counts_are_by_saga_and_status
            only_what_ended_long_ago_is_pruned
            one_living_worker_is_the_first
            an_identity_stays_the_same
            a_replacement_leaves_what_is_before_it
            a_replacement_elsewhere_is_fenced
            a_cursor_from_before_a_replacement_is_fenced_forever
            of_a_replacement_and_a_claim_one_wins
        );
    };
    (@ $name:ident, |$dir:ident| $make:expr, $($case:ident)+) => {
        mod $name {
            use super::*;

            $(
                #[tokio::test(start_paused = true)]
                async fn $case() {
                    let $dir = crate::support::Scratch::new();
                    let _ = &$dir;
                    crate::journals::suite::$case($make).await;
                }
            )+
        }
    };
}

type Shared = Arc<dyn Journal>;

const LEASE: Duration = Duration::from_secs(10);

fn instance(id: &str) -> NewInstance {
    NewInstance::new(id, "order", 1, vec![b"first".to_vec()])
}

async fn created(journal: &Shared, new: NewInstance) -> Cursor {
    match journal.create(new).await.unwrap() {
        CreateOutcome::New(cursor) => cursor,
        other => panic!("{other:?}"),
    }
}

async fn claimed(journal: &Shared, worker: &str) -> Vec<String> {
    let summaries = journal.claim(worker, None, 100).await.unwrap();
    summaries.into_iter().map(|summary| summary.id).collect()
}

fn is_fenced<T>(answer: &Result<T, AppendError>) -> bool {
    matches!(answer, Err(AppendError::Fenced))
}

pub(super) async fn an_id_is_created_once(journal: Shared) {
    let cursor = created(&journal, instance("a")).await;
    assert_eq!(cursor.head, 1);
    let again = NewInstance::new("a", "other", 7, vec![b"second".to_vec(), b"third".to_vec()]);
    assert_eq!(journal.create(again).await.unwrap(), CreateOutcome::Exists);
    let loaded = journal.load("a").await.unwrap().unwrap();
    assert_eq!(loaded.records, [b"first"]);
    assert_eq!((loaded.summary.saga.as_str(), loaded.summary.version), ("order", 1));
    assert_eq!(loaded.summary.cursor(), cursor);
    assert_eq!(journal.summary("a").await.unwrap(), Some(loaded.summary));
    assert!(journal.load("b").await.unwrap().is_none());
    assert!(journal.summary("b").await.unwrap().is_none());
}

pub(super) async fn records_come_back_in_order_and_unchanged(journal: Shared) {
    let mut cursor = created(&journal, instance("a")).await;
    let mut expected = vec![b"first".to_vec()];
    for round in 0..300_u32 {
        let long = vec![u8::try_from(round % 256).unwrap(); usize::try_from(round * 7).unwrap()];
        let records = vec![round.to_be_bytes().to_vec(), long];
        expected.extend(records.clone());
        cursor = journal.append("a", cursor, records, AfterAppend::Continue).await.unwrap();
    }
    assert_eq!(cursor.head, 601);
    // The neighbours in the order of ids have records as well, which must not appear in them.
    for neighbour in ["a0", "A", "a\u{1}", "aa"] {
        created(&journal, instance(neighbour)).await;
    }
    assert!(journal.load("a").await.unwrap().unwrap().records == expected);
}

pub(super) async fn an_append_elsewhere_is_fenced(journal: Shared) {
    let first = created(&journal, instance("a")).await;
    let record = || vec![b"x".to_vec()];
    let second = journal.append("a", first, record(), AfterAppend::Continue).await.unwrap();
    assert_eq!(second, Cursor::new(first.head + 1, first.epoch));
    for elsewhere in [
        first,
        Cursor::new(second.head + 1, second.epoch),
        Cursor::new(second.head, second.epoch + 1),
        Cursor::new(second.head, second.epoch - 1),
    ] {
        let answer =
            journal.append("a", elsewhere, record(), AfterAppend::Finished(SagaOutcome::Completed)).await;
        assert!(is_fenced(&answer), "{elsewhere:?}: {answer:?}");
    }
    assert!(is_fenced(&journal.append("b", first, record(), AfterAppend::Continue).await));
    let loaded = journal.load("a").await.unwrap().unwrap();
    assert_eq!((loaded.records.len(), loaded.summary.status), (2, Status::Running));
}

pub(super) async fn of_many_appends_at_one_cursor_one_wins(journal: Shared) {
    let cursor = created(&journal, instance("a")).await;
    let racers: Vec<_> = (0..32_u8)
        .map(|racer| {
            let journal = Arc::clone(&journal);
            tokio::spawn(async move {
                journal.append("a", cursor, vec![vec![racer]], AfterAppend::Continue).await
            })
        })
        .collect();
    let mut winners = 0;
    for racer in racers {
        let answer = racer.await.unwrap();
        winners += usize::from(answer.is_ok());
        assert!(answer.is_ok() || is_fenced(&answer), "{answer:?}");
    }
    assert_eq!(winners, 1);
    assert_eq!(journal.load("a").await.unwrap().unwrap().records.len(), 2);
}

pub(super) async fn a_lease_that_is_over_fences_its_worker(journal: Shared) {
    journal.renew("old", LEASE).await.unwrap();
    let cursor = created(&journal, instance("a").with_worker("old")).await;
    tokio::time::advance(LEASE / 2).await;
    journal.renew("old", LEASE).await.unwrap();
    tokio::time::advance(LEASE - Duration::from_secs(1)).await;
    journal.renew("new", LEASE).await.unwrap();
    assert!(claimed(&journal, "new").await.is_empty(), "the lease was renewed and lives");
    tokio::time::advance(Duration::from_secs(2)).await;
    assert_eq!(claimed(&journal, "new").await, ["a"]);
    // The zombie returns: it may renew its lease, but owns nothing.
    journal.renew("old", LEASE).await.unwrap();
    let answer = journal.append("a", cursor, vec![b"late".to_vec()], AfterAppend::Continue).await;
    assert!(is_fenced(&answer), "{answer:?}");
    let new = Cursor::new(cursor.head, cursor.epoch + 1);
    journal.append("a", new, vec![b"mine".to_vec()], AfterAppend::Continue).await.unwrap();
}

pub(super) async fn what_waits_is_claimed_when_it_is_due(journal: Shared) {
    journal.renew("w", LEASE).await.unwrap();
    let cursor = created(&journal, instance("a").with_worker("w")).await;
    let at = now() + 5_000;
    journal.append("a", cursor, vec![], AfterAppend::Runnable { at }).await.unwrap();
    tokio::time::advance(Duration::from_millis(4_900)).await;
    assert!(claimed(&journal, "w2").await.is_empty());
    tokio::time::advance(Duration::from_millis(200)).await;
    assert_eq!(claimed(&journal, "w2").await, ["a"]);
}

pub(super) async fn what_stands_still_is_not_claimed(journal: Shared) {
    let mut ends = Vec::new();
    for (id, after_append) in [
        ("parked", AfterAppend::Parked),
        ("done", AfterAppend::Finished(SagaOutcome::Completed)),
        ("undone", AfterAppend::Finished(SagaOutcome::Compensated)),
    ] {
        let cursor = created(&journal, instance(id)).await;
        ends.push(journal.append(id, cursor, vec![b"end".to_vec()], after_append).await.unwrap());
    }
    tokio::time::advance(Duration::from_secs(3600)).await;
    assert!(claimed(&journal, "w").await.is_empty());
    let status = |id: &'static str| {
        let journal = Arc::clone(&journal);
        async move { journal.load(id).await.unwrap().unwrap().summary.status }
    };
    assert_eq!(status("parked").await, Status::Parked);
    assert_eq!(status("done").await, Status::Completed);
    assert_eq!(status("undone").await, Status::Compensated);
    journal.append("parked", ends[0], vec![b"go on".to_vec()], AfterAppend::Continue).await.unwrap();
    assert_eq!(claimed(&journal, "w").await, ["parked"]);
}

pub(super) async fn a_request_wakes_what_waits_and_leaves_what_is_at_work(journal: Shared) {
    journal.renew("w", LEASE).await.unwrap();
    let waiting = created(&journal, instance("waiting")).await;
    let later = AfterAppend::Runnable { at: now() + 3_600_000 };
    let waiting = journal.append("waiting", waiting, vec![], later).await.unwrap();
    let working = created(&journal, instance("working").with_worker("w")).await;
    for (id, cursor) in [("waiting", waiting), ("working", working)] {
        journal.append(id, cursor, vec![b"cancel".to_vec()], AfterAppend::Continue).await.unwrap();
    }
    assert_eq!(claimed(&journal, "w2").await, ["waiting"]);
    let answer = journal.append("working", working, vec![b"done".to_vec()], AfterAppend::Continue).await;
    assert!(is_fenced(&answer), "the worker has to read the request first: {answer:?}");
    let summary = journal.load("working").await.unwrap().unwrap().summary;
    assert_eq!((summary.owner.as_deref(), summary.epoch), (Some("w"), working.epoch));
}

pub(super) async fn a_worker_can_hand_over(journal: Shared) {
    journal.renew("w", LEASE).await.unwrap();
    let cursor = created(&journal, instance("a").with_worker("w")).await;
    let after = journal.append("a", cursor, vec![], AfterAppend::Runnable { at: now() }).await.unwrap();
    assert_eq!(after, cursor);
    journal.renew("w2", LEASE).await.unwrap();
    assert_eq!(claimed(&journal, "w2").await, ["a"]);
    created(&journal, instance("b").with_worker("w")).await;
    assert!(claimed(&journal, "w2").await.is_empty());
    journal.renew("w", Duration::ZERO).await.unwrap();
    assert_eq!(claimed(&journal, "w2").await, ["b"]);
}

pub(super) async fn all_pages_list_everything_once(journal: Shared) {
    for number in 0..25 {
        let new = NewInstance::new(format!("i{number:02}"), ["order", "trip"][number % 2], 1, vec![]);
        let cursor = created(&journal, new).await;
        if number < 5 {
            journal.append(&format!("i{number:02}"), cursor, vec![], AfterAppend::Parked).await.unwrap();
        }
    }
    let mut query = Query::default();
    query.limit = 7;
    let mut seen = Vec::new();
    loop {
        let page = journal.list(&query).await.unwrap();
        assert!(page.len() <= 7);
        let Some(last) = page.last() else { break };
        query.after = Some(last.id.clone());
        seen.extend(page.into_iter().map(|summary| summary.id));
    }
    let expected: Vec<String> = (0..25).map(|number| format!("i{number:02}")).collect();
    assert_eq!(seen, expected);

    let mut query = Query::default();
    query.saga = Some("trip".to_owned());
    query.status = Some(Status::Parked);
    let ids: Vec<String> =
        journal.list(&query).await.unwrap().into_iter().map(|summary| summary.id).collect();
    assert_eq!(ids, ["i01", "i03"]);
}

pub(super) async fn counts_are_by_saga_and_status(journal: Shared) {
    let began = now();
    for number in 0..6 {
        let saga = ["order", "trip"][number % 2];
        let cursor = created(&journal, NewInstance::new(format!("i{number}"), saga, 1, vec![])).await;
        if number >= 4 {
            let after_append = AfterAppend::Finished(SagaOutcome::Completed);
            journal.append(&format!("i{number}"), cursor, vec![], after_append).await.unwrap();
        }
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    let mut counts = journal.counts().await.unwrap();
    counts.sort_by(|a, b| (&a.saga, a.status).cmp(&(&b.saga, b.status)));
    let plain: Vec<_> = counts.iter().map(|one| (&*one.saga, one.status, one.count)).collect();
    let (running, completed) = (Status::Running, Status::Completed);
    let expected =
        [("order", running, 2), ("order", completed, 1), ("trip", running, 2), ("trip", completed, 1)];
    assert_eq!(plain, expected);
    let ages: Vec<u64> = counts.iter().map(|one| (one.oldest + 500 - began) / 1000).collect();
    assert_eq!(ages, [0, 4, 1, 5]);
}

pub(super) async fn only_what_ended_long_ago_is_pruned(journal: Shared) {
    for id in ["a", "b", "open"] {
        let cursor = created(&journal, instance(id)).await;
        if id != "open" {
            journal
                .append(id, cursor, vec![], AfterAppend::Finished(SagaOutcome::Compensated))
                .await
                .unwrap();
        }
    }
    tokio::time::advance(Duration::from_secs(60)).await;
    let later = created(&journal, instance("later")).await;
    journal.append("later", later, vec![], AfterAppend::Finished(SagaOutcome::Completed)).await.unwrap();
    let before = now() - 30_000;
    assert_eq!(journal.prune(before, 1).await.unwrap(), 1);
    assert_eq!(journal.prune(before, 100).await.unwrap(), 1);
    assert_eq!(journal.prune(before, 100).await.unwrap(), 0);
    let left = journal.list(&Query::default()).await.unwrap();
    assert_eq!(left.iter().map(|summary| &*summary.id).collect::<Vec<_>>(), ["later", "open"]);
    assert!(journal.load("a").await.unwrap().is_none());
    created(&journal, instance("a")).await;
    assert_eq!(journal.load("a").await.unwrap().unwrap().records, [b"first"]);
}

pub(crate) async fn one_living_worker_is_the_first(journal: Shared) {
    assert!(!journal.is_first("a").await.unwrap());
    journal.renew("b", LEASE).await.unwrap();
    assert!(journal.is_first("b").await.unwrap());
    journal.renew("a", LEASE / 2).await.unwrap();
    for (worker, is_first) in [("a", true), ("b", false), ("c", false)] {
        assert_eq!(journal.is_first(worker).await.unwrap(), is_first, "{worker}");
    }
    journal.renew("a", Duration::ZERO).await.unwrap();
    assert!(journal.is_first("b").await.unwrap());
}

pub(crate) async fn an_identity_stays_the_same(journal: Shared) {
    let identity = journal.identity().await.unwrap();
    assert!(identity.as_ref().is_some_and(|identity| identity.len() >= 32), "{identity:?}");
    assert_eq!(journal.identity().await.unwrap(), identity);
}

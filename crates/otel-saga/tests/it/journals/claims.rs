//! The cases of claims, generic over the journal like the others.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use otel_saga::journal::{AfterAppend, DefinitionKey, NewInstance, now};

use super::{LEASE, Shared, claimed, created, instance};

pub(crate) async fn a_claim_takes_what_is_due_and_free(journal: Shared) {
    journal.renew("w1", LEASE).await.unwrap();
    created(&journal, instance("free")).await;
    created(&journal, instance("taken").with_worker("w1")).await;
    let summaries = journal.claim("w2", None, 100).await.unwrap();
    assert_eq!(summaries.len(), 1);
    assert_eq!((summaries[0].id.as_str(), summaries[0].epoch), ("free", 2));
    let loaded = journal.load("free").await.unwrap().unwrap().summary;
    assert_eq!((loaded.owner.as_deref(), loaded.epoch), (Some("w2"), 2));
}

pub(crate) async fn a_claim_takes_those_first_that_wait_longest(journal: Shared) {
    for id in ["c", "a", "b"] {
        created(&journal, instance(id)).await;
        tokio::time::advance(Duration::from_millis(5)).await;
    }
    journal.renew("w", LEASE).await.unwrap();
    for expected in ["c", "a", "b"] {
        let summaries = journal.claim("w", None, 1).await.unwrap();
        assert_eq!(summaries.iter().map(|summary| &*summary.id).collect::<Vec<_>>(), [expected]);
    }
    assert!(claimed(&journal, "w").await.is_empty());
}

pub(crate) async fn an_instance_is_claimed_by_one_of_many(journal: Shared) {
    for number in 0..60 {
        created(&journal, instance(&format!("i{number}"))).await;
    }
    let workers: Vec<_> = (0..6)
        .map(|worker| {
            let journal = Arc::clone(&journal);
            tokio::spawn(async move {
                let worker = format!("w{worker}");
                journal.renew(&worker, LEASE).await.unwrap();
                let mut mine = Vec::new();
                loop {
                    let got = journal.claim(&worker, None, 4).await.unwrap();
                    if got.is_empty() {
                        return mine;
                    }
                    mine.extend(got.into_iter().map(|summary| summary.id));
                }
            })
        })
        .collect();
    let mut all = Vec::new();
    for worker in workers {
        all.extend(worker.await.unwrap());
    }
    let different: HashSet<&String> = all.iter().collect();
    assert_eq!((all.len(), different.len()), (60, 60));
}

pub(crate) async fn only_instances_of_the_given_definitions_are_claimed(journal: Shared) {
    // The first dead worker has instances of other definitions only.
    for (id, saga, version, worker) in [
        ("a", "order", 2, None),
        ("b", "refund", 1, None),
        ("c", "order", 1, None),
        ("d", "order", 2, Some("dead-1")),
        ("e", "refund", 1, Some("dead-1")),
        ("f", "order", 1, Some("dead-2")),
        ("g", "refund", 1, Some("dead-2")),
        ("h", "order", 1, Some("dead-2")),
    ] {
        let new = NewInstance::new(id, saga, version, vec![]);
        created(&journal, worker.into_iter().fold(new, NewInstance::with_worker)).await;
    }
    journal.renew("w", LEASE).await.unwrap();
    let first = [DefinitionKey::new("order", 1), DefinitionKey::new("absent", 1)];
    let mut ids = Vec::new();
    for _ in 0..4 {
        let summaries = journal.claim("w", Some(&first), 1).await.unwrap();
        ids.extend(summaries.into_iter().map(|summary| summary.id));
    }
    assert_eq!(ids, ["c", "f", "h"]);
    assert!(journal.claim("w", Some(&[]), 100).await.unwrap().is_empty());
    let both = [DefinitionKey::new("order", 2), DefinitionKey::new("refund", 1)];
    let summaries = journal.claim("w", Some(&both), 100).await.unwrap();
    let mut ids: Vec<String> = summaries.into_iter().map(|summary| summary.id).collect();
    ids.sort();
    assert_eq!(ids, ["a", "b", "d", "e", "g"]);
}

pub(crate) async fn what_no_worker_claims_is_listed(journal: Shared) {
    journal.renew("living", LEASE * 10).await.unwrap();
    journal.renew("dead", LEASE).await.unwrap();
    for (id, worker) in [("free", None), ("mine", Some("living")), ("left", Some("dead"))] {
        created(&journal, worker.into_iter().fold(instance(id), NewInstance::with_worker)).await;
    }
    let later = created(&journal, instance("later")).await;
    journal.append("later", later, vec![], AfterAppend::Runnable { at: now() + 3_600_000 }).await.unwrap();
    let parked = created(&journal, instance("parked")).await;
    journal.append("parked", parked, vec![], AfterAppend::Parked).await.unwrap();
    let touched = created(&journal, instance("touched")).await;
    tokio::time::advance(LEASE * 2).await;
    created(&journal, instance("new")).await;
    // Due for long, and changed just now.
    journal.append("touched", touched, vec![], AfterAppend::Runnable { at: 0 }).await.unwrap();
    let unclaimed = async |since: Duration| {
        let since = now() - u64::try_from(since.as_millis()).unwrap();
        let summaries = journal.unclaimed(since, 100).await.unwrap();
        let mut ids: Vec<String> = summaries.into_iter().map(|summary| summary.id).collect();
        ids.sort();
        ids.join(" ")
    };
    assert_eq!(unclaimed(LEASE / 2).await, "free left");
    assert_eq!(unclaimed(LEASE + LEASE / 2).await, "free", "the lease lived then");
    assert_eq!(unclaimed(LEASE * 3).await, "");
    assert_eq!(journal.unclaimed(now() - 5_000, 1).await.unwrap().len(), 1);
}

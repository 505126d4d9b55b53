//! The cases of replaced records, generic over the journal like the others.

use std::sync::Arc;

use otel_saga::flow::SagaOutcome;
use otel_saga::journal::{AfterAppend, Cursor, NewInstance, Status, now};

use super::{LEASE, Shared, claimed, created, instance, is_fenced};

fn records(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

/// Records 0 to 7 in appends of different sizes, so that a replacement begins within one of them.
async fn filled(journal: &Shared, id: &str) -> Cursor {
    let new = NewInstance::new(id, "order", 1, records(&["0", "1"])).with_worker("w");
    let mut cursor = created(journal, new).await;
    for append in [&["2", "3", "4"][..], &["5"], &["6", "7"]] {
        cursor = journal.append(id, cursor, records(append), AfterAppend::Continue).await.unwrap();
    }
    cursor
}

pub(crate) async fn a_replacement_leaves_what_is_before_it(journal: Shared) {
    journal.renew("w", LEASE).await.unwrap();
    let all = ["0", "1", "2", "3", "4", "5", "6", "7"];
    for from in 0..=8_usize {
        for count in 0..=8 - from {
            let id = format!("i{from}{count}");
            let cursor = filled(&journal, &id).await;
            filled(&journal, &format!("{id}-beside")).await;
            let new = &["new a", "b", "new c", "d", "e", "f", "g", "h"][..count];
            let after = journal.replace(&id, cursor, from as u64, records(new)).await.unwrap();
            assert_eq!(after, Cursor::new((from + count) as u64, cursor.epoch + 1), "{id}");
            let expected: Vec<&str> = all[..from].iter().chain(new).copied().collect();
            let loaded = journal.load(&id).await.unwrap().unwrap();
            assert_eq!(loaded.records, records(&expected), "{id}");
            assert_eq!(loaded.summary.cursor(), after);
            assert_eq!(
                (loaded.summary.owner.as_deref(), loaded.summary.status),
                (Some("w"), Status::Running)
            );
            journal
                .append(&id, after, records(&["more"]), AfterAppend::Finished(SagaOutcome::Completed))
                .await
                .unwrap();
            let loaded = journal.load(&id).await.unwrap().unwrap();
            assert_eq!(loaded.records, records(&[&expected[..], &["more"]].concat()), "{id}");
            let beside = journal.load(&format!("{id}-beside")).await.unwrap().unwrap();
            assert_eq!(beside.records, records(&all), "{id}");
        }
    }
    // The removed records are not in the way when the instances are deleted.
    tokio::time::advance(LEASE).await;
    assert_eq!(journal.prune(now(), 100).await.unwrap(), 45);
}

pub(crate) async fn a_replacement_elsewhere_is_fenced(journal: Shared) {
    let cursor = filled(&journal, "a").await;
    for elsewhere in [
        Cursor::new(cursor.head - 1, cursor.epoch),
        Cursor::new(cursor.head + 1, cursor.epoch),
        Cursor::new(cursor.head, cursor.epoch + 1),
        Cursor::new(cursor.head, cursor.epoch - 1),
    ] {
        let answer = journal.replace("a", elsewhere, 2, records(&["x"])).await;
        assert!(is_fenced(&answer), "{elsewhere:?}: {answer:?}");
    }
    for (from, more) in [(7, &["x", "y"][..]), (9, &[]), (0, &["x"; 9]), (u64::from(u32::MAX), &["x"])] {
        let answer = journal.replace("a", cursor, from, records(more)).await;
        assert!(is_fenced(&answer), "{} records from {from}: {answer:?}", more.len());
    }
    assert!(is_fenced(&journal.replace("b", cursor, 0, vec![]).await));
    let loaded = journal.load("a").await.unwrap().unwrap();
    assert_eq!((loaded.records.len(), loaded.summary.cursor()), (8, cursor));
}

/// An operator that has read the instance before must not append to another journal than it has read.
pub(crate) async fn a_cursor_from_before_a_replacement_is_fenced_forever(journal: Shared) {
    let before = filled(&journal, "a").await;
    let mut cursor = journal.replace("a", before, 5, records(&["short"])).await.unwrap();
    for _ in 0..4 {
        let answer = journal.append("a", before, records(&["cancel"]), AfterAppend::Continue).await;
        assert!(is_fenced(&answer), "at {cursor:?}: {answer:?}");
        assert!(is_fenced(&journal.replace("a", before, 0, vec![]).await));
        cursor = journal.append("a", cursor, records(&["more"]), AfterAppend::Continue).await.unwrap();
    }
    assert!(cursor.head > before.head);
}

pub(crate) async fn of_a_replacement_and_a_claim_one_wins(journal: Shared) {
    for number in 0..20 {
        let id = format!("i{number:02}");
        let cursor = created(&journal, instance(&id)).await;
        let cursor = journal.append(&id, cursor, records(&["1", "2"]), AfterAppend::Continue).await.unwrap();
        let replacing = Arc::clone(&journal);
        let named = id.clone();
        let replaced =
            tokio::spawn(async move { replacing.replace(&named, cursor, 1, records(&["x"])).await });
        let claimed = claimed(&journal, "w").await;
        let replaced = replaced.await.unwrap();
        assert!(replaced.is_ok() || is_fenced(&replaced), "{replaced:?}");
        let loaded = journal.load(&id).await.unwrap().unwrap();
        let expected = if replaced.is_ok() { &["first", "x"][..] } else { &["first", "1", "2"] };
        assert_eq!(loaded.records, records(expected));
        let changes = u64::from(replaced.is_ok()) + u64::from(claimed.contains(&id));
        assert_eq!(loaded.summary.epoch, cursor.epoch + changes);
    }
}

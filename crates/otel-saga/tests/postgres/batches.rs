//! Jobs that share a batch, and the meaning of its errors for each of them.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{join, join_all};
use otel_saga::journal::{
    AfterAppend, AppendError, CreateOutcome, Cursor, Journal, JournalError, NewInstance, PostgresJournal,
    Status,
};
use sqlx::postgres::PgConnection;
use sqlx::{Connection as _, Row as _};

use crate::support::Scratch;

fn record(text: &str) -> Vec<Vec<u8>> {
    vec![text.as_bytes().to_vec()]
}

async fn created(journal: &PostgresJournal, id: &str) -> Cursor {
    match journal.create(NewInstance::new(id, "order", 1, record("first"))).await.unwrap() {
        CreateOutcome::New(cursor) => cursor,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_zombie_in_the_same_batch_is_told_that_it_is_fenced() {
    let database = Scratch::new();
    let journal = database.journal().await;
    let mut at = created(&journal, "a").await;
    for round in 0..40 {
        // The lease is never renewed, so that each claim takes the instance from the previous worker.
        let claimed = journal.claim(&format!("w{round}"), None, 1).await.unwrap();
        let zombie = at;
        at = claimed[0].cursor();
        assert_eq!((at.head, at.epoch), (zombie.head, zombie.epoch + 1));
        let append = |at, text: &'static str| journal.append("a", at, record(text), AfterAppend::Continue);
        let zombies = join_all((0..8).map(|_| append(zombie, "zombie")));
        let twins = join_all([append(at, "mine"), append(at, "mine")]);
        let (zombies, twins) = join(zombies, twins).await;
        assert!(zombies.iter().all(|answer| matches!(answer, Err(AppendError::Fenced))), "{zombies:?}");
        let ([Ok(after), Err(AppendError::Fenced)] | [Err(AppendError::Fenced), Ok(after)]) = twins[..]
        else {
            panic!("{twins:?}")
        };
        at = after;
    }
    let records = journal.load("a").await.unwrap().unwrap().records;
    assert_eq!(records.len(), 41);
    assert!(records[1..].iter().all(|record| record == b"mine"));
}

#[tokio::test]
async fn of_two_that_create_one_id_in_a_batch_one_does() {
    let database = Scratch::new();
    let journal = database.journal().await;
    for round in 0..20 {
        let id = format!("i{round}");
        // Without records, the jobs differ only by their numbers in the batch.
        let records = |text: String| if round % 2 == 0 { vec![text.into_bytes()] } else { vec![] };
        let create = |text: String| journal.create(NewInstance::new(&id, "order", 1, records(text)));
        let answers = join_all((0..10).map(|one| create(format!("{one}")))).await;
        let new: Vec<usize> =
            (0..10).filter(|one| matches!(answers[*one], Ok(CreateOutcome::New(_)))).collect();
        let exist = answers.iter().filter(|answer| matches!(answer, Ok(CreateOutcome::Exists))).count();
        assert_eq!((new.len(), exist), (1, 9), "{answers:?}");
        let records = journal.load(&id).await.unwrap().unwrap().records;
        let expected = if round % 2 == 0 { vec![new[0].to_string().into_bytes()] } else { vec![] };
        assert_eq!(records, expected, "the records are those of the one that did");
    }
}

#[tokio::test]
async fn what_postgres_cannot_hold_is_in_nobodys_way() {
    let database = Scratch::new();
    let journal = database.journal().await;
    // Pseudo-random, because repetitive text would be compressed and fit into an index.
    let mut number = 1_u64;
    let letter = || {
        number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b'a' + u8::try_from((number >> 33) % 26).unwrap())
    };
    let long: String = std::iter::repeat_with(letter).take(100_000).collect();
    for round in 0..5 {
        let ids: Vec<String> = (0..30).map(|n| format!("{round}-{n}")).collect();
        let fine =
            join_all(ids.iter().map(|id| journal.create(NewInstance::new(id, "order", 1, record("x")))));
        let bad = ["nul\0", &*long].map(|id| journal.create(NewInstance::new(id, "order", 1, record("x"))));
        let (fine, bad) = join(fine, join_all(bad)).await;
        assert!(fine.iter().all(|answer| matches!(answer, Ok(CreateOutcome::New(_)))), "{fine:?}");
        assert!(bad.iter().all(|answer| matches!(answer, Err(JournalError::Failed(_)))), "{bad:?}");
    }
    assert_eq!(journal.counts().await.unwrap()[0].count, 150);
}

/// Locks the instance against writes until the connection is dropped.
async fn held(database: &Scratch, id: &str) -> PgConnection {
    let mut holder = PgConnection::connect(&database.url()).await.unwrap();
    let hold = "SET search_path = saga; BEGIN";
    sqlx::raw_sql(hold).execute(&mut holder).await.unwrap();
    let lock = sqlx::query("SELECT FROM instance WHERE id = $1 FOR UPDATE").bind(id);
    lock.execute(&mut holder).await.unwrap();
    holder
}

#[tokio::test]
async fn what_takes_too_long_was_not_done() {
    let database = Scratch::new();
    let at = created(&database.journal().await, "a").await;
    let hasty = database.options().with_timeout(Duration::from_millis(300)).connect().await.unwrap();
    let holder = held(&database, "a").await;
    let answer = hasty.append("a", at, record("late"), AfterAppend::Parked).await;
    assert!(matches!(answer, Err(AppendError::Journal(JournalError::Failed(_)))), "{answer:?}");
    drop(holder);
    let loaded = hasty.load("a").await.unwrap().unwrap();
    assert_eq!((loaded.records.len(), loaded.summary.status), (1, Status::Running));
    hasty.append("a", at, record("again"), AfterAppend::Parked).await.unwrap();
}

#[tokio::test]
async fn an_append_whose_session_ends_is_unknown_and_the_next_one_is_done() {
    let database = Scratch::new();
    let journal = Arc::new(database.journal().await);
    let at = created(&journal, "a").await;
    let holder = held(&database, "a").await;
    // Inside a transaction, `pg_stat_activity` would show a snapshot of its start.
    let mut other = PgConnection::connect(&database.url()).await.unwrap();
    let appending = tokio::spawn({
        let journal = Arc::clone(&journal);
        async move { journal.append("a", at, record("lost?"), AfterAppend::Continue).await }
    });
    // Ends the session as soon as it waits for the lock.
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event_type = 'Lock'";
    while sqlx::query(end).fetch_all(&mut other).await.unwrap().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let answer = appending.await.unwrap();
    assert!(matches!(answer, Err(AppendError::Journal(JournalError::Unknown(_)))), "{answer:?}");
    drop(holder);
    assert_eq!(journal.load("a").await.unwrap().unwrap().records.len(), 1);
    journal.append("a", at, record("again"), AfterAppend::Continue).await.unwrap();
}

#[tokio::test]
async fn sessions_that_were_ended_while_idle_are_no_errors_for_reads() {
    let database = Scratch::new();
    let journal = database.journal().await;
    created(&journal, "a").await;
    let loads = join_all((0..8).map(|_| journal.load("a"))).await;
    assert!(loads.iter().all(|answer| matches!(answer, Ok(Some(_)))), "{loads:?}");
    let mut other = PgConnection::connect(&database.url()).await.unwrap();
    let end = "SELECT count(pg_terminate_backend(pid, 10000)) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid()";
    let ended: i64 = sqlx::query(end).fetch_one(&mut other).await.unwrap().get(0);
    assert!(ended > 0);
    journal.load("a").await.unwrap();
    journal.renew("w", Duration::from_secs(10)).await.unwrap();
    assert_eq!(journal.counts().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_batch_that_is_a_deadlocks_victim_is_begun_anew() {
    let database = Scratch::new();
    let journal = database.journal().await;
    // Counts tries in a sequence, which no rollback undoes, and fails like the server.
    let victim = "SET search_path = saga; CREATE SEQUENCE tries;
        CREATE FUNCTION victim() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF nextval('tries') <= 3 THEN RAISE EXCEPTION USING ERRCODE = '40P01'; END IF;
            RETURN new; END $$;
        CREATE TRIGGER victim BEFORE INSERT ON instance FOR EACH ROW EXECUTE FUNCTION victim()";
    let mut other = PgConnection::connect(&database.url()).await.unwrap();
    sqlx::raw_sql(victim).execute(&mut other).await.unwrap();
    created(&journal, "a").await;
    assert_eq!(journal.load("a").await.unwrap().unwrap().records.len(), 1);
    sqlx::raw_sql("ALTER SEQUENCE tries MINVALUE -100 RESTART WITH -100").execute(&mut other).await.unwrap();
    let refused = journal.create(NewInstance::new("b", "order", 1, record("x"))).await;
    assert!(matches!(refused, Err(JournalError::Failed(_))), "not for ever: {refused:?}");
}

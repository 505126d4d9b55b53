//! Futures and streams that are dropped, at each of their awaits: cancelled, with the rows so far, recorded once.

use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _};
use opentelemetry_sdk::trace::SpanData;
use otel_testing::Recorder;

use crate::support::{ROWS, attributes, names, pool};

const ALL: &str = "SELECT id FROM users ORDER BY id";

fn is_cancelled(span: &SpanData) -> bool {
    span.attributes.iter().any(|kv| kv.key.as_str() == "error.type" && kv.value.as_str() == "cancelled")
}

/// Polls a future up to `polls` times, awaiting its wakes in between, and drops it.
async fn drop_after<F: Future>(polls: usize, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = polls;
    std::future::poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        future.as_mut().poll(cx).map(Some)
    })
    .await
}

#[tokio::test]
async fn a_query_that_is_dropped_at_each_await_is_recorded_once() {
    let recorder = Recorder::new();
    let pool = pool(&recorder).await;
    let mut completed = false;
    for polls in 0..50 {
        let before = recorder.spans().len();
        let output = drop_after(polls, sqlx::query(ALL).fetch_all(&pool)).await;
        let spans = recorder.spans();
        // A future that was never polled has started nothing.
        assert_eq!(spans.len() - before, usize::from(polls > 0), "{polls} polls");
        if let Some(span) = spans.get(before) {
            assert_eq!(is_cancelled(span), output.is_none(), "{polls} polls: {span:?}");
        }
        completed = output.is_some();
        if completed {
            assert_eq!(output.unwrap().unwrap().len(), 3);
            break;
        }
    }
    assert!(completed, "fewer polls than a query needs");
    let duration = recorder.metric("db.client.operation.duration");
    assert_eq!(duration.count(), recorder.spans().len() as u64);
    recorder.assert_clean();
}

#[tokio::test]
async fn a_transaction_that_is_dropped_at_each_await_is_recorded_once() {
    let recorder = Recorder::new();
    let pool = pool(&recorder).await;
    let work = async || {
        let mut transaction = pool.begin().await?;
        sqlx::query("INSERT INTO users (name) VALUES ('ida')").execute(&mut *transaction).await?;
        transaction.commit().await
    };
    let mut completed = false;
    for polls in 0..50 {
        let before = recorder.spans().len();
        let output = drop_after(polls, work()).await;
        let new: Vec<_> = names(&recorder).split_off(before);
        let spans = recorder.spans().split_off(before);
        completed = output.is_some();
        let all = ["BEGIN", "INSERT users", "COMMIT"];
        if completed {
            assert!(output.unwrap().is_ok());
            assert_eq!(new, all);
            break;
        }
        // The last operation that had begun is cancelled; a transaction that was open is rolled back.
        let cancelled = spans.iter().filter(|span| is_cancelled(span)).count();
        assert!(cancelled <= 1, "{polls} polls: {new:?}");
        let steps: Vec<_> = new.iter().filter(|name| *name != "ROLLBACK").collect();
        assert!(
            all[..].starts_with(&steps.iter().map(|name| name.as_str()).collect::<Vec<_>>()),
            "{polls} polls: {new:?}"
        );
        if steps.len() > 1 && !is_cancelled(&spans[spans.len() - 1]) {
            assert_eq!(new.last().map(String::as_str), Some("ROLLBACK"), "{polls} polls");
        }
        // The next round needs the connection, and the table as it was.
        let users: i64 =
            sqlx::query_scalar("SELECT count(*) FROM users").fetch_one(pool.inner()).await.unwrap();
        assert!(users == 3 || steps.len() == 3, "{polls} polls: {new:?}");
        sqlx::query("DELETE FROM users WHERE id > 3").execute(pool.inner()).await.unwrap();
    }
    assert!(completed, "fewer polls than the work needs");
    recorder.assert_clean();
}

#[tokio::test]
async fn a_stream_that_is_dropped_has_the_rows_so_far() {
    let recorder = Recorder::new();
    let pool = pool(&recorder).await;
    let mut rows = sqlx::query(ALL).fetch(&pool);
    assert_eq!(recorder.spans().len(), 0);
    rows.try_next().await.unwrap().unwrap();
    rows.try_next().await.unwrap().unwrap();
    assert_eq!(recorder.spans().len(), 0, "the stream is running");
    drop(rows);
    let mut connection = pool.acquire().await.unwrap();
    let mut rows = sqlx::raw_sql(ALL).fetch_many(&mut *connection);
    rows.next().await.unwrap().unwrap();
    drop(rows);
    drop(connection);
    // Not polled at all: no operation.
    drop(sqlx::query(ALL).fetch(&pool));
    assert_eq!(attributes(&recorder, ROWS), [Some("2".to_owned()), Some("1".to_owned())]);
    assert_eq!(
        attributes(&recorder, "error.type"),
        [Some("cancelled".to_owned()), Some("cancelled".to_owned())]
    );
    recorder.assert_clean();
}

#[tokio::test]
async fn a_query_that_times_out_while_it_waits_for_a_connection_is_cancelled() {
    let recorder = Recorder::new();
    let pool = pool(&recorder).await;
    let held = pool.acquire().await.unwrap();
    let query = sqlx::query(ALL).fetch_all(&pool);
    assert!(tokio::time::timeout(Duration::from_millis(5), query).await.is_err());
    let mut begin = Box::pin(pool.begin());
    assert!(begin.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    assert_eq!(recorder.metric("db.client.connection.pending_requests").sum(), 1.0);
    drop(begin);
    assert_eq!(recorder.metric("db.client.connection.pending_requests").sum(), 0.0);
    assert_eq!(names(&recorder), ["SELECT users", "BEGIN"]);
    assert!(recorder.spans().iter().all(is_cancelled));
    drop(held);
    recorder.assert_clean();
}

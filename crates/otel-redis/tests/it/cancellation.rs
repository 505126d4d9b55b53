//! Futures that are dropped at each of their await points.

use std::pin::pin;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{Either, select};
use otel_redis::Connection;
use otel_testing::Recorder;
use otel_testing::spans::error_type;
use redis::aio::MultiplexedConnection;
use redis::{AsyncCommands as _, Cmd};

use crate::support::{bare, client, connect, patient, unique};

fn errors(recorder: &Recorder) -> Vec<(String, Option<String>)> {
    recorder.spans().iter().map(|span| (span.name.to_string(), error_type(span))).collect()
}

fn cancelled(name: &str) -> (String, Option<String>) {
    (name.to_owned(), Some("cancelled".to_owned()))
}

/// A command that waits until an element arrives, which none does.
fn blocking(key: &str) -> Cmd {
    let mut command = redis::cmd("BLPOP");
    command.arg(key).arg(0);
    command
}

async fn id(connection: &mut Connection<MultiplexedConnection>) -> u64 {
    redis::cmd("CLIENT").arg("ID").query_async(connection.inner_mut()).await.unwrap()
}

/// Waits until the server has blocked this client, for which no event exists.
async fn is_blocked(id: u64) {
    let mut bare = bare().await;
    loop {
        let mut list = redis::cmd("CLIENT");
        let clients: String = list.arg("LIST").arg("ID").arg(id).query_async(&mut bare).await.unwrap();
        if clients.contains("flags=b") {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn a_future_that_is_dropped_before_it_is_polled_never_was() {
    let recorder = Recorder::new();
    let mut connection = connect(&recorder).await;
    drop(redis::cmd("PING").exec_async(&mut connection));
    drop(redis::pipe().cmd("PING").cmd("PING").exec_async(&mut connection));
    assert_eq!((recorder.spans().len(), recorder.metrics()), (0, String::new()));
    recorder.assert_clean();
}

#[tokio::test]
async fn a_command_is_cancelled_in_the_queue_and_at_the_server() {
    let (recorder, key) = (Recorder::new(), unique("list"));
    let mut connection = connect(&recorder).await;
    let id = id(&mut connection).await;
    let command = blocking(&key);
    // In the queue of the connection, whose task has not run.
    assert!(command.exec_async(&mut connection).now_or_never().is_none());
    // At the server.
    {
        let waiting = pin!(command.exec_async(&mut connection));
        assert!(matches!(select(waiting, pin!(is_blocked(id))).await, Either::Right(_)));
    }
    assert_eq!(errors(&recorder), [cancelled("BLPOP cache"), cancelled("BLPOP cache")]);
    let duration = recorder.metric("db.client.operation.duration");
    assert_eq!(duration.with("error.type", "cancelled").count(), 2);
    recorder.assert_clean();
    let () = bare().await.del(&key).await.unwrap();
}

#[tokio::test]
async fn a_pipeline_and_a_transaction_are_cancelled() {
    let (recorder, key) = (Recorder::new(), unique("list"));
    let mut connection = connect(&recorder).await;
    let id = id(&mut connection).await;
    let mut pipeline = redis::pipe();
    pipeline.cmd("PING").add_command(blocking(&key));
    {
        let waiting = pin!(pipeline.exec_async(&mut connection));
        assert!(matches!(select(waiting, pin!(is_blocked(id))).await, Either::Right(_)));
    }
    // It waits behind the pipeline, which blocks the connection.
    assert!(redis::pipe().atomic().get(&key).exec_async(&mut connection).now_or_never().is_none());
    assert_eq!(errors(&recorder), [cancelled("PIPELINE cache"), cancelled("MULTI GET cache")]);
    recorder.assert_clean();
}

#[tokio::test]
async fn a_command_is_cancelled_while_it_waits_for_a_permit() {
    let (recorder, key) = (Recorder::new(), unique("list"));
    let config = patient().set_concurrency_limit(1);
    let mut connection =
        client(&recorder).get_multiplexed_async_connection_with_config(&config).await.unwrap();
    let id = id(&mut connection).await;
    let mut other = connection.clone();
    let command = blocking(&key);
    {
        let waiting = pin!(command.exec_async(&mut connection));
        let Either::Right(((), waiting)) = select(waiting, pin!(is_blocked(id))).await else {
            panic!("nothing was added to the list");
        };
        let queued = async {
            let mut ping = pin!(other.ping::<String>());
            assert!((&mut ping).now_or_never().is_none());
        };
        assert!(matches!(select(waiting, pin!(queued)).await, Either::Right(_)));
    }
    assert_eq!(errors(&recorder), [cancelled("PING cache"), cancelled("BLPOP cache")]);
    recorder.assert_clean();
}

#[tokio::test]
async fn a_scan_is_cancelled_between_its_commands() {
    let (recorder, key) = (Recorder::new(), unique("set"));
    let mut connection = connect(&recorder).await;
    let mut bare = bare().await;
    let members: Vec<u32> = (0..2_000).collect();
    let () = bare.sadd(&key, &members).await.unwrap();
    let mut members = connection.sscan::<_, u32>(&key).await.unwrap();
    members.next_item().await.unwrap().unwrap();
    drop(members);
    assert_eq!(errors(&recorder), [("SSCAN cache".to_owned(), None)]);
    recorder.assert_clean();
    let () = bare.del(&key).await.unwrap();
}

//! Transactions: spans of their operations, and what they leave in the queue.

use lapin::BasicProperties;
use lapin::options::BasicGetOptions;
use otel_testing::Recorder;

use crate::support::{channel, error_type, queue, send};

#[tokio::test]
async fn a_transaction_is_committed_or_rolled_back() {
    let recorder = Recorder::new();
    let channel = channel(&recorder).await;
    let queue = queue(&channel, "jobs").await;
    channel.tx_select().await.unwrap();
    send(&channel, &queue, BasicProperties::default()).await;
    channel.tx_rollback().await.unwrap();
    send(&channel, &queue, BasicProperties::default()).await;
    channel.tx_commit().await.unwrap();
    let names: Vec<_> = recorder.spans().iter().map(|span| span.name.replace(&queue, "jobs")).collect();
    assert_eq!(names, ["tx_select", "publish jobs", "tx_rollback", "publish jobs", "tx_commit"]);
    assert!(recorder.spans().iter().all(|span| error_type(span).is_none()), "{}", recorder.tree());
    let options = BasicGetOptions { no_ack: true };
    let first = channel.basic_get(queue.as_str().into(), options).await.unwrap().unwrap();
    assert_eq!(first.message_count, 0, "one of the two messages was committed");
    recorder.assert_clean();
}

#[tokio::test]
async fn a_channel_without_a_transaction_commits_none() {
    let recorder = Recorder::new();
    let channel = channel(&recorder).await;
    assert!(channel.tx_commit().await.is_err());
    let commit = recorder.span("tx_commit");
    assert_eq!(error_type(&commit).as_deref(), Some("PRECONDITION_FAILED"));
    recorder.assert_clean();
}

//! Nothing is recorded in a scope that suppresses telemetry, such as an exporter: each export would make further telemetry.

use std::time::Duration;

use opentelemetry::Context;
use opentelemetry::trace::FutureExt as _;
use otel_tasks::sync::{Lock, Mutex, broadcast, mpsc, oneshot};
use otel_tasks::{Channel, WithContext, in_span, spawn_with_span};
use otel_testing::Recorder;

use crate::support::{span, tasks};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_recorded() {
    let recorder = Recorder::new();
    let instrumentation = tasks(&recorder);
    let channel = || Channel::new("jobs").with_instrumentation(&instrumentation);
    let work = async {
        let inner = span(&recorder, "inner");
        let task = spawn_with_span(span(&recorder, "task"), in_span(inner, async {}));
        task.await.unwrap();
        let (sender, mut receiver) = mpsc::channel(channel(), 4);
        sender.send(1).await.unwrap();
        sender.send(2).await.unwrap();
        assert_eq!(receiver.process(async |job| job).await, Some(1));
        drop(receiver);
        let (reply, answer) = oneshot::channel(channel());
        reply.send(3).unwrap();
        assert_eq!(answer.await.unwrap().into_inner(), 3);
        assert_eq!(channel().process_sync(WithContext::new(4), |job| job), 4);
        let (sender, mut receiver) = broadcast::channel(channel(), 1);
        sender.send(5).unwrap();
        sender.send(6).unwrap();
        assert!(receiver.recv().await.is_err());
        assert_eq!(*receiver.recv().await.unwrap(), 6);
        channel().count_dropped(7);
        let mutex = Mutex::new(Lock::new("cache").with_instrumentation(&instrumentation), ());
        let held = mutex.lock().await;
        tokio::time::timeout(Duration::from_millis(1), mutex.lock()).await.unwrap_err();
        drop(held);
    };
    work.with_context(Context::new().with_telemetry_suppressed()).await;
    assert_eq!((recorder.metrics(), recorder.spans().len()), (String::new(), 0));
}

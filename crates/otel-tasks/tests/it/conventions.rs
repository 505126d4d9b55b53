//! The names that tasks and channels record are those that docs/conventions.md lists, with their instruments and units.

use std::time::Duration;

use otel_tasks::sync::{Lock, Mutex, mpsc};
use otel_tasks::{Channel, in_span, timeout};
use otel_testing::Recorder;
use otel_testing::registry::{ConventionCheck, ProjectNames};

use crate::support::{span, tasks};

const DOCUMENT: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/conventions.md"));

#[tokio::test(start_paused = true)]
async fn the_names_of_tasks_and_channels_are_listed() {
    let recorder = Recorder::new();
    span(&recorder, "task").wrap(async { Err::<(), _>(std::fmt::Error) }).await.unwrap_err();
    let slow = in_span(span(&recorder, "part"), std::future::pending::<()>());
    timeout(Duration::from_secs(1), span(&recorder, "slow"), slow).await.unwrap_err();
    let (sender, mut receiver) =
        mpsc::channel(Channel::new("jobs").with_instrumentation(&tasks(&recorder)), 200);
    for _ in 0..140 {
        sender.try_send(()).unwrap();
    }
    receiver.process(async |()| ()).await;
    let mut items = Vec::new();
    receiver.recv_many(&mut items, 130).await;
    receiver.channel().process_batch(items, async |_| ()).await;
    drop(receiver);
    let lock = Mutex::new(Lock::new("cache").with_instrumentation(&tasks(&recorder)), ());
    let held = lock.lock().await;
    tokio::time::timeout(Duration::from_secs(1), lock.lock()).await.unwrap_err();
    drop(held);
    let mut check = ConventionCheck::new(ProjectNames::parse(DOCUMENT, "otel-tasks").unwrap());
    check.add(&recorder);
    assert_eq!(check.finish(), Ok(()), "{}", recorder.tree());
}

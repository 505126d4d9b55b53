//! Locks: the wait for one that is not free is a sample, also if it is given up.

use std::sync::Arc;
use std::time::Duration;

use otel_tasks::sync::{Lock, Mutex, RwLock, Semaphore};
use otel_testing::Recorder;
use tokio::time::timeout;

use crate::support::tasks;

const WAIT: Duration = Duration::from_millis(20);

fn cache(recorder: &Recorder) -> Lock {
    Lock::new("cache").with_instrumentation(&tasks(recorder))
}

fn waits(recorder: &Recorder) -> (u64, f64) {
    let waits = recorder.metric("lock.wait.duration").with("lock.name", "cache");
    (waits.count(), waits.sum())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_wait_for_a_mutex_is_recorded() {
    let recorder = Recorder::new();
    let mutex = Arc::new(Mutex::new(cache(&recorder), 1));
    let held = mutex.lock().await;
    assert_eq!(recorder.metrics(), "", "a free lock has no wait");
    let waiting = tokio::spawn({
        let mutex = Arc::clone(&mutex);
        async move { *mutex.lock().await += 1 }
    });
    // Given up, which is a wait too.
    timeout(WAIT, mutex.lock()).await.unwrap_err();
    drop(held);
    waiting.await.unwrap();
    let (count, sum) = waits(&recorder);
    assert_eq!(count, 2);
    assert!(sum >= WAIT.as_secs_f64(), "{sum}");
    assert!(mutex.try_lock().is_ok(), "it dereferences to tokio's");
    assert_eq!(Arc::into_inner(mutex).unwrap().into_inner(), 2);
}

#[tokio::test]
async fn the_waits_for_reading_and_writing_are_recorded() {
    let recorder = Recorder::new();
    let lock = RwLock::new(cache(&recorder), 1);
    let (first, second) = (lock.read().await, lock.read().await);
    timeout(WAIT, lock.write()).await.unwrap_err();
    assert_eq!(waits(&recorder).0, 1, "readers do not wait for each other");
    drop((first, second));
    let mut writer = lock.write().await;
    *writer += 1;
    timeout(WAIT, lock.read()).await.unwrap_err();
    assert_eq!(waits(&recorder).0, 2);
    drop(writer);
    assert_eq!(lock.into_inner(), 2);
}

#[tokio::test]
async fn the_wait_for_permits_is_recorded() {
    let recorder = Recorder::new();
    let semaphore = Semaphore::new(cache(&recorder), 2);
    let permit = semaphore.acquire().await.unwrap();
    timeout(WAIT, semaphore.acquire_many(2)).await.unwrap_err();
    assert_eq!((waits(&recorder).0, semaphore.available_permits()), (1, 1));
    drop(permit);
    assert_eq!(semaphore.acquire_many(2).await.unwrap().num_permits(), 2);
    semaphore.close();
    assert!(semaphore.acquire().await.is_err());
}

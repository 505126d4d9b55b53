//! The end of a shutdown of a runtime or a coordinator.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// The longest time that a shutdown waits for tasks that it has aborted.
const RELEASE: Duration = Duration::from_secs(1);

/// Waits until nothing is held any more by aborted tasks, which the threads of tokio drop a moment later; a thread that is blocked by
/// user code does not.
pub(crate) async fn released(is_held: impl Fn() -> bool) {
    let began = Instant::now();
    while is_held() && began.elapsed() < RELEASE {
        sleep(Duration::from_millis(1)).await;
    }
}

//! Waiting for the messages of a run.

use std::time::{Duration, Instant};

/// The maximum time without a received message; restarting a server and the timeouts of requests take a fraction of it.
const PATIENCE: Duration = Duration::from_secs(120);

/// Waits until the condition holds, or until the number of received messages has not changed for two minutes; the report
/// shows the difference.
pub async fn wait(received: impl Fn() -> u64, holds: impl Fn() -> bool) {
    let (mut seen, mut since) = (received(), Instant::now());
    while !holds() && since.elapsed() < PATIENCE {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let now = received();
        if now != seen {
            (seen, since) = (now, Instant::now());
        }
    }
}

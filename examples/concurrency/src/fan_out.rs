//! Fan-out and fan-in: several requests at once, whose results are one.

use std::io;
use std::time::Duration;

use otel_tasks::{in_span, try_join_all};
use tokio::time::sleep;

/// Counts the rows of a shard. The third one is away.
async fn count(shard: u64) -> Result<u64, io::Error> {
    sleep(Duration::from_millis(3 * (shard + 1))).await;
    if shard == 2 { Err(io::ErrorKind::ConnectionRefused.into()) } else { Ok(100 * shard) }
}

pub(crate) async fn run() {
    for shards in [2, 4] {
        let counted = in_span("count rows", try_join_all("count shard", (0..shards).map(count))).await;
        match counted {
            Ok(counts) => println!("  {} rows in {shards} shards", counts.iter().sum::<u64>()),
            Err(error) => println!("  {shards} shards were not counted: {error}"),
        }
    }
    println!();
}

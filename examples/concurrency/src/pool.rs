//! A pool of two workers for four tasks, of which one panics.

use std::time::Duration;

use otel_tasks::{WorkerPool, in_span_with};
use tokio::time::sleep;

pub(crate) async fn run() {
    let resized = in_span_with(
        "resize images",
        async {
            let mut pool = WorkerPool::new(2);
            for image in 0..4_u32 {
                let resize = async move {
                    sleep(Duration::from_millis(5)).await;
                    assert!(image != 1, "image {image} is broken");
                    image
                };
                pool.spawn("resize", resize).await;
            }
            pool.drain().await
        },
        // One broken image is no failure of all.
        |_| otel_tasks::Outcome::ok(),
    )
    .await;
    let (good, broken): (Vec<_>, Vec<_>) = resized.into_iter().partition(Result::is_ok);
    println!("  {} images resized, {} broken\n", good.len(), broken.len());
}

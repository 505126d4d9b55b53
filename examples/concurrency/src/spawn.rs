//! Tasks: awaited ones are children of their caller, one that is not awaited starts a trace of its own.

use std::io;
use std::time::Duration;

use otel_tasks::{TaskSpan, in_span, spawn, spawn_blocking_with_span, spawn_with_span, traced};
use tokio::time::sleep;

use crate::Failure;

/// The span has the name of the function. Of its arguments, the id alone is recorded.
#[traced(fields("user.id" = id))]
async fn load_user(id: u64, _token: &str) -> Result<String, io::Error> {
    sleep(Duration::from_millis(4)).await;
    Ok(format!("user {id}"))
}

pub(crate) async fn run() -> Result<(), Failure> {
    let (user, hash, refresh) = in_span("sign in", async {
        // No span of its own: `load_user` inside of it is a child of `sign in` all the same.
        let user = spawn(load_user(7, "secret"));
        let hash = spawn_blocking_with_span("hash password", || {
            std::thread::sleep(Duration::from_millis(6));
            0x5eed_u64
        });
        let refresh = spawn_with_span(TaskSpan::new("refresh cache").with_new_trace(), async {
            sleep(Duration::from_millis(2)).await;
        });
        (user.await, hash.await, refresh)
    })
    .await;
    println!("  signed in {} with {:x}\n", user??, hash?);
    refresh.await?;
    Ok(())
}

//! Jobs through a channel, processed in the trace of their sender: `cargo run -p otel-tasks --example tasks_channel`.

mod common;

use std::io;

use otel_tasks::sync::{mpsc, oneshot};
use otel_tasks::{in_span, spawn};

#[tokio::main]
#[expect(clippy::print_stdout, reason = "an example prints to its terminal")]
async fn main() -> Result<(), io::Error> {
    let telemetry = common::telemetry();
    let (jobs, mut received) = mpsc::channel::<(u64, oneshot::Sender<u64>)>("jobs", 16);
    let worker = spawn(async move {
        // The worker has no span of its own, so that each job is a child of its sender's.
        while let Some(answered) = received.process(async |(job, reply)| reply.send(job * job)).await {
            println!("job answered: {}", answered.is_ok());
        }
    });
    let square = in_span("square", async {
        let (reply, answer) = oneshot::channel("replies");
        jobs.send((7, reply)).await.map_err(io::Error::other)?;
        answer.await.map(|answer| answer.into_inner()).map_err(io::Error::other)
    });
    println!("7 × 7 = {}", square.await?);
    drop(jobs);
    worker.await?;
    telemetry.shutdown().map_err(io::Error::other)
}

//! A pipeline: two stages, joined by channels. The second one works on batches.

use futures_util::future::try_join;
use otel_tasks::sync::mpsc;
use otel_tasks::{in_span, spawn};
use tokio::task::JoinError;

use crate::Failure;

pub(crate) async fn run() -> Result<(), Failure> {
    let (lines, mut received_lines) = mpsc::channel("lines", 8);
    let (rows, mut received_rows) = mpsc::channel("rows", 8);
    for line in ["1,ada", "2,grace", "x,nobody"] {
        // Each line is the beginning of a trace.
        in_span("read line", async { lines.send(line).await }).await?;
    }
    drop(lines);
    let parse = spawn(async move {
        let parse = async |line: &'static str| {
            let (id, name) = line.split_once(',').ok_or("no comma")?;
            let id: u64 = id.parse().map_err(|_| "no number")?;
            rows.send((id, name)).await.map_err(|_| "no receiver")
        };
        let mut failed = 0;
        while let Some(result) = received_lines.process(parse).await {
            failed += u32::from(result.is_err());
        }
        failed
    });
    let store = spawn(async move {
        let (mut batch, mut stored) = (Vec::new(), 0);
        // Filled until the channel is closed: one batch.
        while received_rows.recv_many(&mut batch, 8).await > 0 {}
        let channel = received_rows.channel();
        stored += channel.process_batch(batch, async |rows: Vec<(u64, &str)>| rows.len()).await;
        stored
    });
    let (failed, stored) = try_join(parse, store).await.map_err(|error: JoinError| error.to_string())?;
    println!("  {stored} rows stored in one batch, {failed} line not parsed\n");
    Ok(())
}

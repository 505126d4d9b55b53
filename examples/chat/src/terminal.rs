//! A member who sits at a terminal.

use std::error::Error;
use std::io::BufRead;
use std::thread;
use std::time::Duration;

use otel_telemetry::Telemetry;
use tokio::sync::mpsc;
use tonic::transport::Endpoint;

use crate::client::Member;
use crate::telemetry::{telemetry, waterfall};

/// Joins, says what is typed and shows what is heard until either ends; then draws one's own side of it.
pub(crate) async fn run(address: &str, name: &str) -> Result<(), Box<dyn Error>> {
    // Pictures in the middle of a conversation would be in its way.
    let waterfall = waterfall().with_quiet(Duration::from_secs(24 * 60 * 60));
    let telemetry = telemetry(name, &waterfall, |traces| traces)?;
    let endpoint = Endpoint::from_shared(format!("http://{address}"))?;
    let ended = talk(&endpoint, name, &telemetry).await;
    println!();
    // With the last exporter the pictures come.
    telemetry.shutdown().await;
    ended
}

async fn talk(endpoint: &Endpoint, name: &str, telemetry: &Telemetry) -> Result<(), Box<dyn Error>> {
    let channel = endpoint.connect().await?;
    let mut member = Member::join(channel, endpoint.uri(), name, telemetry).await?;
    let mut typed = typed();
    let mut listening = true;
    loop {
        tokio::select! {
            heard = member.hear(|line| println!("{line}")) => match heard {
                Ok(true) => {}
                Ok(false) => return Ok(()),
                Err(status) => return Err(format!("{}: {}", status.code(), status.message()).into()),
            },
            line = typed.recv(), if listening => match line {
                Some(line) if line.is_empty() => {}
                Some(line) => member.say(&line).await,
                None => {
                    listening = false;
                    member.leave();
                }
            },
        }
    }
}

/// The lines of the standard input. A thread reads them, for reading cannot be given up, and a program that waited for it
/// could not end before somebody typed.
fn typed() -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel(1);
    thread::spawn(move || {
        let lines = std::io::stdin().lock().lines().map_while(Result::ok);
        lines.take_while(|line| sender.blocking_send(line.trim().to_owned()).is_ok()).for_each(drop);
    });
    receiver
}

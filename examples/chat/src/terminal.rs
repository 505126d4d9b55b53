//! A member at a terminal.

use std::error::Error;
use std::io::BufRead;
use std::thread;
use std::time::Duration;

use otel_telemetry::Telemetry;
use tokio::sync::mpsc;
use tonic::transport::Endpoint;

use crate::client::Member;
use crate::telemetry::{telemetry, waterfall};

/// Joins the room, sends typed lines and prints received ones. At the end of the stream it draws the member's traces.
pub(crate) async fn run(address: &str, name: &str) -> Result<(), Box<dyn Error>> {
    // The long quiet period keeps traces from being drawn during the conversation.
    let waterfall = waterfall().with_quiet(Duration::from_secs(24 * 60 * 60));
    let telemetry = telemetry(name, &waterfall, |traces| traces)?;
    let endpoint = Endpoint::from_shared(format!("http://{address}"))?;
    let result = talk(&endpoint, name, &telemetry).await;
    println!();
    // Dropping the last exporter draws the traces.
    telemetry.shutdown().await;
    result
}

async fn talk(endpoint: &Endpoint, name: &str, telemetry: &Telemetry) -> Result<(), Box<dyn Error>> {
    let channel = endpoint.connect().await?;
    let mut member = Member::join(channel, endpoint.uri(), name, telemetry).await?;
    let mut input = input_lines();
    let mut input_open = true;
    loop {
        tokio::select! {
            received = member.receive(|line| println!("{line}")) => match received {
                Ok(true) => {}
                Ok(false) => return Ok(()),
                Err(status) => return Err(format!("{}: {}", status.code(), status.message()).into()),
            },
            line = input.recv(), if input_open => match line {
                Some(line) if line.is_empty() => {}
                Some(line) => member.say(&line).await,
                None => {
                    input_open = false;
                    member.leave();
                }
            },
        }
    }
}

/// The lines of the standard input. A detached thread reads them, because a blocking read cannot be cancelled and would
/// delay the exit of the program until the next line.
fn input_lines() -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel(1);
    thread::spawn(move || {
        let lines = std::io::stdin().lock().lines().map_while(Result::ok);
        lines.take_while(|line| sender.blocking_send(line.trim().to_owned()).is_ok()).for_each(drop);
    });
    receiver
}

//! Reports of the services, which the script waits for and prints.

use std::fmt::Display;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::error::Elapsed;
use tokio::time::timeout;

use crate::{Failure, PATIENCE};

/// The sender of a service's reports.
#[derive(Clone, Debug)]
pub(crate) struct Reporter(UnboundedSender<String>);

/// The receiver of a service's reports.
#[derive(Debug)]
pub(crate) struct Reports {
    name: &'static str,
    receiver: UnboundedReceiver<String>,
}

/// Creates a channel for a service's reports.
pub(crate) fn reports(name: &'static str) -> (Reporter, Reports) {
    let (sender, receiver) = unbounded_channel();
    (Reporter(sender), Reports { name, receiver })
}

impl Reporter {
    pub(crate) fn send(&self, report: impl Display) {
        // The script may have ended and dropped the receiver.
        let _ = self.0.send(report.to_string());
    }
}

impl Reports {
    /// Waits for the next report and prints it.
    pub(crate) async fn print_next(&mut self) -> Result<(), Failure> {
        print(self.name, timeout(PATIENCE, self.receiver.recv()).await)
    }

    /// Waits for the next report of one of two services and prints it.
    pub(crate) async fn print_next_of(one: &mut Self, other: &mut Self) -> Result<(), Failure> {
        let either = async {
            tokio::select! {
                report = one.receiver.recv() => (one.name, report),
                report = other.receiver.recv() => (other.name, report),
            }
        };
        match timeout(PATIENCE, either).await {
            Ok((name, report)) => print(name, Ok(report)),
            Err(elapsed) => print(one.name, Err(elapsed)),
        }
    }
}

fn print(name: &str, report: Result<Option<String>, Elapsed>) -> Result<(), Failure> {
    let report = report.map_err(|_| format!("no report from service {name} within {PATIENCE:?}"))?;
    let report = report.ok_or_else(|| format!("service {name} ended unexpectedly"))?;
    println!("  {name:<10} {report}");
    Ok(())
}

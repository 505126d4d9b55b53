//! Reports of the services, which the script waits for and prints.

use std::collections::BTreeSet;
use std::fmt;

use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use crate::{Failure, PATIENCE};

/// The sender of a service's reports.
#[derive(Clone, Debug)]
pub(crate) struct Reporter(mpsc::UnboundedSender<String>);

impl Reporter {
    pub(crate) fn send(&self, report: impl fmt::Display) {
        // The script may have ended and dropped the receiver.
        let _ = self.0.send(report.to_string());
    }
}

/// The receiver of a service's reports.
#[derive(Debug)]
pub(crate) struct Reports {
    name: &'static str,
    receiver: mpsc::UnboundedReceiver<String>,
}

/// Creates a channel for a service's reports.
pub(crate) fn reports(name: &'static str) -> (Reporter, Reports) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (Reporter(sender), Reports { name, receiver })
}

impl Reports {
    /// Waits for the next report and prints it.
    pub(crate) async fn print_next(&mut self) -> Result<(), Failure> {
        self.print_sorted(1).await
    }

    /// Waits for this number of reports and prints them in the order of their text, because that of members that run
    /// side by side differs from run to run.
    pub(crate) async fn print_sorted(&mut self, count: usize) -> Result<(), Failure> {
        let mut reports = Vec::with_capacity(count);
        while reports.len() < count {
            reports.push(self.next().await?);
        }
        reports.sort_unstable();
        self.print(reports);
        Ok(())
    }

    /// Waits for the last reports of a step. Prints them and all before them in the order of their text, each once: the group
    /// may rebalance again before it is stable, and a handler that is stopped again reports the same again.
    pub(crate) async fn print_distinct_until(&mut self, last: &[&str]) -> Result<(), Failure> {
        let mut reports = BTreeSet::new();
        while !last.iter().all(|last| reports.contains(*last)) {
            reports.insert(self.next().await?);
        }
        self.print(reports);
        Ok(())
    }

    async fn next(&mut self) -> Result<String, Failure> {
        let name = self.name;
        match timeout(PATIENCE, self.receiver.recv()).await {
            Ok(Some(report)) => Ok(report),
            Ok(None) => Err(format!("service {name} ended unexpectedly").into()),
            Err(_) => Err(format!("no report from service {name} within {PATIENCE:?}").into()),
        }
    }

    fn print(&self, reports: impl IntoIterator<Item = String>) {
        for report in reports {
            println!("  {:<8} {report}", self.name);
        }
    }
}

/// A signal to stop, sent by dropping the sender.
#[derive(Clone, Debug)]
pub(crate) struct Stop(watch::Receiver<()>);

pub(crate) fn stop() -> (watch::Sender<()>, Stop) {
    let (sender, receiver) = watch::channel(());
    (sender, Stop(receiver))
}

impl Stop {
    /// Completes when the sender is dropped.
    pub(crate) async fn requested(&mut self) {
        while self.0.changed().await.is_ok() {}
    }
}

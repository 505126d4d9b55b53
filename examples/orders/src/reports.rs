//! What the services say, for the script to wait for and to print.

use std::fmt;

use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use crate::{Failure, PATIENCE};

/// Where a service says what it has done.
#[derive(Clone, Debug)]
pub(crate) struct Reports(mpsc::UnboundedSender<String>);

impl Reports {
    pub(crate) fn say(&self, what: impl fmt::Display) {
        // Whether anybody listens is not the service's matter.
        let _ = self.0.send(what.to_string());
    }
}

/// Where the script hears a service.
#[derive(Debug)]
pub(crate) struct Ear {
    name: &'static str,
    said: mpsc::UnboundedReceiver<String>,
}

/// A service's voice, and the ear for it.
pub(crate) fn reports(name: &'static str) -> (Reports, Ear) {
    let (sender, said) = mpsc::unbounded_channel();
    (Reports(sender), Ear { name, said })
}

impl Ear {
    /// Waits for the next thing that the service says, and prints it.
    pub(crate) async fn hear(&mut self) -> Result<(), Failure> {
        let name = self.name;
        match timeout(PATIENCE, self.said.recv()).await {
            Ok(Some(what)) => println!("  {name:<8} {what}"),
            Ok(None) => return Err(format!("{name} is gone").into()),
            Err(_) => return Err(format!("{name} said nothing for {PATIENCE:?}").into()),
        }
        Ok(())
    }
}

/// Tells a service to stop, when the sender is dropped.
#[derive(Clone, Debug)]
pub(crate) struct Stop(watch::Receiver<()>);

pub(crate) fn stop() -> (watch::Sender<()>, Stop) {
    let (sender, receiver) = watch::channel(());
    (sender, Stop(receiver))
}

impl Stop {
    /// Is ready when the service is to stop.
    pub(crate) async fn wanted(&mut self) {
        while self.0.changed().await.is_ok() {}
    }
}

//! The broker: a given one, or that of `cargo xtask services`.

use std::process::Stdio;

use tokio::process::Command;

use crate::Failure;

/// The folder of the workspace, in which the xtask keeps its services.
const WORKSPACE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// A running broker.
#[derive(Debug)]
pub(crate) struct Broker {
    pub(crate) address: String,
    /// True if this program has started it.
    started: bool,
}

impl Broker {
    pub(crate) fn at(address: String) -> Self {
        Self { address, started: false }
    }

    /// Returns the broker of `RABBITMQ_URL` or a running one of `cargo xtask services`, or else starts one.
    pub(crate) async fn find() -> Result<Self, Failure> {
        let output = services("up").await?;
        let address = output.lines().find_map(|line| line.strip_prefix("export RABBITMQ_URL="));
        let address = address.ok_or("`cargo xtask services up rabbitmq` printed no address")?;
        let started = output.lines().any(|line| line.starts_with("rabbitmq: started"));
        Ok(Self { address: address.trim_matches('\'').to_owned(), started })
    }

    /// Stops the broker if this program has started it.
    pub(crate) async fn release(self) -> Result<(), Failure> {
        if self.started {
            services("down").await?;
        }
        Ok(())
    }
}

/// Runs `cargo xtask services ACTION rabbitmq` and returns its output.
async fn services(action: &str) -> Result<String, Failure> {
    // Set by `cargo run`.
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["xtask", "services", action, "rabbitmq"])
        .current_dir(WORKSPACE)
        .stderr(Stdio::inherit())
        .output()
        .await?;
    if !output.status.success() {
        let hint = "pass the address of a broker with `--broker`";
        return Err(format!("`cargo xtask services {action} rabbitmq` failed; {hint}").into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

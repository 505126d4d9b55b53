//! The server of an example: a given one, or that of `cargo xtask services`.

use std::error::Error;
use std::process::Stdio;

use tokio::process::Command;

type Failure = Box<dyn Error + Send + Sync>;

/// The folder of the workspace, in which the xtask keeps its services.
const WORKSPACE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// A running server.
#[derive(Debug)]
#[non_exhaustive]
pub struct Service {
    /// The address, as the variable of the service has it.
    pub address: String,
    /// The name of the service that this program has started.
    started: Option<&'static str>,
}

impl Service {
    /// Returns the server at this address, which the user has started.
    #[must_use]
    pub fn at(address: String) -> Self {
        Self { address, started: None }
    }

    /// Returns the server whose address is in `variable` or a running one of `cargo xtask services`, or else starts one.
    ///
    /// # Errors
    /// Returns an error if the server cannot be started. Its text names `option`, with which an address is given.
    pub async fn find(name: &'static str, variable: &str, option: &str) -> Result<Self, Failure> {
        let output = services("up", name)
            .await
            .map_err(|error| format!("{error}; pass the address of a running server with `{option}`"))?;
        let address = output
            .lines()
            .find_map(|line| line.strip_prefix("export ")?.strip_prefix(variable)?.strip_prefix('='));
        let address =
            address.ok_or_else(|| format!("`cargo xtask services up {name}` printed no {variable}"))?;
        let is_started = output.lines().any(|line| line.starts_with(&format!("{name}: started")));
        Ok(Self { address: address.trim_matches('\'').to_owned(), started: is_started.then_some(name) })
    }

    /// Stops the server if this program has started it.
    ///
    /// # Errors
    /// Returns an error if the server cannot be stopped.
    pub async fn release(self) -> Result<(), Failure> {
        if let Some(name) = self.started {
            services("down", name).await?;
        }
        Ok(())
    }
}

/// Runs `cargo xtask services ACTION NAME` and returns its output.
async fn services(action: &str, name: &str) -> Result<String, Failure> {
    // Set by `cargo run`.
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["xtask", "services", action, name])
        .current_dir(WORKSPACE)
        .stderr(Stdio::inherit())
        .output()
        .await?;
    if !output.status.success() {
        return Err(format!("`cargo xtask services {action} {name}` failed: {}", output.status).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

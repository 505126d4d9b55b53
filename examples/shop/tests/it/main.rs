//! Orders through all services, as processes: the trace of each, its money and its stock.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests panic")]

mod health;
mod orders;
mod telemetry;

use std::path::PathBuf;

use shop::stage::Servers;

/// A folder that is removed on drop.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("shop-test-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    pub(crate) fn path(&self) -> &std::path::Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The servers of `cargo xtask services`, or those in the environment.
pub(crate) fn real_servers() -> Servers {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/services/env");
    let lines = std::fs::read_to_string(file).unwrap_or_default();
    let address = |name: &'static str| {
        let of_file = lines.lines().find_map(|line| {
            line.strip_prefix("export ")?
                .strip_prefix(name)?
                .strip_prefix('=')
                .map(|value| value.trim_matches('\''))
        });
        let address = std::env::var(name).ok().or(of_file.map(str::to_owned));
        let start = "start the servers: `cargo xtask services up kafka nats rabbitmq postgres`";
        (name, address.unwrap_or_else(|| panic!("{name} is neither set nor in {file}: {start}")))
    };
    Servers::Real(Servers::VARIABLES.into_iter().map(address).collect())
}

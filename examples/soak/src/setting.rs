//! The variables that `cargo xtask services up` writes, for soaks that run a server of their own.

use std::fs;

/// The file of variables that is read if a variable is not set.
const SETTINGS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/services/env");

/// Returns a variable from the environment or from the file that `cargo xtask services up` writes.
///
/// # Errors
/// A text that names the variable and the command that sets it.
pub fn setting(name: &str, service: &str) -> Result<String, String> {
    if let Ok(value) = std::env::var(name) {
        return Ok(value);
    }
    let lines = fs::read_to_string(SETTINGS).unwrap_or_default();
    let value =
        lines.lines().find_map(|line| line.strip_prefix("export ")?.strip_prefix(name)?.strip_prefix('='));
    let value = value.map(|value| value.trim_matches('\'').to_owned());
    value.ok_or_else(|| format!("{name} is not set; run `cargo xtask services up {service}`"))
}

//! Programs of this repository that run a private server for tests.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

/// Writes the script to this path, unless it is there already, and makes it executable.
pub(super) fn install(path: &Path, script: &str) -> Result<PathBuf> {
    if fs::read_to_string(path).is_ok_and(|text| text == script) {
        return Ok(path.to_owned());
    }
    // Renamed into position, because a test may be starting the script at this moment.
    let new = path.with_extension("new");
    fs::write(&new, script)
        .and_then(|()| executable(&new))
        .and_then(|()| fs::rename(&new, path))
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path.to_owned())
}

#[cfg(unix)]
fn executable(path: &Path) -> std::io::Result<()> {
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755))
}

/// Does nothing: other systems have no executable bit and no shell that runs the script.
#[cfg(not(unix))]
fn executable(_: &Path) -> std::io::Result<()> {
    Ok(())
}

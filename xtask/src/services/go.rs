//! Programs that are built from Go modules. A language is never installed unasked.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail};

use crate::{
    process::{program, run_within},
    services::debian,
};

/// Timeout of a build, which takes some minutes of a processor.
const LIMIT: Duration = Duration::from_secs(20 * 60);

/// Writes the source, by the names of its files, and builds the package into a program of this name. Returns its path.
pub(super) fn build(folder: &Path, source: &[(&str, &str)], package: &str, name: &str) -> Result<PathBuf> {
    if !debian::has("go") {
        bail!("Go is not installed");
    }
    let module = folder.join("source");
    fs::create_dir_all(&module).with_context(|| format!("cannot create {}", module.display()))?;
    for (name, text) in source {
        let file = module.join(name);
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    }
    let built = folder.join(name);
    // No other toolchain is downloaded: an older one than go.mod asks for is an error.
    let mut command = program("go", &module);
    command.env("GOTOOLCHAIN", "local").args(["build", "-buildvcs=false", "-o"]).arg(&built).arg(package);
    run_within(&mut command, LIMIT)?;
    Ok(built)
}

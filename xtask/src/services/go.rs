//! Programs that are built from Go modules. A language is never installed unasked.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, bail};

use crate::{
    process::{answer, program, run_within},
    services::debian,
};

/// Timeout of a build, which takes some minutes of a processor.
const LIMIT: Duration = Duration::from_secs(20 * 60);

/// Writes the source, by the names of its files, and builds the package into a program of this name. Returns its path.
pub(super) fn build(folder: &Path, source: &[(&str, &str)], package: &str, name: &str) -> Result<PathBuf> {
    let mut command = in_module(folder, source)?;
    let built = folder.join(name);
    command.args(["build", "-buildvcs=false", "-o"]).arg(&built).arg(package);
    run_within(&mut command, LIMIT)?;
    Ok(built)
}

/// Writes the source, by the names of its files, downloads one of its dependencies, and returns the folder of that module.
pub(super) fn module(folder: &Path, source: &[(&str, &str)], path: &str) -> Result<PathBuf> {
    run_within(in_module(folder, source)?.args(["mod", "download", path]), LIMIT)?;
    let found = answer(in_module(folder, source)?.args(["list", "-m", "-f", "{{.Dir}}", path]));
    Ok(found.with_context(|| format!("go does not list the module {path}"))?.into())
}

/// Writes the source, and returns a command of Go in its module.
fn in_module(folder: &Path, source: &[(&str, &str)]) -> Result<Command> {
    if !debian::has("go") {
        bail!("Go is not installed");
    }
    let module = folder.join("source");
    fs::create_dir_all(&module).with_context(|| format!("cannot create {}", module.display()))?;
    for (name, text) in source {
        let file = module.join(name);
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    }
    let mut command = program("go", &module);
    // No other toolchain is downloaded: an older one than go.mod asks for is an error.
    command.env("GOTOOLCHAIN", "local");
    Ok(command)
}

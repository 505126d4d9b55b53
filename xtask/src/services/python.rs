//! Programs from Python packages, each in a virtual environment of its own.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context, Result, bail};

use crate::{
    process::{answer, program, run_within},
    services::debian::Requirement,
};

/// Timeout of creating the environment and of installing into it, which both take seconds.
const LIMIT: Duration = Duration::from_secs(5 * 60);

/// Returns the package that makes virtual environments, if this machine's Python cannot.
pub(crate) fn missing() -> Vec<Requirement> {
    match answer(program("python3", Path::new(".")).args(["-c", "import ensurepip, venv"])) {
        Some(_) => Vec::new(),
        None => vec![("python3 with the module venv", "python3-venv")],
    }
}

/// Installs the requirements, separated by white space, in `folder` unless an earlier call has done so, and returns the
/// program's path, as the one-line script `locate` prints it in that environment.
pub(crate) fn installed(folder: &Path, requirements: &str, locate: &str) -> Result<String> {
    let venv = folder.join("venv");
    // Written last, so that an interrupted installation does not count as complete.
    let marker = venv.join("installed");
    let python = venv.join("bin/python").display().to_string();
    let program_path =
        || answer(program(&python, folder).args(["-c", locate])).filter(|path| Path::new(path).is_file());
    if fs::read_to_string(&marker).is_ok_and(|installed| installed == requirements)
        && let Some(path) = program_path()
    {
        return Ok(path);
    }
    if venv.exists() {
        println!("{} is incomplete or has a different version; creating it again", venv.display());
        fs::remove_dir_all(&venv).with_context(|| format!("cannot remove {}", venv.display()))?;
    }
    if answer(program("python3", folder).arg("--version")).is_none() {
        bail!("python3 is not installed; on Debian and Ubuntu `apt-get install python3-venv` installs it");
    }
    run_within(program("python3", folder).args(["-m", "venv"]).arg(&venv), LIMIT)
        .context("python3 cannot create a virtual environment; on Debian and Ubuntu, install python3-venv")?;
    let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"];
    let mut pip = program(&python, folder);
    pip.args(install).args(["--only-binary", ":all:"]).args(requirements.split_whitespace());
    run_within(&mut pip, LIMIT)
        .with_context(|| format!("pip cannot install {requirements}; its output is above"))?;
    let path = program_path()
        .with_context(|| format!("{requirements} was installed, but its program was not found"))?;
    fs::write(&marker, requirements).with_context(|| format!("cannot write {}", marker.display()))?;
    Ok(path)
}

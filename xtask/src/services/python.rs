//! Programs that come as a Python package, each in a virtual environment of ours below its service's folder.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context, Result, bail};

use crate::process::{answer, program, run_within};

/// How long making the environment may take, and filling it; both take seconds.
const LIMIT: Duration = Duration::from_secs(5 * 60);

/// Installs the requirement below `folder`, unless it is there and whole, and gives back what the one-line script
/// `question` prints in that environment: where the program is.
pub(super) fn installed(folder: &Path, requirement: &str, question: &str) -> Result<String> {
    let venv = folder.join("venv");
    // Written last, so that an installation that was cut off is not taken for a whole one.
    let marker = venv.join("installed");
    let python = venv.join("bin/python").display().to_string();
    let ask =
        || answer(program(&python, folder).args(["-c", question])).filter(|path| Path::new(path).is_file());
    if fs::read_to_string(&marker).is_ok_and(|installed| installed == requirement)
        && let Some(path) = ask()
    {
        return Ok(path);
    }
    if venv.exists() {
        println!("{} is of another version or broken; making it anew", venv.display());
        fs::remove_dir_all(&venv).with_context(|| format!("cannot remove {}", venv.display()))?;
    }
    if answer(program("python3", folder).arg("--version")).is_none() {
        bail!("python3 is missing; on Debian and Ubuntu `apt-get install python3-venv` installs it");
    }
    run_within(program("python3", folder).args(["-m", "venv"]).arg(&venv), LIMIT)
        .context("python3 cannot make a virtual environment; on Debian and Ubuntu python3-venv is missing")?;
    let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"];
    run_within(program(&python, folder).args(install).args(["--only-binary", ":all:", requirement]), LIMIT)
        .with_context(|| format!("pip cannot install {requirement}; what it says is above"))?;
    let path = ask().with_context(|| format!("{requirement} was installed but has no such program"))?;
    fs::write(&marker, requirement).with_context(|| format!("cannot write {}", marker.display()))?;
    Ok(path)
}

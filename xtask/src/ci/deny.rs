//! cargo-deny: the one on this machine, or else one that is built into `target/tools`.

use std::{env::consts::EXE_SUFFIX, path::Path, process::Command};

use anyhow::Result;

use crate::process::{answer, cargo, program, run};

/// The release that is installed where there is none.
const VERSION: &str = "0.20.2";

/// A command that runs cargo-deny. Building it takes about a minute on two cores: it works for a second or two
/// on a tree of this size, so it is built without optimisation.
pub(super) fn installed(root: &Path) -> Result<Command> {
    if answer(cargo(root).args(["deny", "--version"])).is_some() {
        let mut command = cargo(root);
        command.arg("deny");
        return Ok(command);
    }
    let own = root.join("target/tools/bin").join(format!("cargo-deny{EXE_SUFFIX}")).display().to_string();
    if answer(program(&own, root).arg("--version")).as_deref() != Some(&format!("cargo-deny {VERSION}")) {
        println!("cargo-deny is not installed; building it into target/tools");
        run(cargo(root)
            .args(["install", "cargo-deny", "--locked", "--debug", "--force", "--no-track"])
            .args(["--version", VERSION, "--root", "target/tools"])
            .env("CARGO_PROFILE_DEV_DEBUG", "0"))?;
    }
    Ok(program(&own, root))
}

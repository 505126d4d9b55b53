//! The step `browser`: the page of otel-waterfall in a headless Chromium, driven by playwright-core.

use std::{env, fs, path::PathBuf, time::Duration};

use anyhow::{Context, Result, bail};

use crate::{
    ci::{Outcome, steps::build_cargo},
    process::{program, run, run_within},
    repo::Repo,
    services::debian::{self, Requirement},
};

/// The driver from npm. It downloads no browser: Debian's is used.
const DRIVER: &str = "playwright-core@1.65.0";

const REQUIRED: [Requirement; 3] = [("chromium", "chromium"), ("node", "nodejs"), ("npm", "npm")];

/// The longest time that the tests may take; they take two minutes.
const TESTS: Duration = Duration::from_secs(10 * 60);

/// The step is skipped where the browser is missing and may not be installed.
pub(super) fn browser(repo: &Repo) -> Result<Outcome> {
    let missing: Vec<_> = REQUIRED.into_iter().filter(|(name, _)| !debian::has(name)).collect();
    if let Err(missing) = debian::install(&repo.root, &missing) {
        return Ok(Outcome::Skipped(format!("{missing:#}")));
    }
    let folder = repo.root.join("target/browser");
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let mut install = program("npm", &folder);
    install.args(["install", "--prefix", ".", "--no-audit", "--no-fund", "--ignore-scripts", DRIVER]);
    run(&mut install)?;

    let crate_features = ["--package", "otel-waterfall", "--features", "serve"];
    run(build_cargo(repo).arg("build").args(crate_features))?;
    let mut tests = program("node", &repo.root.join("crates/otel-waterfall/tests/browser"));
    // One after the other, because they measure times.
    tests.args(["--test", "--test-concurrency=1", "page.test.mjs", "live.test.mjs"]);
    tests.env("OTEL_WATERFALL", repo.metadata.target_directory.join("debug/otel-waterfall"));
    tests.env("NODE_MODULES_FOLDER", folder.join("node_modules"));
    tests.env("CHROMIUM", on_path("chromium")?);
    run_within(&mut tests, TESTS)?;
    Ok(Outcome::Passed)
}

fn on_path(name: &str) -> Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    match env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file()) {
        Some(file) => Ok(file),
        None => bail!("`{name}` is not on PATH"),
    }
}

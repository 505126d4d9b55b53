//! `cargo xtask tidy`: the rules of ARCHITECTURE.md and CONTRIBUTING.md that a program can check.
//!
//! Each rule is a pure function from the tree to findings. This file owns the list of rules.

mod api;
mod commits;
mod deploy;
mod deploy_kubernetes;
mod figures;
mod manifests;
mod prose;
mod references;
mod shape;
mod sources;
mod tiers;
mod tree;

use anyhow::{Result, bail};

pub(crate) use crate::tidy::{
    deploy::metrics::dashboard_expressions, deploy_kubernetes::check_rendered, tiers::Tier,
};
use crate::{
    repo::Repo,
    tidy::tree::{Finding, Tree},
};

type Rule = fn(&Tree) -> Vec<Finding>;

const RULES: &[Rule] = &[
    shape::papers,
    shape::transports,
    tiers::known,
    tiers::direction,
    tiers::sdk,
    tiers::testing,
    manifests::lints,
    manifests::dependencies,
    manifests::features,
    sources::header,
    sources::size,
    sources::words,
    sources::conflicts,
    sources::allows,
    sources::paths,
    api::attributes,
    api::one_path,
    api::clear_names,
    prose::language,
    references::follows,
    references::published,
    deploy::parses,
    deploy::images,
    deploy::compose::variables,
    deploy::compose::ports,
    deploy::compose::files,
    deploy::metrics::known,
    deploy::metrics::tested,
    figures::readmes,
    figures::missed_goals,
    commits::subjects,
    commits::changelogs,
    deploy_kubernetes::manifests,
];

pub(crate) fn command(arguments: &[String]) -> Result<()> {
    if let Some(argument) = arguments.first() {
        bail!("unknown argument `{argument}`: `cargo xtask tidy` takes none");
    }
    check(&Repo::open()?)
}

/// Prints all findings; returns an error if there is any.
pub(crate) fn check(repo: &Repo) -> Result<()> {
    let tree = Tree::read(repo)?;
    let mut findings: Vec<_> = RULES.iter().flat_map(|rule| rule(&tree)).collect();
    findings.sort();
    for Finding { path, line, message } in &findings {
        println!("{path}:{line}: {message}");
    }
    match findings.len() {
        0 => {
            println!("tidy: {} files, {} crates, no finding", tree.files.len(), tree.crates.len());
            Ok(())
        }
        1 => bail!("tidy has one finding"),
        count => bail!("tidy has {count} findings"),
    }
}

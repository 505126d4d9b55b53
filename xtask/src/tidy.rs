//! `cargo xtask tidy`: whether the tree has the shape that ARCHITECTURE.md describes.
//!
//! Each rule is a pure function from the tree to findings. This file owns the list of rules.

mod manifests;
mod shape;
mod sources;
mod tiers;
mod tree;

use anyhow::{Result, bail};

pub(crate) use crate::tidy::tiers::Tier;
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
    sources::allows,
    sources::paths,
];

pub(crate) fn command(arguments: &[String]) -> Result<()> {
    if let Some(argument) = arguments.first() {
        bail!("tidy takes no arguments, but was given `{argument}`");
    }
    check(&Repo::open()?)
}

/// Prints what is wrong with the repository; an error if anything is.
pub(crate) fn check(repo: &Repo) -> Result<()> {
    let tree = Tree::read(repo)?;
    let mut findings: Vec<_> = RULES.iter().flat_map(|rule| rule(&tree)).collect();
    findings.sort();
    for Finding { path, line, message } in &findings {
        println!("{path}:{line}: {message}");
    }
    match findings.len() {
        0 => {
            println!("tidy: {} files, {} crates, nothing to tell", tree.files.len(), tree.crates.len());
            Ok(())
        }
        1 => bail!("tidy has one finding"),
        count => bail!("tidy has {count} findings"),
    }
}

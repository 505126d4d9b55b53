//! Input and output of the rules: the repository's text files and library crates, and the findings.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use cargo_metadata::{DependencyKind, Package};

use crate::{
    repo::Repo,
    tidy::commits::{self, Commit},
};

/// The repository. Paths are relative to its root folder and use `/` as separator.
#[derive(Debug, Default)]
pub(super) struct Tree {
    pub(super) files: Vec<File>,
    pub(super) crates: Vec<Crate>,
    pub(super) commits: Vec<Commit>,
}

#[derive(Debug)]
pub(super) struct File {
    pub(super) path: String,
    pub(super) text: String,
}

/// A package under `crates/`.
#[derive(Debug, Default)]
pub(super) struct Crate {
    pub(super) name: String,
    /// `crates/NAME`.
    pub(super) folder: String,
    pub(super) features: Vec<String>,
    pub(super) dependencies: Vec<Dependency>,
}

#[derive(Debug)]
pub(super) struct Dependency {
    pub(super) name: String,
    /// `true` for a dev-dependency.
    pub(super) dev: bool,
    /// `true` for a path dependency without a version, which `cargo publish` removes from the manifest if it is a
    /// dev-dependency.
    pub(super) path_only: bool,
}

/// A violation of a rule, with its location.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Finding {
    pub(super) path: String,
    /// Counted from 1.
    pub(super) line: usize,
    pub(super) message: String,
}

impl Finding {
    pub(super) fn new(path: impl Into<String>, line: usize, message: impl Into<String>) -> Self {
        Self { path: path.into(), line, message: message.into() }
    }
}

impl Tree {
    pub(super) fn read(repo: &Repo) -> Result<Self> {
        let mut files = Vec::new();
        walk(&repo.root, "", &mut files)?;
        files.sort_by(|a, b| a.path.cmp(&b.path));
        let crates = repo.crates().into_iter().map(|package| Crate::new(repo, package)).collect();
        let commits = commits::read(&repo.root)?;
        Ok(Self { files, crates, commits })
    }

    pub(super) fn file(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }

    /// Returns `true` if the module `path` exists, as `path.rs` or as `path/mod.rs`.
    pub(super) fn has_module(&self, path: &str) -> bool {
        self.file(&format!("{path}.rs")).is_some() || self.file(&format!("{path}/mod.rs")).is_some()
    }

    /// The Rust files.
    pub(super) fn sources(&self) -> impl Iterator<Item = &File> {
        self.files.iter().filter(|file| file.path.ends_with(".rs"))
    }
}

impl File {
    /// The lines with their numbers, counted from 1.
    pub(super) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        (1..).zip(self.text.lines())
    }
}

impl Crate {
    fn new(repo: &Repo, package: &Package) -> Self {
        let folder = package.manifest_path.parent().map_or("", |folder| folder.as_str());
        let folder = Path::new(folder).strip_prefix(&repo.root).unwrap_or(Path::new(folder));
        let dependencies = package.dependencies.iter().map(|dependency| Dependency {
            name: dependency.name.clone(),
            dev: dependency.kind == DependencyKind::Development,
            path_only: dependency.path.is_some() && dependency.req.comparators.is_empty(),
        });
        Self {
            name: package.name.to_string(),
            folder: slashed(folder),
            features: package.features.keys().filter(|name| *name != "default").cloned().collect(),
            dependencies: dependencies.collect(),
        }
    }

    pub(super) fn manifest(&self) -> String {
        format!("{}/Cargo.toml", self.folder)
    }
}

fn slashed(path: &Path) -> String {
    path.components().map(|part| part.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/")
}

/// Returns `true` for folders of generated files.
fn is_generated(name: &str, path: &str) -> bool {
    matches!(name, "target" | ".git") || matches!(path, "fuzz/corpus" | "fuzz/artifacts")
}

/// Collects the text files in `folder`, without generated ones.
fn walk(root: &Path, folder: &str, files: &mut Vec<File>) -> Result<()> {
    let here = root.join(folder);
    let context = || format!("cannot read {}", here.display());
    for entry in fs::read_dir(&here).with_context(context)? {
        let entry = entry.with_context(context)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
        let kind = entry.file_type().with_context(context)?;
        if kind.is_dir() {
            if !is_generated(&name, &path) {
                walk(root, &path, files)?;
            }
        } else if kind.is_file() && name != "Cargo.lock" {
            let bytes = fs::read(entry.path()).with_context(|| format!("cannot read {path}"))?;
            // Files that are not UTF-8 are images or test data, which no rule checks.
            if let Ok(text) = String::from_utf8(bytes) {
                files.push(File { path, text });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
pub(super) fn tree(files: &[(&str, &str)]) -> Tree {
    let files = files.iter().map(|(path, text)| File { path: (*path).to_owned(), text: (*text).to_owned() });
    Tree { files: files.collect(), ..Tree::default() }
}

#[cfg(test)]
mod tests {
    use super::{Tree, tree};
    use crate::repo::Repo;

    #[test]
    fn the_repository_is_read() {
        let tree = Tree::read(&Repo::open().unwrap()).unwrap();
        let own = tree.file("xtask/src/tidy/tree.rs").unwrap();
        assert!(own.text.contains("fn the_repository_is_read"));
        assert!(tree.file(".ci/run").is_some(), "hidden folders are read as well");
        assert!(!tree.files.iter().any(|file| file.path.contains("target/")));
        let http = tree.crates.iter().find(|one| one.name == "otel-http").unwrap();
        assert_eq!(http.manifest(), "crates/otel-http/Cargo.toml");
        let api = http.dependencies.iter().find(|one| one.name == "opentelemetry").unwrap();
        assert!(!api.dev && !api.path_only);
    }

    #[test]
    fn a_module_is_a_file_or_a_folder() {
        let tree = tree(&[("a/src/one.rs", ""), ("a/src/two/mod.rs", ""), ("a/src/three/part.rs", "")]);
        assert!(tree.has_module("a/src/one"));
        assert!(tree.has_module("a/src/two"));
        assert!(!tree.has_module("a/src/three"));
    }
}

//! Where the repository is and which packages Cargo sees in it.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use cargo_metadata::{Metadata, MetadataCommand, Package};

/// The repository's top folder and what `cargo metadata` says of the workspace in it.
#[derive(Debug)]
pub(crate) struct Repo {
    pub(crate) root: PathBuf,
    pub(crate) metadata: Metadata,
}

impl Repo {
    pub(crate) fn open() -> Result<Self> {
        let root = top();
        let metadata = metadata(&root.join("Cargo.toml"))?;
        Ok(Self { root, metadata })
    }

    /// The library crates: what lives under `crates/`, in the order of their names.
    pub(crate) fn crates(&self) -> Vec<&Package> {
        let folder = self.root.join("crates");
        let mut crates: Vec<_> = self
            .metadata
            .packages
            .iter()
            .filter(|package| package.manifest_path.as_std_path().starts_with(&folder))
            .collect();
        crates.sort_by_key(|package| package.name.to_string());
        crates
    }

    /// The path inside the repository if there is such a file.
    pub(crate) fn file(&self, path: &str) -> Option<PathBuf> {
        Some(self.root.join(path)).filter(|path| path.is_file())
    }
}

/// The repository's top folder. xtask is built where it is used, so it may remember where that was.
fn top() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own).to_owned()
}

/// The packages of the workspace that `manifest` belongs to, without their dependencies: this needs no network.
pub(crate) fn metadata(manifest: &Path) -> Result<Metadata> {
    MetadataCommand::new()
        .manifest_path(manifest)
        .no_deps()
        .exec()
        .with_context(|| format!("cannot read {}", manifest.display()))
}

#[cfg(test)]
mod tests {
    use super::Repo;

    #[test]
    fn the_workspace_is_found() {
        let repo = Repo::open().unwrap();
        assert_eq!(repo.metadata.workspace_root.as_std_path(), repo.root);
        assert!(repo.file("xtask/Cargo.toml").is_some());
        assert!(repo.file("xtask").is_none());
        assert!(repo.crates().iter().any(|package| *package.name == "otel-http"));
        assert!(repo.crates().iter().all(|package| *package.name != "xtask"));
    }
}

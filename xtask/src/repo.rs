//! The repository: its location and its `cargo metadata`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use cargo_metadata::{Metadata, MetadataCommand, Package};

/// The repository's root folder and the `cargo metadata` of its workspace.
#[derive(Debug)]
pub(crate) struct Repo {
    pub(crate) root: PathBuf,
    pub(crate) metadata: Metadata,
}

impl Repo {
    pub(crate) fn open() -> Result<Self> {
        let root = root();
        let metadata = metadata(&root.join("Cargo.toml"))?;
        Ok(Self { root, metadata })
    }

    /// The packages in `crates/`, sorted by name.
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

    /// The absolute path of a file in the repository, if the file exists.
    pub(crate) fn file(&self, path: &str) -> Option<PathBuf> {
        Some(self.root.join(path)).filter(|path| path.is_file())
    }
}

/// The repository's root folder. It is a constant of the build, because `cargo xtask` runs in the checkout that it was
/// built in.
fn root() -> PathBuf {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap_or(xtask).to_owned()
}

/// Reads the packages of the manifest's workspace without their dependencies, so that no network is needed.
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

//! A validator of Compose files and of the Dockerfiles that they build, for one step of `cargo xtask ci --full`: the loader of Docker
//! Compose and BuildKit's parser, built from their Go modules. It needs no container engine.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use crate::services::go;

/// The source, by the names of its files.
const SOURCE: [(&str, &str); 3] = [
    ("main.go", include_str!("compose_file/main.go")),
    ("go.mod", include_str!("compose_file/go.mod")),
    ("go.sum", include_str!("compose_file/go.sum")),
];

/// Builds the program, which takes the path of a file, and returns its path.
pub(crate) fn validator(root: &Path) -> Result<PathBuf> {
    let folder = root.join("target/services/compose-file");
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    go::build(&folder, &SOURCE, ".", "composefile")
}

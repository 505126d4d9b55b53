//! Consul 1.14, for one step of `cargo xtask ci --full`: its tests start agents of their own, so that only the program is needed.
//!
//! It is built from Go modules. From version 1.17 on Consul is not free software.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use crate::services::go;

/// The source, by the names of its files. The program is a tool of its module.
const SOURCE: [(&str, &str); 2] =
    [("go.mod", include_str!("consul/go.mod")), ("go.sum", include_str!("consul/go.sum"))];

/// Builds the program, and returns its path.
pub(crate) fn server(root: &Path) -> Result<PathBuf> {
    let folder = root.join("target/services/consul");
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    go::build(&folder, &SOURCE, "github.com/hashicorp/consul", "consul")
}

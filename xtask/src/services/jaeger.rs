//! Jaeger 1.76, the program that is also version 2.13, for one step of `cargo xtask ci --full`. It is built from Go modules, which
//! have no page: only its query API is used.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use crate::services::go;

/// The source, by the names of its files. The program is a tool of its module.
const SOURCE: [(&str, &str); 2] =
    [("go.mod", include_str!("jaeger/go.mod")), ("go.sum", include_str!("jaeger/go.sum"))];

/// Builds the program, and returns its path.
pub(crate) fn server(root: &Path) -> Result<PathBuf> {
    let folder = root.join("target/services/jaeger");
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    go::build(&folder, &SOURCE, "github.com/jaegertracing/jaeger/cmd/jaeger", "jaeger")
}

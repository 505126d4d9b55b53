//! Prometheus and promtool of Debian, 2.42 or later, for the steps of `cargo xtask ci --full` that check `deploy/`.

use std::path::Path;

use anyhow::Result;

use crate::services::debian::{self, Requirement};

/// Installs the programs `prometheus` and `promtool` if they are missing, with permission.
pub(crate) fn install(root: &Path) -> Result<()> {
    let programs: [Requirement; 2] = [("prometheus", "prometheus"), ("promtool", "prometheus")];
    let missing: Vec<_> = programs.into_iter().filter(|(name, _)| !debian::has(name)).collect();
    debian::install(root, &missing)
}

//! Rules for `Cargo.toml` files.
//!
//! Manifests are parsed line by line, because a finding needs its line number. Each entry begins on its own line.

use crate::tidy::tree::{File, Finding, Tree};

/// Every package inherits the lints of the workspace.
pub(super) fn lints(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.files.iter().filter(|file| is_member(&file.path)) {
        let inherits =
            entries(file).any(|entry| entry.section == "lints" && entry.text == "workspace = true");
        if !inherits {
            let message = "the workspace lints are not inherited; add `[lints]` with `workspace = true`";
            findings.push(Finding::new(&*file.path, 1, message));
        }
    }
    findings
}

/// Every dependency is inherited, so that its version is only in the workspace's manifest.
pub(super) fn dependencies(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.files.iter().filter(|file| is_member(&file.path)) {
        for entry in entries(file) {
            // A separate section, such as `[dependencies.tokio]`, hides the dependency from this rule and from readers
            // of the list.
            let listed = entry.section.ends_with("dependencies");
            let hidden = entry.section.contains("dependencies.");
            let inherits = entry.text.contains("workspace = true");
            if hidden || (listed && !inherits) {
                let name = entry.text.split(['.', ' ', '=']).next().unwrap_or_default();
                let message = if hidden {
                    format!("write `[{}]` as one line in its dependency list", entry.section)
                } else {
                    format!(
                        "`{name}` is not inherited; declare it in `[workspace.dependencies]` and use `workspace = true`"
                    )
                };
                findings.push(Finding::new(&*file.path, entry.line, message));
            }
        }
    }
    findings
}

/// Every feature is named in the crate's documentation, because users do not find it otherwise.
pub(super) fn features(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in &tree.crates {
        let root = tree.file(&format!("{}/src/lib.rs", package.folder)).map_or("", |file| &file.text);
        let mut docs: String = root.lines().filter(|line| line.starts_with("//!")).collect();
        if root.contains("include_str!(\"../README.md\")") {
            docs.push_str(tree.file(&format!("{}/README.md", package.folder)).map_or("", |file| &file.text));
        }
        for feature in package.features.iter().filter(|feature| !docs.contains(&format!("`{feature}`"))) {
            let path = package.manifest();
            let line = tree.file(&path).and_then(|file| {
                entries(file).find(|entry| entry.section == "features" && entry.name() == feature)
            });
            let message = format!("the crate's documentation does not name the feature `{feature}`");
            findings.push(Finding::new(path, line.map_or(1, |entry| entry.line), message));
        }
    }
    findings
}

/// Returns `true` for manifests of this workspace's packages; `benchmarks/` and `fuzz/` are separate workspaces.
fn is_member(path: &str) -> bool {
    path == "xtask/Cargo.toml"
        || ((path.starts_with("crates/") || path.starts_with("examples/"))
            && path.ends_with("/Cargo.toml")
            && path.split('/').count() == 3)
}

/// A line such as `name = value`, with its section.
struct Entry<'a> {
    line: usize,
    section: &'a str,
    text: &'a str,
}

impl<'a> Entry<'a> {
    fn name(&self) -> &'a str {
        self.text.split([' ', '=']).next().unwrap_or_default()
    }
}

/// The entries of a manifest; an indented line continues the entry before it.
fn entries(file: &File) -> impl Iterator<Item = Entry<'_>> {
    let mut section = "";
    file.lines().filter_map(move |(line, text)| {
        if let Some(header) = text.strip_prefix('[') {
            section = header.trim_matches(['[', ']', ' ']);
            return None;
        }
        let begins = text.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '"');
        (begins && text.contains('=')).then_some(Entry { line, section, text })
    })
}

#[cfg(test)]
mod tests {
    use super::{dependencies, features, lints};
    use crate::tidy::tree::{Crate, Finding, Tree, tree};

    const MANIFEST: &str = "crates/otel-http/Cargo.toml";

    #[test]
    fn lints_are_inherited() {
        assert_eq!(lints(&tree(&[(MANIFEST, "[package]\n\n[lints]\nworkspace = true\n")])), []);
        for wrong in
            ["[package]\n", "[lints]\n", "[lints]\n\n[package]\nworkspace = true\n", "[lints.rust]\n"]
        {
            assert_eq!(lints(&tree(&[(MANIFEST, wrong)])).len(), 1, "{wrong}");
        }
        let other = [("benchmarks/Cargo.toml", ""), ("crates/otel-http/tests/data/Cargo.toml", "")];
        assert_eq!(lints(&tree(&other)), []);
        assert_eq!(lints(&tree(&[("examples/rest-api/Cargo.toml", "")])).len(), 1);
        assert_eq!(lints(&tree(&[("xtask/Cargo.toml", "")])).len(), 1);
    }

    #[test]
    fn dependencies_are_inherited() {
        let right = "[dependencies]\nhttp.workspace = true\ntokio = { workspace = true, features = [\n  \"rt\",\n] }\n\
                     [features]\naxum = [\"dep:axum\"]\n";
        assert_eq!(dependencies(&tree(&[(MANIFEST, right)])), []);
        let wrong = "[dev-dependencies]\nhttp.workspace = true\ntokio = \"1\"\n\
                     [target.'cfg(unix)'.dependencies]\nlibc = { version = \"0.2\" }\n";
        let text = |name| {
            format!(
                "`{name}` is not inherited; declare it in `[workspace.dependencies]` and use `workspace = true`"
            )
        };
        let expected = [Finding::new(MANIFEST, 3, text("tokio")), Finding::new(MANIFEST, 5, text("libc"))];
        assert_eq!(dependencies(&tree(&[(MANIFEST, wrong)])), expected);
        let hidden = "[dependencies.tokio]\nworkspace = true\n";
        assert_eq!(
            dependencies(&tree(&[(MANIFEST, hidden)])),
            [Finding::new(MANIFEST, 2, "write `[dependencies.tokio]` as one line in its dependency list")],
        );
    }

    fn featured(lib: &str, readme: &str) -> Tree {
        let manifest = "[features]\n# For axum.\naxum = []\nbound-metrics = []\n";
        let files = tree(&[
            (MANIFEST, manifest),
            ("crates/otel-http/src/lib.rs", lib),
            ("crates/otel-http/README.md", readme),
        ]);
        let http = Crate {
            name: "otel-http".to_owned(),
            folder: "crates/otel-http".to_owned(),
            features: vec!["axum".to_owned(), "bound-metrics".to_owned()],
            ..Crate::default()
        };
        Tree { crates: vec![http], ..files }
    }

    #[test]
    fn features_are_documented() {
        let both = "- `axum`: …\n- `bound-metrics`: …\n";
        assert_eq!(features(&featured("//! `axum` and `bound-metrics`.\n", "")), []);
        assert_eq!(features(&featured("#![doc = include_str!(\"../README.md\")]\n", both)), []);
        assert_eq!(features(&featured("//! Something else.\n", both)).len(), 2, "the README is not included");
        assert_eq!(
            features(&featured("//! `axum` alone.\n// `bound-metrics`\n", "")),
            [Finding::new(
                MANIFEST,
                4,
                "the crate's documentation does not name the feature `bound-metrics`"
            )],
        );
    }
}

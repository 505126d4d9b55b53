//! References: the documents that comments follow, and the dependencies that documents show to users.

use std::path::Path;

use crate::tidy::{
    prose,
    tree::{File, Finding, Tree},
};

/// "Follows X" is worth its line only if a reader can open X.
pub(super) fn follows(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.files.iter().filter(|file| file.path.ends_with(".rs") || file.path.ends_with(".md")) {
        for (line, paragraph) in prose::paragraphs(file) {
            for (_, sentence) in prose::split(line, &paragraph) {
                // A sentence ends at a colon too: the rest of the paragraph may hold the reference.
                if sentence.starts_with("Follows ")
                    && !has_reference(tree, &file.path, after(&paragraph, &sentence))
                {
                    let message = "`Follows …` names neither a URL nor a file of the repository";
                    findings.push(Finding::new(&*file.path, line, message));
                }
            }
        }
    }
    findings
}

/// The paragraph from the beginning of the sentence up to its full stop.
fn after<'a>(paragraph: &'a str, sentence: &str) -> &'a str {
    let rest = paragraph.find(sentence).map_or(paragraph, |start| &paragraph[start..]);
    rest.find(". ").map_or(rest, |end| &rest[..end])
}

/// Returns true if the text has a URL, or names a file of the repository in backticks or as the target of a link. Paths
/// are relative to the top folder or to the folder of the file.
fn has_reference(tree: &Tree, path: &str, text: &str) -> bool {
    let folder = Path::new(path).parent().unwrap_or(Path::new(""));
    let is_file = |name: &str| {
        let name = name.split('#').next().unwrap_or_default();
        let beside = folder.join(name);
        tree.file(name).is_some() || beside.to_str().is_some_and(|beside| tree.file(beside).is_some())
    };
    text.contains("https://") || text.contains("http://") || text.split(['`', '(', ')']).any(is_file)
}

/// No crate of ours is published, and `otel-http` on crates.io is another project's: a document shows the dependency by
/// git or path.
pub(super) fn published(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.files.iter().filter(|file| is_shown_to_users(file)) {
        for (line, text) in file.lines() {
            for one in tree.crates.iter().filter(|one| asks_for(text, &one.name)) {
                let message = format!("`{}` is not on crates.io; show the git or path dependency", one.name);
                findings.push(Finding::new(&*file.path, line, message));
            }
        }
    }
    findings
}

fn is_shown_to_users(file: &File) -> bool {
    let is_text = file.path.ends_with(".md") || file.path.ends_with(".rs");
    is_text && file.path != "RELEASING.md" && !file.path.starts_with("xtask/src/tidy/")
}

/// Returns true if the line adds the crate by its name or by a version.
fn asks_for(line: &str, name: &str) -> bool {
    let adds = line.split("cargo add ").nth(1).is_some_and(|rest| {
        let by_name = rest.split_whitespace().any(|word| word.split('@').next() == Some(name));
        by_name && !rest.contains("--git") && !rest.contains("--path")
    });
    let by_version =
        line.trim_start_matches(['/', '!', '#', ' ', '*', '-']).strip_prefix(name).is_some_and(|rest| {
            let value = rest.trim_start().strip_prefix('=').map(str::trim_start);
            value.is_some_and(|value| {
                value.starts_with('"')
                    || (value.starts_with('{')
                        && value.contains("version")
                        && !value.contains("git")
                        && !value.contains("path"))
            })
        });
    adds || by_version
}

#[cfg(test)]
mod tests {
    use super::{follows, published};
    use crate::tidy::tree::{Crate, Tree, tree};

    const FILE: &str = "crates/otel-http/src/client.rs";

    #[test]
    fn a_reference_can_be_opened() {
        for right in [
            "Follows https://www.rfc-editor.org/rfc/rfc9110#section-5.",
            "Follows the conventions for clients: <https://opentelemetry.io/docs>, \"HTTP client\".",
            "Follows [the conventions](https://opentelemetry.io/docs).",
            "Follows `docs/sagas.md`, \"Appends\".",
            "Follows [the rules](../README.md#limits).",
            "The client follows the caller.",
        ] {
            let files =
                [(FILE, format!("//! A file.\n//!\n//! {right}\n")), ("docs/sagas.md", String::new())];
            let files: Vec<_> = files.iter().map(|(path, text)| (*path, text.as_str())).collect();
            let files = [&files[..], &[("crates/otel-http/src/../README.md", "")]].concat();
            assert_eq!(follows(&tree(&files)), [], "{right}");
        }
        for wrong in [
            "Follows the HTTP semantic conventions, \"HTTP client\".",
            "Follows DESIGN.md, \"Sagas\". See https://opentelemetry.io.",
            "Follows `docs/none.md`.",
        ] {
            let findings = follows(&tree(&[(FILE, &format!("//! A file.\n//!\n//! {wrong}\n"))]));
            assert_eq!(findings.len(), 1, "{wrong}");
            assert_eq!(findings[0].line, 3);
        }
    }

    #[test]
    fn no_document_asks_for_a_crate_that_is_not_published() {
        let read = |text: &str| {
            let http = Crate { name: "otel-http".to_owned(), ..Crate::default() };
            published(&Tree { crates: vec![http], ..tree(&[("README.md", text)]) }).len()
        };
        for right in [
            "otel-http = { git = \"https://example.com/repository\" }\n",
            "otel-http = { path = \"../otel-http\", version = \"0.1.0\" }\n",
            "cargo add otel-http --git https://example.com/repository\n",
            "cargo add tokio\n",
            "otel-http records each request.\n",
        ] {
            assert_eq!(read(right), 0, "{right}");
        }
        for wrong in [
            "otel-http = \"0.1\"\n",
            "//! otel-http = { version = \"0.1\", features = [\"axum\"] }\n",
            "cargo add otel-http\n",
            "run `cargo add otel-http@0.1 tokio`\n",
        ] {
            assert_eq!(read(wrong), 1, "{wrong}");
        }
    }
}

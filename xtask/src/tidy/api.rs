//! Places of names: attributes and metrics in the file of their role, each public item at one path of its crate.

use std::collections::BTreeMap;

use crate::tidy::{
    tiers,
    tree::{File, Finding, Tree},
};

/// The namespaces of the semantic conventions that the transports use.
const NAMESPACES: &[&str] =
    &["client", "db", "error", "http", "messaging", "network", "rpc", "server", "url", "user_agent"];

/// Names of public types that readers stumbled over: participles and common nouns that mean something else elsewhere.
const UNCLEAR: &[&str] = &[
    "Answer",
    "Args",
    "Ballot",
    "Complete",
    "Core",
    "Count",
    "Created",
    "End",
    "Found",
    "Gathered",
    "Handle",
    "Handled",
    "Header",
    "History",
    "Interned",
    "Loaded",
    "Made",
    "Moment",
    "Moved",
    "Operator",
    "Parts",
    "Processing",
    "Received",
    "Sent",
    "Slots",
    "StepShape",
    "Then",
    "Told",
    "Traced",
    "Verdict",
    "Written",
];

/// A public type has a name that says what it is.
pub(super) fn clear_names(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.sources().filter(|file| file.path.starts_with("crates/") && file.path.contains("/src/"))
    {
        for (line, text) in code(file) {
            if let Some(name) = defined(text).filter(|name| UNCLEAR.contains(name)) {
                findings.push(Finding::new(&*file.path, line, format!("`{name}` does not say what it is")));
            }
        }
    }
    findings
}

/// The names of the conventions are written in `attributes.rs` and `metrics.rs`, so that a new version of the
/// conventions is a change to these files.
pub(super) fn attributes(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for one in tree.crates.iter().filter(|one| tiers::has_conventions(&one.name)) {
        let source = format!("{}/src/", one.folder);
        for file in tree.sources().filter(|file| file.path.starts_with(&source)) {
            let inside = &file.path[source.len()..];
            let has_role = |role: &str| inside.split('/').any(|part| part.trim_end_matches(".rs") == role);
            if ["attributes", "metrics", "tests"].into_iter().any(has_role) {
                continue;
            }
            for (line, text) in code(file) {
                for name in literals(text).filter(|literal| is_convention(literal)) {
                    let message =
                        format!("`{name}` is written in attributes.rs or metrics.rs, and used from there");
                    findings.push(Finding::new(&*file.path, line, message));
                }
            }
        }
    }
    findings
}

/// The lines of a file that are code and no tests.
fn code(file: &File) -> impl Iterator<Item = (usize, &str)> {
    let tests = file.text.find("#[cfg(test)]\nmod ").unwrap_or(file.text.len());
    let count = file.text[..tests].lines().count();
    file.lines().take(count).filter(|(_, line)| !line.trim_start().starts_with("//"))
}

/// The string literals of a line, as far as they have no escapes.
fn literals(line: &str) -> impl Iterator<Item = &str> {
    line.split('"').skip(1).step_by(2)
}

fn is_convention(literal: &str) -> bool {
    let Some((namespace, rest)) = literal.split_once('.') else { return false };
    let is_name = |byte: u8| byte.is_ascii_lowercase() || byte == b'_' || byte == b'.';
    NAMESPACES.contains(&namespace) && !rest.is_empty() && rest.bytes().all(is_name)
}

/// A public item has one path in its crate, so that two users of it write the same import.
pub(super) fn one_path(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for one in &tree.crates {
        let root = format!("{}/src/lib.rs", one.folder);
        let Some(lib) = tree.file(&root) else { continue };
        let modules: Vec<&str> =
            lib.lines().filter_map(|(_, line)| line.strip_prefix("pub mod ")?.strip_suffix(';')).collect();
        let mut paths: BTreeMap<String, usize> = BTreeMap::new();
        let mut add = |file: &File| {
            for name in exports(file) {
                *paths.entry(name).or_default() += 1;
            }
        };
        add(lib);
        for module in modules {
            let path = format!("{}/src/{module}", one.folder);
            for name in [format!("{path}.rs"), format!("{path}/mod.rs")] {
                tree.file(&name).into_iter().for_each(&mut add);
            }
        }
        for (name, count) in paths.into_iter().filter(|(_, count)| *count > 1) {
            findings.push(Finding::new(
                &*root,
                1,
                format!("`{name}` has {count} public paths in `{}`", one.name),
            ));
        }
    }
    findings
}

/// The public items of a file: those that it defines at its top level, and those that it re-exports.
fn exports(file: &File) -> Vec<String> {
    let mut names = Vec::new();
    // A line break first, so that a statement on the first line is found as well.
    let text: String =
        std::iter::once("\n".to_owned()).chain(code(file).map(|(_, line)| format!("{line}\n"))).collect();
    names.extend(text.lines().filter_map(defined).map(str::to_owned));
    for statement in text.split("\npub use ").skip(1).filter_map(|rest| rest.split(';').next()) {
        let list = match statement.split_once('{') {
            Some((_, list)) => list.trim_end().trim_end_matches('}'),
            None => statement.rsplit("::").next().unwrap_or_default(),
        };
        let items = list.split(',').filter_map(last_name).filter(|item| item.starts_with(char::is_uppercase));
        names.extend(items.map(str::to_owned));
    }
    names
}

/// The public type that a line at the top level of a file defines.
fn defined(line: &str) -> Option<&str> {
    let kinds = ["pub struct ", "pub enum ", "pub trait ", "pub type "];
    let rest = kinds.into_iter().find_map(|kind| line.strip_prefix(kind))?;
    rest.split(|c: char| !c.is_alphanumeric() && c != '_').next()
}

/// The name that an item of a `use` statement is exported under.
fn last_name(item: &str) -> Option<&str> {
    item.rsplit("::").next()?.split(" as ").last().map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::{attributes, clear_names, one_path};
    use crate::tidy::tree::{Crate, Finding, Tree, tree};

    fn http(files: &[(&str, &str)]) -> Tree {
        let http =
            Crate { name: "otel-http".to_owned(), folder: "crates/otel-http".to_owned(), ..Crate::default() };
        Tree { crates: vec![http], ..tree(files) }
    }

    #[test]
    fn names_of_conventions_are_in_the_files_of_their_role() {
        let code = "//! A file.\nset(\"http.request.method\", 1);\n";
        for right in
            ["attributes.rs", "attributes/url.rs", "metrics.rs", "client/metrics.rs", "outcome/tests.rs"]
        {
            let path = format!("crates/otel-http/src/{right}");
            assert_eq!(attributes(&http(&[(path.as_str(), code)])), [], "{right}");
        }
        let path = "crates/otel-http/src/client.rs";
        let message = "`http.request.method` is written in attributes.rs or metrics.rs, and used from there";
        assert_eq!(attributes(&http(&[(path, code)])), [Finding::new(path, 2, message)]);
        for right in [
            "// \"http.request.method\"\n",
            "set(\"http\");\nread(\"http.rs:1\");\n",
            "#[cfg(test)]\nmod tests {\n    set(\"http.route\");\n}\n",
        ] {
            assert_eq!(attributes(&http(&[(path, right)])), [], "{right}");
        }
    }

    #[test]
    fn a_public_type_says_what_it_is() {
        let path = "crates/otel-http/src/client.rs";
        let names = |code: &str| clear_names(&http(&[(path, code)]));
        let found = vec![Finding::new(path, 2, "`Sent` does not say what it is")];
        assert_eq!(names("//! A file.\npub struct Sent<T>(T);\n"), found);
        assert_eq!(
            names("//! A file.\npub struct SentRecord;\npub(crate) struct Sent;\n// pub enum Sent {\n"),
            []
        );
    }

    #[test]
    fn a_public_item_has_one_path() {
        let lib = "//! A crate.\npub mod journal;\nmod config;\n\npub use crate::config::{Options, EndOn};\npub use journal::Journal;\n";
        let files = |lib, journal| {
            one_path(&http(&[
                ("crates/otel-http/src/lib.rs", lib),
                ("crates/otel-http/src/journal.rs", journal),
            ]))
        };
        let path = "crates/otel-http/src/lib.rs";
        let twice =
            |name: &str| vec![Finding::new(path, 1, format!("`{name}` has 2 public paths in `otel-http`"))];
        assert_eq!(files(lib, "//! J.\npub struct Other;\n    pub struct Options;\n"), []);
        assert_eq!(files(lib, "//! J.\npub trait Journal: Send {\n"), twice("Journal"));
        assert_eq!(
            files(lib, "//! J.\npub use self::memory::{\n    A, Options as Options,\n};\n"),
            twice("Options")
        );
    }
}

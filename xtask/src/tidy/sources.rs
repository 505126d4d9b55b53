//! The contents of files: their opening, their size, and words that mark unfinished work.

use crate::tidy::tree::{File, Finding, Tree};

/// The number of lines beyond which a Rust file becomes a folder.
const MAX_LINES: usize = 400;

/// The files that spell what these rules forbid.
const SPELLS: &str = "xtask/src/tidy/";

/// Every file opens with what it owns; a crate's root may open with its README instead.
pub(super) fn header(tree: &Tree) -> Vec<Finding> {
    let opens = |file: &File| file.text.starts_with("//!") || file.text.starts_with("#![doc = include_str!(");
    let wrong = tree.sources().filter(|file| !opens(file));
    wrong.map(|file| Finding::new(&*file.path, 1, "does not open with `//!`")).collect()
}

pub(super) fn size(tree: &Tree) -> Vec<Finding> {
    let sized = tree.sources().map(|file| (file, file.text.lines().count()));
    sized
        .filter(|(_, lines)| *lines > MAX_LINES)
        .map(|(file, lines)| {
            let message = format!("{lines} lines; over {MAX_LINES} it becomes a folder of its name");
            Finding::new(&*file.path, MAX_LINES + 1, message)
        })
        .collect()
}

/// Work that is not done, and tests that do not run.
pub(super) fn words(tree: &Tree) -> Vec<Finding> {
    const WORDS: [(&str, &str); 5] = [
        ("#[ignore", "a test that does not run proves nothing"),
        ("todo!(", "is not done"),
        ("unimplemented!(", "is not done"),
        ("FIXME", "is not done"),
        ("XXX:", "is not done"),
    ];
    find(tree.sources(), &WORDS)
}

/// A merge that is not resolved.
pub(super) fn conflicts(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in &tree.files {
        let marked = |line: &str| line.starts_with("<<<<<<< ") || line.starts_with(">>>>>>> ");
        for (line, _) in file.lines().filter(|(_, text)| marked(text)) {
            findings.push(Finding::new(&*file.path, line, "a conflict of a merge"));
        }
    }
    findings
}

/// A lint is disabled with a reason. `expect` also fails when the lint no longer fires.
pub(super) fn allows(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.sources().filter(|file| file.path.contains("/src/") && !file.path.starts_with(SPELLS)) {
        for (start, _) in file.text.match_indices("[allow(") {
            let rest = &file.text[start..];
            let attribute = rest.find(")]").map_or(rest, |end| &rest[..end]);
            if file.text[..start].ends_with(['#', '!']) && !attribute.contains("reason = ") {
                let line = file.text[..start].lines().count();
                findings.push(Finding::new(&*file.path, line, "`#[expect(…, reason = \"…\")]` says why"));
            }
        }
    }
    findings
}

/// The repository reads the same on every machine.
pub(super) fn paths(tree: &Tree) -> Vec<Finding> {
    const PLACES: [(&str, &str); 2] =
        [("/root/", "is a path of one machine"), ("/home/", "is a path of one machine")];
    find(tree.files.iter(), &PLACES)
}

/// The lines in which one of the words stands.
fn find<'a>(files: impl Iterator<Item = &'a File>, words: &[(&str, &str)]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files.filter(|file| !file.path.starts_with(SPELLS)) {
        for (line, text) in file.lines() {
            for (word, why) in words.iter().filter(|(word, _)| text.contains(word)) {
                findings.push(Finding::new(&*file.path, line, format!("`{word}` {why}")));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::{allows, conflicts, header, paths, size, words};
    use crate::tidy::tree::{Finding, tree};

    const FILE: &str = "crates/otel-http/src/client.rs";

    #[test]
    fn a_file_opens_with_what_it_owns() {
        assert_eq!(header(&tree(&[(FILE, "//! The client.\n"), ("README.md", "# otel\n")])), []);
        assert_eq!(header(&tree(&[(FILE, "#![doc = include_str!(\"../README.md\")]\n")])), []);
        for wrong in ["", "use http;\n", "// The client.\n", "\n//! The client.\n", "/// The client.\n"] {
            assert_eq!(header(&tree(&[(FILE, wrong)])), [Finding::new(FILE, 1, "does not open with `//!`")]);
        }
    }

    #[test]
    fn a_file_has_400_lines_at_most() {
        assert_eq!(size(&tree(&[(FILE, &"\n".repeat(400)), ("README.md", &"\n".repeat(900))])), []);
        let message = "401 lines; over 400 it becomes a folder of its name";
        assert_eq!(size(&tree(&[(FILE, &"\n".repeat(401))])), [Finding::new(FILE, 401, message)]);
    }

    #[test]
    fn a_merge_is_resolved() {
        let marked = "# otel\n<<<<<<< HEAD\none\n=======\ntwo\n>>>>>>> other\n";
        let findings = conflicts(&tree(&[("README.md", marked), (FILE, "//! a <<<<<<< b\n")]));
        assert_eq!(findings, [2, 6].map(|line| Finding::new("README.md", line, "a conflict of a merge")));
    }

    #[test]
    fn nothing_is_left_undone() {
        assert_eq!(words(&tree(&[(FILE, "fn ignore() {}\n"), ("README.md", "FIXME\n")])), []);
        for wrong in
            ["#[ignore]", "#[ignore = \"slow\"]", "todo!()", "unimplemented!()", "// FIXME", "// XXX: x"]
        {
            let findings = words(&tree(&[(FILE, &format!("//! A file.\n{wrong}\n"))]));
            assert_eq!(findings.len(), 1, "{wrong}");
            assert_eq!((findings[0].path.as_str(), findings[0].line), (FILE, 2));
        }
    }

    #[test]
    fn a_lint_is_switched_off_for_a_reason() {
        let right = "#[allow(dead_code, reason = \"a field of the format\")]\n#[allow(\n  dead_code,\n  reason = \"why\",\n)]\n";
        assert_eq!(allows(&tree(&[(FILE, right)])), []);
        assert_eq!(allows(&tree(&[("crates/otel-http/tests/it/main.rs", "#[allow(dead_code)]\n")])), []);
        for wrong in ["#[allow(dead_code)]", "#![allow(dead_code)]", "#[allow(\n    dead_code\n)]"] {
            let findings = allows(&tree(&[(FILE, &format!("//! A file.\n{wrong}\n"))]));
            assert_eq!(
                findings,
                [Finding::new(FILE, 2, "`#[expect(…, reason = \"…\")]` says why")],
                "{wrong}"
            );
        }
    }

    #[test]
    fn no_file_names_a_path_of_one_machine() {
        let right = [("README.md", "the root/leaf, a home/office\n")];
        assert_eq!(paths(&tree(&right)), []);
        for wrong in ["/root/.cargo", "cd /home/me/it"] {
            assert_eq!(
                paths(&tree(&[("CONTRIBUTING.md", &format!("# How\n{wrong}\n"))])).len(),
                1,
                "{wrong}"
            );
        }
        assert_eq!(paths(&tree(&[("xtask/src/tidy/sources.rs", "/home/")])), []);
    }
}

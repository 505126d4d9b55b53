//! The form of commits: `type(scope): imperative`, and a changelog that changes together with its crate.
//!
//! Checked are the commits after the one that added this file. Merges have no form.

use std::path::Path;

use anyhow::{Context, Result};

use crate::{
    process::{answer, program},
    tidy::tree::{Finding, Tree},
};

/// The file that the first commit with this check added.
const SINCE: &str = "xtask/src/tidy/commits.rs";

const TYPES: &[&str] = &["feat", "fix", "perf", "refactor", "test", "bench", "docs", "build", "ci"];

/// The types of changes that a user can notice.
const NOTICED: &[&str] = &["feat", "fix", "perf"];

/// The verbs that a subject may begin with. A list, because the form of a word does not show a verb: "leases that a
/// busy machine keeps" has the form of "passes".
const VERBS: &[&str] = &[
    "add",
    "allow",
    "apply",
    "ask",
    "assert",
    "avoid",
    "await",
    "bind",
    "bound",
    "bring",
    "build",
    "call",
    "cap",
    "carry",
    "change",
    "check",
    "choose",
    "classify",
    "clean",
    "clear",
    "clone",
    "close",
    "collect",
    "compare",
    "compile",
    "compute",
    "copy",
    "correct",
    "count",
    "cover",
    "create",
    "cut",
    "declare",
    "decode",
    "deduplicate",
    "define",
    "delete",
    "derive",
    "describe",
    "detect",
    "disable",
    "document",
    "draw",
    "drop",
    "emit",
    "enable",
    "encode",
    "end",
    "ensure",
    "escape",
    "exercise",
    "expect",
    "explain",
    "export",
    "expose",
    "extend",
    "extract",
    "fail",
    "find",
    "finish",
    "fix",
    "flush",
    "fold",
    "follow",
    "forget",
    "format",
    "forward",
    "generate",
    "give",
    "group",
    "guard",
    "handle",
    "hide",
    "hold",
    "ignore",
    "implement",
    "import",
    "improve",
    "include",
    "increase",
    "inject",
    "inline",
    "install",
    "isolate",
    "join",
    "keep",
    "kill",
    "leave",
    "let",
    "limit",
    "link",
    "list",
    "load",
    "lock",
    "log",
    "lower",
    "make",
    "map",
    "mark",
    "match",
    "measure",
    "mend",
    "merge",
    "mount",
    "move",
    "name",
    "note",
    "omit",
    "open",
    "order",
    "own",
    "package",
    "parse",
    "pass",
    "pause",
    "pin",
    "point",
    "poll",
    "port",
    "prefer",
    "prepare",
    "preserve",
    "prevent",
    "print",
    "propagate",
    "prove",
    "publish",
    "put",
    "raise",
    "read",
    "rebuild",
    "recognise",
    "recognize",
    "record",
    "recover",
    "redact",
    "reduce",
    "refuse",
    "register",
    "reject",
    "release",
    "remove",
    "rename",
    "reorder",
    "replace",
    "report",
    "require",
    "reset",
    "resolve",
    "restore",
    "restrict",
    "retry",
    "return",
    "reuse",
    "revert",
    "rewrite",
    "run",
    "search",
    "send",
    "separate",
    "serve",
    "set",
    "shadow",
    "share",
    "show",
    "simplify",
    "skip",
    "sort",
    "specify",
    "spell",
    "split",
    "start",
    "state",
    "stop",
    "store",
    "strip",
    "support",
    "swap",
    "take",
    "tell",
    "test",
    "tighten",
    "track",
    "treat",
    "trim",
    "tune",
    "unify",
    "untie",
    "update",
    "upgrade",
    "use",
    "validate",
    "verify",
    "wait",
    "walk",
    "warn",
    "widen",
    "wrap",
    "write",
];

/// A commit that is no merge.
#[derive(Debug, Default)]
pub(super) struct Commit {
    /// The abbreviated id.
    pub(super) id: String,
    pub(super) subject: String,
    /// The files that it changes.
    pub(super) files: Vec<String>,
}

/// Reads the commits to check, the newest first; none outside of a git repository, and none where the history ends
/// after the first of them.
pub(super) fn read(root: &Path) -> Result<Vec<Commit>> {
    let git = |arguments: &[&str]| answer(program("git", root).args(arguments));
    let Some(first) = git(&["log", "--diff-filter=A", "--format=%H", "--", SINCE]) else {
        println!("tidy: no git history here, so the form of commits is not checked");
        return Ok(Vec::new());
    };
    let Some(first) = first.lines().last() else { return Ok(Vec::new()) };
    let range = format!("{first}..HEAD");
    let log = git(&["log", "--no-merges", "--name-only", "--format=%x1e%h%x1f%s%x1f", &range])
        .with_context(|| format!("`git log {range}` failed"))?;
    Ok(parse(&log))
}

fn parse(log: &str) -> Vec<Commit> {
    let commit = |text: &str| {
        let mut fields = text.splitn(3, '\u{1f}').map(str::trim);
        let (id, subject, files) = (fields.next()?, fields.next()?, fields.next()?);
        let files = files.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect();
        Some(Commit { id: id.to_owned(), subject: subject.to_owned(), files })
    };
    log.split('\u{1e}').filter_map(commit).collect()
}

pub(super) fn subjects(tree: &Tree) -> Vec<Finding> {
    let wrong = |commit: &Commit| {
        let message = subject(tree, &commit.subject).err()?;
        Some(finding(commit, &message))
    };
    tree.commits.iter().filter_map(wrong).collect()
}

pub(super) fn changelogs(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for commit in &tree.commits {
        let noticed = NOTICED.iter().any(|kind| {
            commit.subject.strip_prefix(kind).is_some_and(|rest| rest.starts_with(['(', ':', '!']))
        });
        for one in tree.crates.iter().filter(|_| noticed) {
            let (source, log) = (format!("{}/src/", one.folder), format!("{}/CHANGELOG.md", one.folder));
            if commit.files.iter().any(|file| file.starts_with(&source)) && !commit.files.contains(&log) {
                findings.push(finding(commit, &format!("changes {source} and not {log}")));
            }
        }
    }
    findings
}

fn finding(commit: &Commit, message: &str) -> Finding {
    Finding::new(format!("commit {}", commit.id), 1, format!("{message}: `{}`", commit.subject))
}

/// Checks `type(scope): imperative`. A scope is a crate, an example, or a top folder; several are separated by commas;
/// a change to the documents of the repository has none.
fn subject(tree: &Tree, subject: &str) -> Result<(), String> {
    let (head, text) = subject.split_once(": ").ok_or("the subject is not `type(scope): imperative`")?;
    let head = head.strip_suffix('!').unwrap_or(head);
    let (kind, scopes) = match head.split_once('(') {
        Some((kind, rest)) => (kind, rest.strip_suffix(')').ok_or("the scope does not end")?),
        None => (head, ""),
    };
    if !TYPES.contains(&kind) {
        return Err(format!("`{kind}` is none of the types {}", TYPES.join(", ")));
    }
    for scope in scopes.split(',').map(str::trim).filter(|scope| !scope.is_empty()) {
        let inside = |file: &str| {
            let starts = |folder: &str| file.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'));
            starts(scope) || starts(&format!("crates/{scope}")) || starts(&format!("examples/{scope}"))
        };
        if !tree.files.iter().any(|file| inside(&file.path)) {
            return Err(format!("the scope `{scope}` is no crate, example or top folder"));
        }
    }
    let first = text.split([' ', ',']).next().unwrap_or_default();
    if !VERBS.contains(&first) {
        let hint = "begin with a verb in the imperative, or add the verb to xtask/src/tidy/commits.rs";
        return Err(format!("`{first}` is not in the list of verbs; {hint}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Commit, changelogs, parse, subjects};
    use crate::tidy::tree::{Crate, Tree, tree};

    fn with_commit(subject: &str, files: &[&str]) -> Tree {
        let http =
            Crate { name: "otel-http".to_owned(), folder: "crates/otel-http".to_owned(), ..Crate::default() };
        let files = files.iter().map(|file| (*file).to_owned()).collect();
        let commits = vec![Commit { id: "1234567".to_owned(), subject: subject.to_owned(), files }];
        let known = [
            ("crates/otel-http/src/lib.rs", ""),
            ("examples/chat/src/main.rs", ""),
            ("xtask/Cargo.toml", ""),
        ];
        Tree { crates: vec![http], commits, ..tree(&known) }
    }

    #[test]
    fn the_log_is_read() {
        let log = "\u{1e}abc\u{1f}fix(otel-http): end it\u{1f}\n\na.rs\nb.rs\n\n\u{1e}def\u{1f}docs: add a page\u{1f}\n";
        let commits = parse(log);
        assert_eq!(commits.len(), 2);
        assert_eq!((commits[0].id.as_str(), commits[0].subject.as_str()), ("abc", "fix(otel-http): end it"));
        assert_eq!(commits[0].files, ["a.rs", "b.rs"]);
        assert!(commits[1].files.is_empty());
    }

    #[test]
    fn a_subject_is_imperative_and_names_its_scope() {
        for right in [
            "fix(otel-http): end the span when an upgrade is refused",
            "docs: describe releases",
            "refactor(otel-http, chat)!: rename the body",
            "ci(xtask): split the run",
        ] {
            assert_eq!(subjects(&with_commit(right, &[])), [], "{right}");
        }
        for (wrong, message) in [
            ("end the span", "the subject is not `type(scope): imperative`"),
            ("fixes(otel-http): end it", "`fixes` is none of the types"),
            ("fix(http): end it", "the scope `http` is no crate, example or top folder"),
            ("fix(otel-http: end it", "the scope does not end"),
            ("test(otel-http): leases that a busy machine keeps", "`leases` is not in the list of verbs"),
            ("docs(chat): the soak, run again", "`the` is not in the list of verbs"),
        ] {
            let findings = subjects(&with_commit(wrong, &[]));
            assert_eq!(findings.len(), 1, "{wrong}");
            assert!(findings[0].message.starts_with(message), "{}", findings[0].message);
            assert_eq!(findings[0].path, "commit 1234567");
        }
    }

    #[test]
    fn a_change_that_a_user_notices_is_in_the_changelog() {
        let both = ["crates/otel-http/src/lib.rs", "crates/otel-http/CHANGELOG.md"];
        assert_eq!(changelogs(&with_commit("fix(otel-http): end it", &both)), []);
        assert_eq!(changelogs(&with_commit("refactor(otel-http): move it", &both[..1])), []);
        assert_eq!(
            changelogs(&with_commit("fix(otel-http): test it", &["crates/otel-http/tests/it/main.rs"])),
            []
        );
        for wrong in ["fix(otel-http): end it", "feat: end it", "perf(otel-http)!: end it"] {
            let findings = changelogs(&with_commit(wrong, &both[..1]));
            assert_eq!(findings.len(), 1, "{wrong}");
            let message =
                format!("changes crates/otel-http/src/ and not crates/otel-http/CHANGELOG.md: `{wrong}`");
            assert_eq!(findings[0].message, message);
        }
    }
}

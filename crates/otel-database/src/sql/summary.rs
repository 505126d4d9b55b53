//! The summary of a query: its operations and their targets, in the order of the text.
//!
//! Follows the [database semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/db/database-spans/#generating-a-summary-of-the-query):
//! `{operation} {target} {operation} {target} {target}`, in the case of the text, at most 255 characters. Literals are
//! never in it.

mod keywords;

use crate::sql::lexer::{Token, TokenKind};
use crate::sql::summary::keywords::{
    AFTER_TABLES, BEFORE_TARGET, COMMANDS, NAMED_OBJECTS, OTHER_OBJECTS, SECOND_WORDS,
};

/// The longest summary, in bytes.
const MAX_SUMMARY: usize = 255;

/// The deepest nesting of parentheses that is followed. Deeper ones are skipped.
const MAX_DEPTH: usize = 32;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    /// No query: the text between parentheses of a call or of an expression.
    None,
    /// `WITH` or `EXPLAIN`: a query follows.
    BeforeQuery,
    /// `GRANT` or `REVOKE`, where `SELECT` is a privilege.
    Grant,
    Select,
    Update,
    Delete,
    Merge,
    Insert,
    Other,
}

/// One level of parentheses.
#[derive(Clone, Copy)]
struct Level {
    verb: Verb,
    /// True inside of a list of tables, where a comma or `JOIN` comes before a further one.
    is_in_tables: bool,
}

const OUTSIDE: Level = Level { verb: Verb::None, is_in_tables: false };

/// The role of the next token.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Expected {
    Anything,
    /// The command of a statement.
    Command,
    /// A second word of the command that came before.
    SecondWord(&'static str),
    /// The kind of an object, after `CREATE`, `ALTER` or `DROP`.
    ObjectKind,
    Target,
    /// A dot or the end of the target that was read.
    TargetEnd,
    /// The next part of a target, after a dot.
    TargetPart,
    /// The first token after a parenthesis; `true` if it may be a table.
    Inside {
        is_target: bool,
    },
}

pub(super) struct Summarizer {
    summary: String,
    is_full: bool,
    target: String,
    levels: Vec<Level>,
    /// Parentheses beyond [`MAX_DEPTH`].
    skipped_levels: usize,
    expected: Expected,
    is_after_distinct: bool,
    /// True after a parenthesis, of `WITH` or `EXPLAIN`, and after `AS`.
    is_before_query: bool,
}

impl Summarizer {
    pub(super) fn new() -> Self {
        Self {
            summary: String::new(),
            is_full: false,
            target: String::new(),
            levels: vec![OUTSIDE],
            skipped_levels: 0,
            expected: Expected::Command,
            is_after_distinct: false,
            is_before_query: false,
        }
    }

    pub(super) fn finish(mut self) -> Option<String> {
        self.end_target();
        (!self.summary.is_empty()).then_some(self.summary)
    }

    fn level(&mut self) -> &mut Level {
        if self.levels.is_empty() {
            self.levels.push(OUTSIDE);
        }
        let last = self.levels.len() - 1;
        &mut self.levels[last]
    }

    fn append(&mut self, part: &str) {
        let space = usize::from(!self.summary.is_empty());
        self.is_full |= self.summary.len() + space + part.len() > MAX_SUMMARY;
        if !self.is_full {
            self.summary.extend((space > 0).then_some(' '));
            self.summary.push_str(part);
        }
    }

    fn end_target(&mut self) {
        let target = std::mem::take(&mut self.target);
        if !target.is_empty() {
            self.append(&target);
        }
    }

    pub(super) fn push(&mut self, token: &Token<'_>) {
        if self.is_full {
            return;
        }
        self.read(token);
        self.is_after_distinct = token.is("DISTINCT");
        self.is_before_query = token.is_punctuation(")") || token.is("AS");
    }

    fn read(&mut self, token: &Token<'_>) {
        match self.expected {
            Expected::TargetPart if is_name(token) => {
                self.target.push_str(token.text);
                self.expected = Expected::TargetEnd;
                return;
            }
            Expected::TargetEnd if token.is_punctuation(".") => {
                self.target.push('.');
                self.expected = Expected::TargetPart;
                return;
            }
            Expected::TargetPart | Expected::TargetEnd => {
                self.end_target();
                self.expected = Expected::Anything;
            }
            _ => {}
        }
        match token.kind {
            TokenKind::Punctuation => self.punctuation(token.text),
            TokenKind::Word => self.word(token),
            TokenKind::QuotedName if self.expects_target() => self.start_target(token),
            TokenKind::QuotedName | TokenKind::Literal | TokenKind::Placeholder => {
                self.expected = Expected::Anything;
            }
        }
    }

    fn expects_target(&self) -> bool {
        matches!(self.expected, Expected::Target | Expected::Inside { is_target: true })
    }

    fn start_target(&mut self, token: &Token<'_>) {
        self.target.push_str(token.text);
        self.expected = Expected::TargetEnd;
    }

    fn punctuation(&mut self, text: &str) {
        let expected = std::mem::replace(&mut self.expected, Expected::Anything);
        match text {
            "(" if self.levels.len() >= MAX_DEPTH => self.skipped_levels += 1,
            "(" => {
                let is_target = matches!(expected, Expected::Target | Expected::Inside { is_target: true });
                let outer = self.level().verb;
                self.levels.push(Level { verb: Verb::None, is_in_tables: is_target });
                self.expected = match expected {
                    // A statement in parentheses: `(SELECT …) UNION (SELECT …)`.
                    Expected::Command if outer == Verb::None => Expected::Command,
                    _ => Expected::Inside { is_target },
                };
            }
            ")" if self.skipped_levels > 0 => self.skipped_levels -= 1,
            ")" if self.levels.len() > 1 => drop(self.levels.pop()),
            "," if self.level().is_in_tables => self.expected = Expected::Target,
            ";" => {
                self.levels.clear();
                self.levels.push(OUTSIDE);
                self.skipped_levels = 0;
                self.expected = Expected::Command;
            }
            _ => {}
        }
    }

    fn word(&mut self, token: &Token<'_>) {
        let expected = std::mem::replace(&mut self.expected, Expected::Anything);
        match expected {
            Expected::Command => self.command(token),
            Expected::SecondWord(command) => {
                let is_second = |(first, second): &(&str, &str)| {
                    *first == command && token.text.eq_ignore_ascii_case(second)
                };
                if SECOND_WORDS.iter().any(is_second) {
                    self.append(token.text);
                } else if command == "PREPARE" && begins_query(token) {
                    self.command(token);
                }
            }
            Expected::ObjectKind => self.object_kind(token),
            Expected::Inside { .. } if begins_query(token) => self.command(token),
            Expected::Target | Expected::Inside { is_target: true } if token.is_one_of(BEFORE_TARGET) => {
                self.expected = Expected::Target;
            }
            Expected::Target | Expected::Inside { is_target: true } => self.start_target(token),
            _ => self.clause(token),
        }
    }

    /// Reads the first word of a statement or of a query in parentheses.
    fn command(&mut self, token: &Token<'_>) {
        let (verb, expected) = match token {
            _ if token.is("WITH") => {
                self.level().verb = Verb::BeforeQuery;
                return;
            }
            _ if token.is("SELECT") => (Verb::Select, Expected::Anything),
            _ if token.is_one_of(&["INSERT", "REPLACE"]) => (Verb::Insert, Expected::Target),
            _ if token.is("UPDATE") => (Verb::Update, Expected::Target),
            _ if token.is("DELETE") => (Verb::Delete, Expected::Anything),
            _ if token.is("MERGE") => (Verb::Merge, Expected::Target),
            _ if token.is_one_of(&["CREATE", "ALTER", "DROP"]) => (Verb::Other, Expected::ObjectKind),
            _ if token.is_one_of(&["CALL", "COPY", "EXEC", "EXECUTE", "LOCK", "TRUNCATE"]) => {
                (Verb::Other, Expected::Target)
            }
            _ if token.is("REFRESH") => (Verb::Other, Expected::ObjectKind),
            _ if token.is_one_of(&["GRANT", "REVOKE"]) => (Verb::Grant, Expected::Anything),
            // A statement may follow at once, as a client prepares one, or after a name and `AS`.
            _ if token.is("PREPARE") => (Verb::BeforeQuery, Expected::SecondWord("PREPARE")),
            // A statement follows, or the name of a table.
            _ if token.is_one_of(&["ANALYZE", "EXPLAIN"]) => (Verb::BeforeQuery, Expected::Command),
            _ => match COMMANDS.iter().find(|command| token.text.eq_ignore_ascii_case(command)) {
                Some(command) => (Verb::Other, Expected::SecondWord(command)),
                None => return,
            },
        };
        self.append(token.text);
        *self.level() = Level { verb, is_in_tables: verb == Verb::Update };
        self.expected = expected;
    }

    fn object_kind(&mut self, token: &Token<'_>) {
        if token.is_one_of(NAMED_OBJECTS) {
            self.append(token.text);
            self.expected = Expected::Target;
        } else if token.is_one_of(OTHER_OBJECTS) {
            self.append(token.text);
        } else if token.is_one_of(&["FOREIGN", "MATERIALIZED", "VIRTUAL"]) {
            self.append(token.text);
            self.expected = Expected::ObjectKind;
        } else if token.is_one_of(&[
            "GLOBAL",
            "LOCAL",
            "OR",
            "RECURSIVE",
            "REPLACE",
            "TEMP",
            "TEMPORARY",
            "UNIQUE",
            "UNLOGGED",
        ]) {
            self.expected = Expected::ObjectKind;
        }
    }

    /// Reads a word inside of a statement.
    fn clause(&mut self, token: &Token<'_>) {
        let Level { verb, is_in_tables } = *self.level();
        if token.is("SELECT") {
            if verb != Verb::Grant {
                self.command(token);
            }
        } else if token.is("FROM") {
            // `IS DISTINCT FROM` and `EXTRACT(YEAR FROM …)` name no table.
            if matches!(verb, Verb::Select | Verb::Delete | Verb::Update) && !self.is_after_distinct {
                self.expect_tables();
            }
        } else if token.is_one_of(&["JOIN", "STRAIGHT_JOIN"]) {
            if is_in_tables {
                self.expected = Expected::Target;
            }
        } else if token.is("USING") {
            if matches!(verb, Verb::Delete | Verb::Merge) {
                self.expect_tables();
            }
        } else if token.is_one_of(AFTER_TABLES) {
            self.level().is_in_tables = false;
        } else if verb == Verb::BeforeQuery && self.is_before_query && begins_query(token) {
            self.command(token);
        }
    }

    fn expect_tables(&mut self) {
        self.level().is_in_tables = true;
        self.expected = Expected::Target;
    }
}

fn is_name(token: &Token<'_>) -> bool {
    matches!(token.kind, TokenKind::Word | TokenKind::QuotedName)
}

fn begins_query(token: &Token<'_>) -> bool {
    token.is_one_of(&["DELETE", "INSERT", "MERGE", "SELECT", "UPDATE", "VALUES", "WITH"])
}

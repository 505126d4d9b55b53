//! The query text without its literals and comments.
//!
//! Follows the [database semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/db/database-spans/#sanitization-of-dbquerytext): each
//! literal is `?`, and a list of values after `IN` is collapsed.

use crate::sql::Dialect;
use crate::sql::lexer::{Token, TokenKind};

/// Words of SQLite after which a name in double quotes is one, as it is after `ON` in the head of `CREATE`. Elsewhere SQLite takes a
/// name that it does not know for a string (<https://sqlite.org/quirks.html#double_quoted_string_literals_are_accepted>).
const BEFORE_NAMES: &[&str] =
    &["AS", "EXISTS", "FROM", "INDEX", "INTO", "JOIN", "TABLE", "TRIGGER", "UPDATE", "VIEW"];

pub(super) struct Sanitizer {
    text: String,
    limit: usize,
    is_full: bool,
    dialect: Dialect,
    /// True if the next token names something.
    expects_name: bool,
    /// True in a statement that begins with `CREATE`, up to its query or its actions.
    is_in_create: bool,
    /// True if the last token is `DISTINCT`, as in `IS DISTINCT FROM`, which names nothing.
    is_after_distinct: bool,
    list: ValueList,
}

/// The state of a list of values after `IN`.
#[derive(Clone, Copy)]
enum ValueList {
    None,
    /// After `IN`.
    Expected,
    /// Inside of the list. `first_end` is the length of the text with the first value; 0 before that.
    Values {
        first_end: usize,
    },
}

impl Sanitizer {
    pub(super) fn new(dialect: Dialect, limit: usize) -> Self {
        Self {
            text: String::new(),
            limit,
            is_full: false,
            dialect,
            expects_name: false,
            is_in_create: false,
            is_after_distinct: false,
            list: ValueList::None,
        }
    }

    pub(super) fn into_text(self) -> String {
        self.text
    }

    pub(super) fn push(&mut self, token: &Token<'_>) {
        if self.is_full {
            return;
        }
        if let (ValueList::Values { first_end: 1.. }, true) = (self.list, token.is_punctuation(")")) {
            let ValueList::Values { first_end } = self.list else { return };
            self.text.truncate(first_end);
        }
        let text = self.shown(token);
        let space = usize::from(token.is_spaced && !self.text.is_empty());
        if self.text.len() + space + text.len() > self.limit {
            self.is_full = true;
            return;
        }
        self.text.extend((space > 0).then_some(' '));
        self.text.push_str(text);
        let is_value = text == "?" || token.kind == TokenKind::Placeholder;
        self.list = self.next_list(token, is_value);
        self.is_in_create = token.is("CREATE")
            || (self.is_in_create
                && !token.is_punctuation(";")
                && !token.is_one_of(&["AS", "BEGIN", "SELECT", "WHEN"]));
        self.expects_name = token.is_punctuation(".")
            || (token.is_one_of(BEFORE_NAMES) && !self.is_after_distinct)
            || (token.is("ON") && self.is_in_create)
            || (self.expects_name && token.is_one_of(&["IF", "NOT", "EXISTS"]));
        self.is_after_distinct = token.is("DISTINCT");
    }

    fn shown<'t>(&self, token: &Token<'t>) -> &'t str {
        match token.kind {
            TokenKind::Literal => "?",
            TokenKind::Word if token.is_one_of(&["TRUE", "FALSE"]) => "?",
            TokenKind::QuotedName if !self.is_name(token) => "?",
            _ => token.text,
        }
    }

    /// Returns false for text in double quotes that SQLite may take for a string.
    fn is_name(&self, token: &Token<'_>) -> bool {
        self.dialect != Dialect::Sqlite
            || token.text.starts_with(['`', '['])
            || token.is_qualifier
            || self.expects_name
    }

    fn next_list(&self, token: &Token<'_>, is_value: bool) -> ValueList {
        match self.list {
            _ if token.is("IN") => ValueList::Expected,
            ValueList::Expected if token.is_punctuation("(") => ValueList::Values { first_end: 0 },
            ValueList::Values { first_end: 0 } if is_value => {
                ValueList::Values { first_end: self.text.len() }
            }
            ValueList::Values { .. } if is_value || is_between_values(token) => self.list,
            ValueList::None | ValueList::Expected | ValueList::Values { .. } => ValueList::None,
        }
    }
}

/// Returns true for the punctuation of a list, the signs of its numbers included.
fn is_between_values(token: &Token<'_>) -> bool {
    [",", "-", "+"].iter().any(|text| token.is_punctuation(text))
}

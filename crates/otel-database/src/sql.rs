//! The analysis of query texts: a summary of operations and targets, and the text without its literals.
//!
//! Follows the [database semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/db/database-spans/#generating-a-summary-of-the-query). It is
//! a tokenizer and no parser: it accepts any text, takes time linear in its length, and reads a bounded part of it.

mod lexer;
mod sanitize;
mod summary;
#[cfg(test)]
mod tests;

use crate::sql::lexer::Lexer;
use crate::sql::sanitize::Sanitizer;
use crate::sql::summary::Summarizer;

/// The rules for quotes and comments of a query language.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Dialect {
    /// Standard SQL: double quotes are around names.
    #[default]
    Generic,
    /// PostgreSQL: `E'…'` has escapes, `$tag$…$tag$` is a literal.
    PostgreSql,
    /// SQLite: text in double quotes may be a string, and is shown only where it has to be a name.
    Sqlite,
    /// MySQL and MariaDB: double quotes are around strings, and `#` begins a comment.
    MySql,
}

/// The longest part of a query text that is analyzed, in bytes.
const MAX_ANALYZED: usize = 16 << 10;

/// The summary and the sanitized text of a query.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueryAnalysis {
    /// The operations and their targets, such as `INSERT shipping_details SELECT orders`: at most 255 bytes. `None` if the
    /// text does not begin with a known command.
    pub summary: Option<String>,
    /// The text with `?` for each literal and without comments. It ends where a literal may have no certain end, or at the
    /// given limit.
    pub text: String,
}

/// Analyzes a query text. `limit` is the maximum length of the sanitized text, in bytes. Only the first 16 KiB are read.
#[must_use]
pub fn analyze_query(query: &str, dialect: Dialect, limit: usize) -> QueryAnalysis {
    let mut sanitizer = Sanitizer::new(dialect, limit);
    let mut summarizer = Summarizer::new();
    let read = truncated(query, MAX_ANALYZED);
    for token in Lexer::new(read, dialect) {
        // A token at the cut may be a part of a longer one.
        sanitizer.push(&token);
        summarizer.push(&token);
    }
    QueryAnalysis { summary: summarizer.finish(), text: sanitizer.into_text() }
}

/// Truncates a text to at most `limit` bytes, at a character boundary.
pub(crate) fn truncated(text: &str, limit: usize) -> &str {
    if text.len() <= limit {
        return text;
    }
    // The search always succeeds because index 0 is a character boundary.
    let end = (0..=limit).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
    &text[..end]
}

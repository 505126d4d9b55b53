//! The tokens of a query text: words, quoted names, literals, placeholders and punctuation. Comments are left out.
//!
//! Where dialects or settings disagree about the end of a literal or a comment, the lexer takes the reading that yields
//! less text, or ends, so that no part of a literal is taken for a name. It covers the literals of
//! <https://www.postgresql.org/docs/current/sql-syntax-lexical.html>, <https://sqlite.org/lang_expr.html> and
//! <https://dev.mysql.com/doc/refman/8.4/en/literals.html>.

use crate::sql::Dialect;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TokenKind {
    /// A keyword or a name.
    Word,
    /// A name in double quotes, backticks or, in SQLite, brackets.
    QuotedName,
    Literal,
    Placeholder,
    Punctuation,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Token<'t> {
    pub(super) kind: TokenKind,
    pub(super) text: &'t str,
    /// True if white space or a comment comes before the token.
    pub(super) is_spaced: bool,
    /// True if a dot comes right after the token, so that it is a part of a qualified name.
    pub(super) is_qualifier: bool,
}

impl Token<'_> {
    /// Returns true for this keyword, which is given in upper case.
    pub(super) fn is(&self, keyword: &str) -> bool {
        self.kind == TokenKind::Word && self.text.eq_ignore_ascii_case(keyword)
    }

    pub(super) fn is_one_of(&self, keywords: &[&str]) -> bool {
        self.kind == TokenKind::Word && keywords.iter().any(|keyword| self.text.eq_ignore_ascii_case(keyword))
    }

    pub(super) fn is_punctuation(&self, text: &str) -> bool {
        self.kind == TokenKind::Punctuation && self.text == text
    }
}

pub(super) struct Lexer<'t> {
    text: &'t str,
    at: usize,
    dialect: Dialect,
}

impl<'t> Lexer<'t> {
    pub(super) fn new(text: &'t str, dialect: Dialect) -> Self {
        Self { text, at: 0, dialect }
    }

    fn byte(&self, ahead: usize) -> Option<u8> {
        self.text.as_bytes().get(self.at + ahead).copied()
    }

    /// Ends the text: nothing that follows is read.
    fn end(&mut self) {
        self.at = self.text.len();
    }

    fn skip_while(&mut self, is: impl Fn(u8) -> bool) {
        while self.byte(0).is_some_and(&is) {
            self.at += 1;
        }
    }

    /// Skips white space and comments. Returns true if there were any.
    fn skip_space(&mut self) -> bool {
        let start = self.at;
        loop {
            match (self.byte(0), self.byte(1)) {
                (Some(byte), _) if byte.is_ascii_whitespace() => self.at += 1,
                (Some(b'-'), Some(b'-')) if self.is_dash_comment() => self.skip_line(),
                (Some(b'#'), _) if self.dialect == Dialect::MySql => self.skip_line(),
                (Some(b'/'), Some(b'*')) => self.skip_block_comment(),
                _ => return self.at > start,
            }
        }
    }

    /// Returns true if the two dashes here begin a comment: in MySQL a space has to follow.
    fn is_dash_comment(&self) -> bool {
        let is_space = |byte: u8| byte.is_ascii_whitespace() || byte.is_ascii_control();
        self.dialect != Dialect::MySql || self.byte(2).is_none_or(is_space)
    }

    /// Skips the rest of a line. In PostgreSQL a carriage return ends it as well.
    fn skip_line(&mut self) {
        let is_postgres = self.dialect == Dialect::PostgreSql;
        self.skip_while(|byte| byte != b'\n' && !(is_postgres && byte == b'\r'));
    }

    /// Skips a block comment. Inner ones nest in PostgreSQL and not in SQLite and MySQL; elsewhere that is not known, and the text
    /// ends there. MySQL runs the text of `/*! … */`, whose end may be in a literal, so that the text ends there as well.
    fn skip_block_comment(&mut self) {
        let rest = &self.text[self.at..];
        if self.dialect == Dialect::MySql && (rest.starts_with("/*!") || rest.starts_with("/*M!")) {
            return self.end();
        }
        let mut depth = 0_usize;
        loop {
            match (self.byte(0), self.byte(1)) {
                (Some(b'/'), Some(b'*')) if depth == 0 || self.dialect == Dialect::PostgreSql => {
                    (depth, self.at) = (depth + 1, self.at + 2);
                }
                (Some(b'/'), Some(b'*')) if self.dialect == Dialect::Generic => return self.end(),
                (Some(b'*'), Some(b'/')) => {
                    (depth, self.at) = (depth - 1, self.at + 2);
                    if depth == 0 {
                        return;
                    }
                }
                (Some(_), _) => self.at += 1,
                (None, _) => return,
            }
        }
    }

    /// Skips text in quotes, whose first one is the current byte. Returns false if its end is not certain; then all that
    /// follows is left out.
    fn skip_quoted(&mut self, quote: u8, backslash: Backslash) -> bool {
        self.at += 1;
        let mut backslashes = 0_usize;
        while let Some(byte) = self.byte(0) {
            self.at += 1;
            if byte != quote {
                backslashes = if byte == b'\\' { backslashes + 1 } else { 0 };
                continue;
            }
            let is_odd = !backslashes.is_multiple_of(2);
            backslashes = 0;
            match backslash {
                Backslash::Escapes if is_odd => continue,
                // A setting of the server decides if this quote is escaped.
                Backslash::Ambiguous if is_odd => break,
                _ => {}
            }
            if self.byte(0) != Some(quote) {
                return true;
            }
            self.at += 1;
        }
        self.end();
        false
    }

    fn string(&mut self, quote: u8, is_escape_string: bool) -> TokenKind {
        let backslash = match self.dialect {
            _ if is_escape_string => Backslash::Escapes,
            Dialect::Sqlite => Backslash::IsText,
            Dialect::Generic | Dialect::PostgreSql | Dialect::MySql => Backslash::Ambiguous,
        };
        self.skip_quoted(quote, backslash);
        TokenKind::Literal
    }

    fn word(&mut self) -> TokenKind {
        let start = self.at;
        self.skip_while(is_word);
        let word = &self.text[start..self.at];
        let is_prefix = ["E", "B", "X", "N"].iter().any(|prefix| word.eq_ignore_ascii_case(prefix))
            || (word.starts_with('_') && self.dialect == Dialect::MySql);
        match self.byte(0) {
            Some(b'\'') if is_prefix => self.string(b'\'', word.eq_ignore_ascii_case("E")),
            _ => TokenKind::Word,
        }
    }

    fn number(&mut self) -> TokenKind {
        let start = self.at;
        let is_hexadecimal = self.byte(0) == Some(b'0') && matches!(self.byte(1), Some(b'x' | b'X'));
        loop {
            self.skip_while(|byte| is_word(byte) || byte == b'.');
            let is_exponent = self.text[start..self.at].ends_with(['e', 'E']) && !is_hexadecimal;
            match self.byte(0) {
                Some(b'+' | b'-') if is_exponent => self.at += 1,
                _ => return TokenKind::Literal,
            }
        }
    }

    /// Reads `$1`, `$name`, or a literal in dollar quotes.
    fn dollar(&mut self) -> TokenKind {
        let start = self.at;
        self.at += 1;
        self.skip_while(|byte| is_word(byte) && byte != b'$');
        let is_number = self.text.as_bytes().get(start + 1).is_some_and(u8::is_ascii_digit);
        if self.byte(0) != Some(b'$') || is_number {
            return if self.at == start + 1 { TokenKind::Punctuation } else { TokenKind::Placeholder };
        }
        self.at += 1;
        let tag = &self.text[start..self.at];
        match self.text[self.at..].find(tag) {
            Some(end) => self.at += end + tag.len(),
            None => self.end(),
        }
        TokenKind::Literal
    }

    /// Reads `:name`, `@name` or `@@name`; other uses of the first byte are operators.
    fn named(&mut self) -> TokenKind {
        let start = self.at;
        let first = self.byte(0);
        self.at += 1;
        if first == Some(b':') && self.byte(0) == Some(b':') {
            self.at += 1;
            return TokenKind::Punctuation;
        }
        if first == Some(b'@') && self.byte(0) == Some(b'@') {
            self.at += 1;
        }
        // A dollar sign begins a literal after the operators `@` and `@@`.
        if self.byte(0).is_some_and(|byte| is_word(byte) && byte != b'$' && !byte.is_ascii_digit()) {
            self.skip_while(is_word);
            return TokenKind::Placeholder;
        }
        self.at = start + 1;
        TokenKind::Punctuation
    }

    fn kind(&mut self, first: u8) -> TokenKind {
        match first {
            b'\'' => self.string(b'\'', false),
            b'"' if self.dialect == Dialect::MySql => self.string(b'"', false),
            b'"' | b'`' => {
                // A name without an end is left out as a literal is.
                if self.skip_quoted(first, Backslash::IsText) {
                    TokenKind::QuotedName
                } else {
                    TokenKind::Literal
                }
            }
            b'[' if self.dialect == Dialect::Sqlite => {
                self.skip_while(|byte| byte != b']');
                if self.byte(0).is_none() {
                    return TokenKind::Literal;
                }
                self.at += 1;
                TokenKind::QuotedName
            }
            b'0'..=b'9' => self.number(),
            b'.' if self.byte(1).is_some_and(|byte| byte.is_ascii_digit()) => self.number(),
            b'$' => self.dollar(),
            b':' | b'@' => self.named(),
            b'?' => {
                self.at += 1;
                self.skip_while(|byte| byte.is_ascii_digit());
                TokenKind::Placeholder
            }
            byte if is_word(byte) => self.word(),
            _ => {
                self.at += 1;
                TokenKind::Punctuation
            }
        }
    }
}

/// The meaning of a backslash before a quote.
#[derive(Clone, Copy)]
enum Backslash {
    Escapes,
    IsText,
    Ambiguous,
}

impl<'t> Iterator for Lexer<'t> {
    type Item = Token<'t>;

    fn next(&mut self) -> Option<Token<'t>> {
        let is_spaced = self.skip_space();
        let start = self.at;
        let kind = self.kind(self.byte(0)?);
        let text = &self.text[start..self.at];
        // A digit after the dot makes it a part of a number.
        let is_qualifier =
            self.byte(0) == Some(b'.') && !self.byte(1).is_some_and(|byte| byte.is_ascii_digit());
        Some(Token { kind, text, is_spaced, is_qualifier })
    }
}

/// Returns true for the bytes of words; those of other scripts are among them.
fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | 0x80..)
}

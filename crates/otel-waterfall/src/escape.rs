//! Escaping of untrusted text for display: no control characters, no bidirectional overrides, a known width.
//!
//! Widths follow [Unicode Standard Annex 11](https://www.unicode.org/reports/tr11/).

use std::borrow::Cow;

use unicode_width::UnicodeWidthChar;

/// Maximum number of combining marks after a character; further marks are escaped.
const MAX_MARKS: usize = 2;

/// Returns the text on one line, with all characters escaped that could move the cursor or reorder adjacent text.
pub(crate) fn visible(text: &str) -> Cow<'_, str> {
    escaped(text, false)
}

/// Like [`visible`], with line breaks and tabs left as they are.
pub(crate) fn visible_lines(text: &str) -> Cow<'_, str> {
    escaped(text, true)
}

fn escaped(text: &str, keeps_lines: bool) -> Cow<'_, str> {
    if text.bytes().all(|b| (0x20..0x7f).contains(&b)) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut marks = 0;
    for c in text.chars() {
        let width = c.width();
        marks = if width == Some(0) { marks + 1 } else { 0 };
        match c {
            '\n' | '\t' if keeps_lines => out.push(c),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            // Variation selectors are removed: they only choose a presentation, and terminals disagree about its
            // width.
            '\u{fe00}'..='\u{fe0f}' => {}
            _ if width.is_none() || is_format(c) || marks > MAX_MARKS => {
                out.extend(c.escape_unicode());
            }
            _ => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// Returns true for characters that are invisible and change the text around them.
fn is_format(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

/// Returns the width in cells of a text returned by [`visible`].
pub(crate) fn width(text: &str) -> usize {
    text.chars().map(|c| c.width().unwrap_or(0)).sum()
}

/// Cuts the text to a number of cells, with `…` at the end of a cut text.
pub(crate) fn fit(text: &str, cells: usize) -> Cow<'_, str> {
    if text.len() <= cells || width(text) <= cells {
        return Cow::Borrowed(text);
    }
    let mut used = 0;
    let mut out = String::new();
    for c in text.chars() {
        used += c.width().unwrap_or(0);
        if used + 1 > cells {
            break;
        }
        out.push(c);
    }
    if cells > 0 {
        out.push('…');
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_can_move_the_cursor() {
        assert_eq!(visible("\u{1b}[31mred\r\n\tx\u{9b}1m"), "\\u{1b}[31mred\\r\\n\\tx\\u{9b}1m");
        assert_eq!(visible("a\u{202e}b\u{2066}c\u{200b}d"), "a\\u{202e}b\\u{2066}c\\u{200b}d");
        assert_eq!(visible("GET /users/{id}"), "GET /users/{id}");
        assert_eq!(visible("größe 日本"), "größe 日本");
    }

    #[test]
    fn marks_do_not_pile_up() {
        assert_eq!(visible("e\u{301}"), "e\u{301}");
        assert_eq!(visible("e\u{301}\u{301}\u{301}"), "e\u{301}\u{301}\\u{301}");
    }

    #[test]
    fn fitting_counts_cells_and_not_bytes() {
        assert_eq!(fit("日本語", 6), "日本語");
        assert_eq!(fit("日本語", 5), "日本…");
        assert_eq!(fit("日本語", 4), "日…");
        assert_eq!(fit("abc", 0), "");
        assert_eq!(fit("abc", 1), "…");
        assert_eq!(fit("größe", 5), "größe");
    }

    #[test]
    fn lines_are_kept_on_request() {
        assert_eq!(visible_lines("a\n\tb\r\u{202e}"), "a\n\tb\\r\\u{202e}");
    }
}

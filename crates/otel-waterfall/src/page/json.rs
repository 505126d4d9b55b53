//! A writer for JSON that is safe inside of a `script` element, with all untrusted text made visible.

use std::fmt::Write;

use crate::escape::visible_lines;

/// Maximum length of a text on the page, in bytes; the rest is cut and counted.
const MAX_TEXT: usize = 16 * 1024;

/// Writes a string. `<`, `>` and `&` are escaped, so that no text ends the element or opens a comment in it; control
/// characters and bidirectional overrides are made visible.
pub(super) fn string(out: &mut String, text: &str) {
    let (text, cut) = clipped(text);
    out.push('"');
    for c in visible_lines(text).chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '<' | '>' | '&' | '\u{0}'..='\u{1f}' | '\u{7f}' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            _ => out.push(c),
        }
    }
    if cut > 0 {
        let _ = write!(out, "… ({cut} more bytes)");
    }
    out.push('"');
}

/// Writes an array, with `write` for each item.
pub(super) fn array<T>(
    out: &mut String,
    items: impl IntoIterator<Item = T>,
    mut write: impl FnMut(&mut String, T),
) {
    out.push('[');
    for (number, item) in items.into_iter().enumerate() {
        if number > 0 {
            out.push(',');
        }
        write(out, item);
    }
    out.push(']');
}

/// Writes attributes as an array of pairs, because their keys can repeat and are untrusted as names of properties.
pub(super) fn pairs(out: &mut String, attributes: &[(String, String)]) {
    array(out, attributes, |out, (key, value)| {
        out.push('[');
        string(out, key);
        out.push(',');
        string(out, value);
        out.push(']');
    });
}

fn clipped(text: &str) -> (&str, usize) {
    if text.len() <= MAX_TEXT {
        return (text, 0);
    }
    let mut end = MAX_TEXT;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    (&text[..end], text.len() - end)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(text: &str) -> String {
        let mut out = String::new();
        string(&mut out, text);
        out
    }

    #[test]
    fn nothing_ends_the_element() {
        assert_eq!(
            written("</script><!--&\"\\\u{202e}\u{0}\n"),
            r#""\u003c/script\u003e\u003c!--\u0026\"\\\\u{202e}\\u{0}\n""#
        );
    }

    #[test]
    fn a_long_text_is_cut_and_counted() {
        let text = written(&"é".repeat(MAX_TEXT));
        assert!(text.ends_with("é… (16384 more bytes)\""), "{}", &text[text.len() - 40..]);
    }

    proptest! {
        #[test]
        fn every_text_is_valid_and_inert(text in any::<String>()) {
            let json = written(&text);
            prop_assert!(!json.contains(['<', '>', '&']));
            let read: String = serde_json::from_str(&json).unwrap();
            prop_assert_eq!(read, visible_lines(&text));
        }
    }
}

//! The language of comments and documents: the share of sentences that a reader has to translate.
//!
//! A place is a crate, an example, `xtask`, or the documents of the repository. It passes while at most 1.0 % of its
//! sentences begin with a question word and at most 0.5 % use a word of the list, or two sentences in either case.

use regex::Regex;

use crate::tidy::tree::{File, Finding, Tree};

/// The shares of all sentences that may begin with a question word, and that may use a word of the list.
const OPENINGS: f64 = 0.010;
const WORDS: f64 = 0.005;

/// The number of such sentences that a small place may have whatever their share.
const FEW: usize = 2;

/// One sentence of a comment or of a Markdown file.
struct Sentence {
    path: String,
    /// The first line of its paragraph.
    line: usize,
    text: String,
}

/// The sentences of one place that break either rule.
struct Place<'a> {
    name: &'a str,
    sentences: usize,
    openings: Vec<Sentence>,
    words: Vec<Sentence>,
}

pub(super) fn language(tree: &Tree) -> Vec<Finding> {
    places(tree).into_iter().filter(|place| !place.passes()).flat_map(Place::findings).collect()
}

impl Place<'_> {
    fn passes(&self) -> bool {
        let few = |broken: &[Sentence], share: f64| {
            broken.len() <= FEW || broken.len() as f64 <= share * self.sentences as f64
        };
        few(&self.openings, OPENINGS) && few(&self.words, WORDS)
    }

    fn findings(self) -> Vec<Finding> {
        let finding = |sentence: Sentence, rule: &str| {
            let start: String = sentence.text.chars().take(100).collect();
            Finding::new(sentence.path, sentence.line, format!("{rule}: {start}"))
        };
        let openings =
            self.openings.into_iter().map(|one| finding(one, "sentence begins with a question word"));
        let words = self.words.into_iter().map(|one| finding(one, "sentence uses a word of the list"));
        openings.chain(words).collect()
    }
}

/// The place that a file belongs to: `crates/NAME` with its tests and papers, `examples/NAME`, `xtask`, `docs`.
fn place_of(path: &str) -> Option<&str> {
    let mut ends = path.match_indices('/').map(|(end, _)| end);
    match (path.split('/').next()?, ends.next(), ends.next()) {
        ("crates" | "examples", Some(_), Some(end)) => Some(&path[..end]),
        ("xtask" | "docs", Some(end), _) => Some(&path[..end]),
        (_, None, None) if path.ends_with(".md") => Some("docs"),
        _ => None,
    }
}

fn places(tree: &Tree) -> Vec<Place<'_>> {
    let (Ok(opening), Ok(word)) = (
        Regex::new(r"^(What|Whether|Whoever|Who|Where|How|Which)\b"),
        Regex::new(concat!(
            r"(?i)\b(tells?|told|untold|strangers?|nobody|somebody|whoever|stands? in|what is there|is there|made up",
            r"|lets? go of|goes on|it came to|one.s own word|in hand)\b"
        )),
    ) else {
        return Vec::new();
    };
    let mut places: Vec<Place<'_>> = Vec::new();
    for file in &tree.files {
        let Some(name) = place_of(&file.path).filter(|_| is_read(&file.path)) else { continue };
        let index = places.iter().position(|place| place.name == name).unwrap_or_else(|| {
            places.push(Place { name, sentences: 0, openings: Vec::new(), words: Vec::new() });
            places.len() - 1
        });
        let place = &mut places[index];
        for (line, text) in sentences(file) {
            place.sentences += 1;
            let sentence = || Sentence { path: file.path.clone(), line, text: text.clone() };
            if opening.is_match(&text) {
                place.openings.push(sentence());
            }
            if word.is_match(&text) {
                place.words.push(sentence());
            }
        }
    }
    places
}

fn is_read(path: &str) -> bool {
    path.ends_with(".rs") || path.ends_with(".md")
}

/// The sentences of a file's comments, or of a Markdown file, with code replaced by `x`.
fn sentences(file: &File) -> Vec<(usize, String)> {
    paragraphs(file).into_iter().flat_map(|(line, text)| split(line, &without_code(&text))).collect()
}

/// The paragraphs of a file's comments, or of a Markdown file, each as one line of text with the number of its first
/// line. Code blocks, headings and tables are left out.
pub(super) fn paragraphs(file: &File) -> Vec<(usize, String)> {
    let markdown = file.path.ends_with(".md");
    let mut paragraphs = Vec::new();
    let mut open: Option<(usize, String)> = None;
    let mut in_fence = false;
    for (number, line) in file.lines() {
        let text = if markdown { Some(line.trim_end()) } else { comment(line) };
        let fence = text.is_some_and(|text| text.trim().starts_with("```"));
        in_fence ^= fence;
        let prose = text.filter(|text| {
            let begins = |starts: &[&str]| starts.iter().any(|start| text.starts_with(start));
            let is_table_or_heading =
                markdown && (begins(&["    "]) || text.trim_start().starts_with(['|', '#']));
            !fence && !in_fence && !text.trim().is_empty() && !is_table_or_heading
        });
        match (prose, &mut open) {
            (Some(text), Some((_, paragraph))) => {
                paragraph.push(' ');
                paragraph.push_str(text);
            }
            (Some(text), None) => open = Some((number, text.to_owned())),
            (None, _) => paragraphs.extend(open.take()),
        }
    }
    paragraphs.extend(open);
    paragraphs
}

/// The text of a line that is a comment and nothing else.
fn comment(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let text = ["///", "//!", "//"].iter().find_map(|start| line.strip_prefix(start))?;
    Some(text.strip_prefix(' ').unwrap_or(text))
}

/// The text with each code span replaced by `x`, and white space by one space.
fn without_code(text: &str) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut parts = text.split('`');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    while let Some(code) = parts.next() {
        match parts.next() {
            Some(rest) => {
                plain.push('x');
                plain.push_str(rest);
            }
            // A lone mark opens nothing.
            None => plain.push_str(code),
        }
    }
    plain
}

/// The sentences of a paragraph that have two words or more, without the marks of lists.
pub(super) fn split(line: usize, text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let ends = |(index, mark): (usize, char)| {
            let after = index + mark.len_utf8();
            let is_end =
                matches!(mark, '.' | ':' | ';' | '?' | '!') && rest[after..].starts_with(char::is_whitespace);
            is_end.then_some(after)
        };
        let end = rest.char_indices().find_map(ends).unwrap_or(rest.len());
        let sentence = rest[..end].trim();
        if sentence.split_whitespace().nth(1).is_some() {
            let marks = |mark: char| matches!(mark, '-' | '*' | '.' | ' ') || mark.is_ascii_digit();
            found.push((line, sentence.trim_start_matches(marks).to_owned()));
        }
        rest = rest[end..].trim_start();
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{language, paragraphs, place_of, sentences};
    use crate::tidy::tree::{Tree, tree};

    const FILE: &str = "crates/otel-http/src/client.rs";

    /// A file with a number of good sentences, then the given ones, each a paragraph.
    fn file(good: usize, others: &[&str]) -> Tree {
        let good = std::iter::repeat_n("Returns the value.", good);
        let text: String = good.chain(others.iter().copied()).map(|text| format!("/// {text}\n\n")).collect();
        tree(&[(FILE, &text)])
    }

    #[test]
    fn a_place_fails_beyond_its_share() {
        let what = ["What it does.", "Whether it does.", "How it does."];
        assert_eq!(language(&file(0, &what[..2])).len(), 0, "two sentences are allowed in any place");
        let findings = language(&file(0, &what));
        assert_eq!(findings.len(), 3);
        assert_eq!((findings[1].path.as_str(), findings[1].line), (FILE, 3));
        assert_eq!(findings[1].message, "sentence begins with a question word: Whether it does.");
        assert_eq!(language(&file(296, &what)).len(), 3, "3 of 299 are more than 1 %");
        assert_eq!(language(&file(297, &what)).len(), 0, "3 of 300 are 1 %");
        let words = ["It is told so.", "No stranger reads it.", "It stands in the list."];
        assert_eq!(language(&file(596, &words)).len(), 3, "3 of 599 are more than 0.5 %");
        assert_eq!(language(&file(597, &words)).len(), 0, "3 of 600 are 0.5 %");
        assert_eq!(language(&file(0, &words))[0].message, "sentence uses a word of the list: It is told so.");
    }

    #[test]
    fn files_belong_to_places() {
        for (path, place) in [
            (FILE, Some("crates/otel-http")),
            ("crates/otel-http/README.md", Some("crates/otel-http")),
            ("crates/otel-http/CHANGELOG.md", Some("crates/otel-http")),
            ("crates/otel-http/tests/it/main.rs", Some("crates/otel-http")),
            ("examples/chat/src/main.rs", Some("examples/chat")),
            ("xtask/src/main.rs", Some("xtask")),
            ("docs/conventions.md", Some("docs")),
            ("README.md", Some("docs")),
            ("benchmarks/README.md", None),
            ("deny.toml", None),
        ] {
            assert_eq!(place_of(path), place, "{path}");
        }
    }

    #[test]
    fn sentences_are_found_in_comments_and_in_markdown() {
        let read = |path: &str, text: &str| {
            let tree = tree(&[(path, text)]);
            sentences(&tree.files[0])
                .into_iter()
                .map(|(line, text)| format!("{line} {text}"))
                .collect::<Vec<_>>()
        };
        let rust = "//! A file: it reads\n//! `a. b` twice. Done\n//! ```\n//! What code.\n//! ```\nfn main() {} // What.\n    // Ends here.\n";
        assert_eq!(read(FILE, rust), ["1 A file:", "1 it reads x twice.", "7 Ends here."]);
        let markdown = "# What a heading\n\n1. One thing; another\n   thing.\n\n| Who | is in the table |\n\n    What code.\n";
        assert_eq!(read("README.md", markdown), ["3 One thing;", "3 another thing."]);
    }

    #[test]
    fn a_paragraph_is_one_line_of_text() {
        let tree = tree(&[("README.md", "one\ntwo\n\nthree `x\n")]);
        let expected = [(1, "one two".to_owned()), (4, "three `x".to_owned())];
        assert_eq!(paragraphs(&tree.files[0]), expected);
    }
}

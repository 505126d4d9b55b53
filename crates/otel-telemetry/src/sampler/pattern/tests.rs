//! Tests of patterns against the wildcards of declarative configuration and against a simple matcher.

use super::*;

#[test]
fn patterns_match_as_declarative_configuration_says() {
    let cases = [
        ("GET /users", "GET /users", true),
        ("GET /users", "GET /users/1", false),
        ("GET /users", "get /users", false),
        ("", "", true),
        ("", "x", false),
        ("*", "", true),
        ("*", "anything", true),
        ("GET *", "GET /users", true),
        ("GET *", "GET ", true),
        ("GET *", "GET", false),
        ("* /health", "GET /health", true),
        ("* /health", "GET /health ", false),
        ("*/users/*", "GET /users/1", true),
        ("*/users/*", "GET /orders/1", false),
        ("a*b*c", "a-b-b-c", true),
        ("a*b*c", "a-b-c-d", false),
        ("a*a", "a", false),
        ("ab*bc", "abc", false),
        ("a**b", "ab", true),
        ("?", "", false),
        ("?", "é", true),
        ("?", "ab", false),
        ("4??", "404", true),
        ("4??", "4040", false),
        ("*?", "é", true),
        ("*?", "", false),
        ("*é?", "xéé", true),
        ("?*?", "é", false),
        ("?*?", "éé", true),
    ];
    for (pattern, text, expected) in cases {
        assert_eq!(Pattern::new(pattern).matches(text), expected, "{pattern:?} on {text:?}");
    }
}

#[test]
fn every_short_pattern_agrees_with_the_plain_definition() {
    fn plain(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern.split_first(), text.split_first()) {
            (None, _) => text.is_empty(),
            (Some((b'*', rest)), None) => plain(rest, text),
            (Some((b'*', rest)), Some((_, shorter))) => plain(rest, text) || plain(pattern, shorter),
            (Some((wanted, rest)), Some((found, shorter))) => {
                (wanted == found || *wanted == b'?') && plain(rest, shorter)
            }
            (Some(_), None) => false,
        }
    }
    let texts = |alphabet: &[char], longest: usize| {
        let mut all = vec![String::new()];
        let mut last = all.clone();
        for _ in 0..longest {
            last = last.iter().flat_map(|text| alphabet.iter().map(move |c| format!("{text}{c}"))).collect();
            all.extend(last.iter().cloned());
        }
        all
    };
    let mut matched = 0;
    for pattern in texts(&['a', 'b', '*', '?'], 5) {
        let compiled = Pattern::new(&pattern);
        for text in texts(&['a', 'b'], 5) {
            let expected = plain(pattern.as_bytes(), text.as_bytes());
            assert_eq!(compiled.matches(&text), expected, "{pattern:?} on {text:?}");
            let may_match = Pairs::new(&text).has_all(compiled.pairs());
            assert!(may_match || !expected, "{pattern:?} on {text:?}");
            matched += usize::from(expected);
        }
    }
    assert!(matched > 1_000, "{matched}");
}

#[test]
fn a_pattern_with_many_parts_ends_soon() {
    let pattern = Pattern::new(&"*a".repeat(50));
    assert!(!pattern.matches(&format!("{}b", "a".repeat(10_000))));
    assert!(pattern.matches(&"a".repeat(10_000)));
}

#[test]
fn numbers_match_by_their_text() {
    let matches = |pattern: &str, number| Pattern::new(pattern).matches_number(number);
    assert!(matches("404", 404));
    assert!(matches("-1", -1));
    assert!(matches("4??", 404));
    assert!(!matches("404", 405));
    // These parse as the number, but are not its text.
    assert!(!matches("+404", 404));
    assert!(!matches("0404", 404));
}

#[test]
fn an_exact_pattern_has_no_wildcards() {
    assert!(Pattern::exact("GET /*").matches("GET /*"));
    assert!(!Pattern::exact("GET /*").matches("GET /users"));
}

#[test]
fn a_pair_that_is_missing_is_seen() {
    let name = Pairs::new("GET /api/v1/users/{id}");
    for (pattern, may_match) in
        [("*/users/*", true), ("*/side/*", false), ("* /health?", false), ("POST *", false), ("*x*", true)]
    {
        assert_eq!(name.has_all(Pattern::new(pattern).pairs()), may_match, "{pattern}");
    }
}

//! The names in an expression of [PromQL](https://prometheus.io/docs/prometheus/latest/querying/basics/).

use std::{collections::BTreeSet, sync::LazyLock};

use regex::Regex;

/// The names of metrics and of labels in an expression.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Names {
    pub(super) metrics: BTreeSet<String>,
    pub(super) labels: BTreeSet<String>,
}

/// Words of the language that no parenthesis follows.
const KEYWORDS: &[&str] = &[
    "and",
    "bool",
    "by",
    "end",
    "ignoring",
    "group_left",
    "group_right",
    "inf",
    "nan",
    "offset",
    "on",
    "or",
    "start",
    "unless",
    "without",
];

#[expect(clippy::unwrap_used, reason = "constant expressions, which the tests compile")]
static STRINGS: LazyLock<Regex> = LazyLock::new(|| Regex::new(r#""(\\.|[^"\\])*"|'(\\.|[^'\\])*'"#).unwrap());
#[expect(clippy::unwrap_used, reason = "as above")]
static SELECTOR: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\{([^}]*)\}").unwrap());
#[expect(clippy::unwrap_used, reason = "as above")]
static GROUPING: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\b(by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)").unwrap());
#[expect(clippy::unwrap_used, reason = "as above")]
static RANGE: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\[[^\]]*\]").unwrap());
#[expect(clippy::unwrap_used, reason = "as above")]
static WORD: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"[\w:.$]+(\s*\()?").unwrap());

/// Returns the names in an expression.
pub(super) fn names(expression: &str) -> Names {
    let mut names = Names::default();
    let text = STRINGS.replace_all(expression, "\"\"");
    let text = RANGE.replace_all(&text, "");
    for selector in SELECTOR.captures_iter(&text) {
        let labels = selector[1].split(',').filter_map(|matcher| matcher.split(['=', '!']).next());
        names.labels.extend(labels.map(str::trim).filter(|label| !label.is_empty()).map(str::to_owned));
    }
    let text = SELECTOR.replace_all(&text, " ");
    for grouping in GROUPING.captures_iter(&text) {
        let labels = grouping[2].split(',').map(str::trim).filter(|label| !label.is_empty());
        names.labels.extend(labels.map(str::to_owned));
    }
    let text = GROUPING.replace_all(&text, " ");
    let words = WORD.find_iter(&text).map(|word| word.as_str());
    let is_metric = |word: &&str| {
        let first = word.chars().next().unwrap_or_default();
        !word.ends_with('(')
            && (first.is_ascii_alphabetic() || matches!(first, '_' | ':'))
            && !KEYWORDS.contains(&word.to_lowercase().as_str())
    };
    names.metrics.extend(words.filter(is_metric).map(str::to_owned));
    names
}

#[cfg(test)]
mod tests {
    use super::names;

    #[test]
    fn metrics_and_labels_are_told_from_the_rest() {
        let found = |expression: &str| {
            let names = names(expression);
            (names.metrics.into_iter().collect::<Vec<_>>(), names.labels.into_iter().collect::<Vec<_>>())
        };
        let (metrics, labels) = found(
            "histogram_quantile(0.95, sum by (job, le) (rate(a_bucket{job=~\"$job\", code!=\"up {x}\"}[$__rate_interval]))) > 1e3",
        );
        assert_eq!(metrics, ["a_bucket"]);
        assert_eq!(labels, ["code", "job", "le"]);
        let (metrics, labels) =
            found("sum(a) / on (x) group_left (y) b\nunless c offset 5m\nor vector(0) and d == 0");
        assert_eq!(metrics, ["a", "b", "c", "d"]);
        assert_eq!(labels, ["x", "y"]);
        let (metrics, labels) = found("label_values(target_info, job)");
        assert_eq!((metrics, labels.len()), (vec!["job".to_owned(), "target_info".to_owned()], 0));
    }
}

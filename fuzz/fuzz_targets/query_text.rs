//! Arbitrary text as a query: its analysis panics nowhere, is bounded, leaves no literal in the text, and a summary holds
//! nothing that the query does not.
#![no_main]

use libfuzzer_sys::fuzz_target;
use otel_database::{Dialect, analyze_query};

const LIMIT: usize = 4096;

fuzz_target!(|query: &str| {
    for dialect in [Dialect::Generic, Dialect::PostgreSql, Dialect::Sqlite, Dialect::MySql] {
        let analysis = analyze_query(query, dialect, LIMIT);
        assert!(analysis.text.len() <= LIMIT);
        if let Some(summary) = analysis.summary {
            assert!(!summary.is_empty() && summary.len() <= 255);
            let is_part = |part: &str| part.split(['.', ' ']).all(|name| query.contains(name));
            assert!(summary.split(' ').all(is_part), "{summary:?}");
        }
        // Nothing is left to replace.
        assert_eq!(analyze_query(&analysis.text, dialect, LIMIT).text, analysis.text);
    }
});

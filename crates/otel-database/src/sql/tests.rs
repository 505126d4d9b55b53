//! Tests of summaries and of sanitized texts.

use proptest::prelude::*;

use super::{Dialect, analyze_query};

const ALL: [Dialect; 4] = [Dialect::Generic, Dialect::PostgreSql, Dialect::Sqlite, Dialect::MySql];

fn summary(query: &str) -> String {
    analyze_query(query, Dialect::PostgreSql, 4096).summary.unwrap_or_default()
}

fn text(query: &str, dialect: Dialect) -> String {
    analyze_query(query, dialect, 4096).text
}

#[test]
fn the_examples_of_the_conventions() {
    for (query, expected) in [
        ("SELECT *\nFROM   wuser_table\nWHERE  username = ?", "SELECT wuser_table"),
        (
            "INSERT INTO shipping_details\n (order_id,\n address)\nSELECT order_id,\n address\nFROM   orders\nWHERE  order_id = ?",
            "INSERT shipping_details SELECT orders",
        ),
        ("SELECT *\nFROM   songs,\n artists\nWHERE  songs.artist_id == artists.id", "SELECT songs artists"),
        (
            "SELECT order_date\nFROM (SELECT *\n FROM orders o\n JOIN customers c\n ON o.customer_id = c.customer_id)",
            "SELECT SELECT orders customers",
        ),
        // The conventions show a target in single quotes as well; such text is a literal here.
        ("SELECT *\nFROM   \"song list\",\n 'artists'", "SELECT \"song list\""),
        ("call some_stored_procedure", "call some_stored_procedure"),
        ("EXECUTE some_stored_procedure", "EXECUTE some_stored_procedure"),
    ] {
        assert_eq!(summary(query), expected, "{query}");
    }
}

#[test]
fn a_summary_has_operations_and_targets() {
    for (query, expected) in [
        (
            "select id from public.users u join orders o using (id) where o.x in (select x from y)",
            "select public.users orders select y",
        ),
        ("SELECT users.id FROM users LEFT JOIN a ON f(1, 2) = 3, b WHERE x, y", "SELECT users a b"),
        ("SELECT EXTRACT(YEAR FROM created), TRIM(LEADING 'x' FROM name) FROM t", "SELECT t"),
        ("SELECT 1 WHERE a IS DISTINCT FROM b", "SELECT"),
        ("SELECT count(DISTINCT x) FROM ONLY t FOR UPDATE", "SELECT t"),
        ("(SELECT a FROM b) UNION ALL (SELECT c FROM d)", "SELECT b SELECT d"),
        ("SELECT a FROM b UNION SELECT c FROM d ORDER BY 1, 2", "SELECT b SELECT d"),
        ("SELECT * FROM (a JOIN b ON a.x = b.x), LATERAL (SELECT 1 FROM c) l", "SELECT a b SELECT c"),
        ("WITH recent AS (SELECT * FROM orders) SELECT * FROM recent", "SELECT orders SELECT recent"),
        (
            "WITH gone AS (DELETE FROM a RETURNING *) INSERT INTO b SELECT * FROM gone",
            "DELETE a INSERT b SELECT gone",
        ),
        ("INSERT OR REPLACE INTO t VALUES (1, 2), (3, 4)", "INSERT t"),
        ("INSERT INTO t (a, b) VALUES ($1, $2) ON CONFLICT (a) DO UPDATE SET b = excluded.b", "INSERT t"),
        (
            "UPDATE \"shop\".\"orders\" SET a = (SELECT max(x) FROM c), b = 2 FROM d WHERE 1=1",
            "UPDATE \"shop\".\"orders\" SELECT c d",
        ),
        ("DELETE FROM a USING b WHERE a.x = b.x", "DELETE a b"),
        ("MERGE INTO a USING b ON a.x = b.x WHEN MATCHED THEN UPDATE SET y = 1", "MERGE a b"),
        ("CREATE TABLE IF NOT EXISTS t (id int, x int REFERENCES u ON DELETE CASCADE)", "CREATE TABLE t"),
        ("CREATE UNIQUE INDEX CONCURRENTLY i ON t (a, b)", "CREATE INDEX i"),
        ("CREATE OR REPLACE VIEW v AS SELECT * FROM t", "CREATE VIEW v SELECT t"),
        ("CREATE USER maria PASSWORD 'x'", "CREATE USER"),
        ("DROP MATERIALIZED VIEW v", "DROP MATERIALIZED VIEW v"),
        ("GRANT SELECT ON t TO maria", "GRANT"),
        ("TRUNCATE TABLE ONLY a, b", "TRUNCATE a"),
        ("EXPLAIN (ANALYZE, BUFFERS) SELECT * FROM t", "EXPLAIN SELECT t"),
        ("BEGIN ISOLATION LEVEL SERIALIZABLE", "BEGIN"),
        ("SAVEPOINT _sqlx_savepoint_1", "SAVEPOINT"),
        ("ROLLBACK TO SAVEPOINT _sqlx_savepoint_1", "ROLLBACK TO"),
        ("PREPARE SELECT * FROM t", "PREPARE SELECT t"),
        ("PREPARE by_id AS UPDATE t SET a = $1", "PREPARE UPDATE t"),
        ("PREPARE TRANSACTION 'x'", "PREPARE TRANSACTION"),
        ("COMMIT PREPARED 'x'", "COMMIT PREPARED"),
        ("SET search_path TO secret", "SET"),
        ("BEGIN; INSERT INTO a VALUES (1); COMMIT", "BEGIN INSERT a COMMIT"),
        ("/* x */ -- y\n SELECT 1", "SELECT"),
        ("hunter2", ""),
        ("", ""),
        ("'SELECT' FROM x", ""),
    ] {
        assert_eq!(summary(query), expected, "{query}");
    }
}

#[test]
fn a_long_summary_ends_between_its_parts() {
    let tables: Vec<String> = (0..100).map(|number| format!("table_{number}")).collect();
    let summary = summary(&format!("SELECT * FROM {}", tables.join(", ")));
    assert!(summary.len() <= 255 && summary.len() > 240, "{summary}");
    assert!(summary.split(' ').skip(1).all(|name| tables.iter().any(|table| table == name)), "{summary}");
}

#[test]
fn literals_are_replaced_in_each_dialect() {
    for dialect in ALL {
        for (query, expected) in [
            (
                "SELECT 'it''s', 1, -2.5e-3, .5, 0xFF, x'00', TRUE FROM t",
                "SELECT ?, ?, -?, ?, ?, ?, ? FROM t",
            ),
            (
                "SELECT $1, $2, :name, @name, ?, ?3, a::text FROM t1",
                "SELECT $1, $2, :name, @name, ?, ?3, a::text FROM t1",
            ),
            ("SELECT * /* secret */ FROM t -- secret\nWHERE a=1", "SELECT * FROM t WHERE a=?"),
            ("DO $$ secret $$", "DO ?"),
            ("DO $body$ se$$cret $body$ x", "DO ? x"),
            ("SELECT E'it\\'s secret', b FROM t", "SELECT ?, b FROM t"),
            (
                "WHERE a IN (1, -2, 'x') AND b IN ($1, $2) AND c IN (SELECT 1, 2)",
                "WHERE a IN (?) AND b IN ($1) AND c IN (SELECT ?, ?)",
            ),
            ("WHERE a IN (TRUE, FALSE)", "WHERE a IN (?)"),
            ("SELECT 'never ends, secret", "SELECT ?"),
            ("SELECT 1 /* never ends, secret", "SELECT ?"),
            ("SELECT $x$ never ends, secret", "SELECT ?"),
            ("  SELECT\n\t1  ", "SELECT ?"),
        ] {
            assert_eq!(text(query, dialect), expected, "{dialect:?}");
        }
    }
}

#[test]
fn quotes_depend_on_the_dialect() {
    let query = r#"SELECT "a"."b" FROM "t" WHERE "c" = "secret""#;
    assert_eq!(text(query, Dialect::PostgreSql), query);
    assert_eq!(text(query, Dialect::MySql), "SELECT ?.? FROM ? WHERE ? = ?");
    assert_eq!(text(query, Dialect::Sqlite), r#"SELECT "a"."b" FROM "t" WHERE ? = ?"#);
    let query = r#"SELECT a FROM t WHERE b IN ("secret", "other")"#;
    assert_eq!(text(query, Dialect::PostgreSql), query);
    for dialect in [Dialect::MySql, Dialect::Sqlite] {
        assert_eq!(text(query, dialect), "SELECT a FROM t WHERE b IN (?)", "{dialect:?}");
    }
    let query = "SELECT `a` FROM `t` # secret\nWHERE 1";
    assert_eq!(text(query, Dialect::MySql), "SELECT `a` FROM `t` WHERE ?");
    // A setting of the server decides if the literal ends at the second quote.
    let query = r"SELECT 'a\', secret, 'b'";
    assert_eq!(text(query, Dialect::MySql), "SELECT ?");
    assert_eq!(text(query, Dialect::PostgreSql), "SELECT ?");
    assert_eq!(text(query, Dialect::Sqlite), "SELECT ?, secret, ?");
    assert_eq!(text(r"SELECT 'a\\', b", Dialect::MySql), "SELECT ?, b");
    assert_eq!(text("SELECT _utf8'secret', n'secret'", Dialect::MySql), "SELECT ?, ?");
}

#[test]
fn comments_depend_on_the_dialect() {
    let nested = "SELECT a /* /* */ secret */ FROM t";
    assert_eq!(text(nested, Dialect::PostgreSql), "SELECT a FROM t");
    assert_eq!(text(nested, Dialect::Generic), "SELECT a");
    let query = "INSERT /* GET /jobs/* */ INTO jobs VALUES ('*/5 * * * *', 'secret')";
    for dialect in [Dialect::MySql, Dialect::Sqlite] {
        assert_eq!(text(query, dialect), "INSERT INTO jobs VALUES (?, ?)", "{dialect:?}");
    }
    assert_eq!(text(query, Dialect::Generic), "INSERT");
    assert_eq!(text("SELECT a /*!50000 , '*/ secret' */ FROM t", Dialect::MySql), "SELECT a");
    // The dashes are two signs in MySQL, so that the line that follows is a part of the literal.
    let query = "UPDATE a SET b = b--5, note = 'first\nFROM secret x'";
    assert_eq!(text(query, Dialect::MySql), "UPDATE a SET b = b--?, note = ?");
    assert_eq!(text("SELECT 1 --/* x */ 2", Dialect::MySql), "SELECT ? -- ?");
    assert_eq!(text("SELECT a --\tsecret\n, b", Dialect::MySql), "SELECT a , b");
    assert_eq!(text("SELECT a -- secret\r, 'x'", Dialect::PostgreSql), "SELECT a , ?");
}

#[test]
fn operators_before_dollar_quotes_are_no_names() {
    for operator in ["@@", "<@", "@>", "@"] {
        let query = format!("SELECT a FROM t WHERE b {operator}$$secret & x$$");
        assert_eq!(text(&query, Dialect::PostgreSql), format!("SELECT a FROM t WHERE b {operator}?"));
    }
}

#[test]
fn names_of_sqlite_are_told_from_strings() {
    let shown = |query| text(query, Dialect::Sqlite);
    let query = "SELECT [Customer's Name], [5\" pipe] FROM [t] WHERE a = 'secret'";
    assert_eq!(shown(query), "SELECT [Customer's Name], [5\" pipe] FROM [t] WHERE a = ?");
    assert_eq!(shown("SELECT [never ends, 'secret'"), "SELECT ?");
    assert_eq!(shown(r#"SELECT a FROM t JOIN u ON "secret" = u.a"#), "SELECT a FROM t JOIN u ON ? = u.a");
    assert_eq!(
        shown(r#"SELECT a FROM t WHERE a IS DISTINCT FROM "secret""#),
        "SELECT a FROM t WHERE a IS DISTINCT FROM ?"
    );
    let query = r#"CREATE INDEX IF NOT EXISTS "i" ON "t" (a)"#;
    assert_eq!(shown(query), query);
    let query = r#"CREATE VIEW v AS SELECT a FROM t JOIN u ON "secret" = a"#;
    assert_eq!(shown(query), "CREATE VIEW v AS SELECT a FROM t JOIN u ON ? = a");
}

#[test]
fn the_text_is_bounded() {
    let query = format!("SELECT {}", "a, ".repeat(10_000));
    for limit in [0, 1, 7, 100, 100_000] {
        let analysis = analyze_query(&query, Dialect::Generic, limit);
        assert!(analysis.text.len() <= limit.min(16 << 10));
        assert!(query.starts_with(&analysis.text));
    }
    let deep = format!("SELECT {}1{} FROM t", "(".repeat(1000), ")".repeat(1000));
    assert_eq!(summary(&deep), "SELECT t");
}

/// Text that a literal can hold without its end.
fn secret() -> impl Strategy<Value = String> {
    "[ -\\[\\]-~öß]{0,20}".prop_map(|text| format!("hunter2{text}"))
}

proptest! {
    #[test]
    fn any_text_is_analyzed(query in "\\PC*", limit in 0_usize..200) {
        for dialect in ALL {
            let analysis = analyze_query(&query, dialect, limit);
            prop_assert!(analysis.text.len() <= limit);
            prop_assert!(analysis.summary.is_none_or(|summary| summary.len() <= 255));
        }
    }

    #[test]
    fn text_of_sql_tokens_is_analyzed(tokens in proptest::collection::vec(
        proptest::sample::select(vec!["SELECT", "FROM", "(", ")", ",", "'", "\"", "$$", "/*", "*/", "--", "\n", "a.", ".", "IN",
            "\\", "E'", "1", "?", ";", "UPDATE", "JOIN", "WITH", "AS", "CREATE", "TABLE", "`", "#", "$1", ":", "é", "@", "[", "]", "-", "DISTINCT", "ON"]), 0..60)) {
        let query = tokens.concat();
        let spaced = tokens.join(" ");
        for dialect in ALL {
            for query in [&query, &spaced] {
                let first = analyze_query(query, dialect, 4096);
                // A sanitized text has no literal left. In MySQL two signs before a comment that is left out look like one.
                if dialect != Dialect::MySql || !first.text.contains("--") {
                    let again = analyze_query(&first.text, dialect, 4096);
                    prop_assert_eq!(&again.text, &first.text);
                }
            }
        }
    }

    #[test]
    fn no_literal_is_shown(secret in secret()) {
        let doubled = secret.replace('\'', "''").replace('\\', "");
        for dialect in ALL {
            for query in [
                format!("SELECT a FROM t WHERE b = '{doubled}' AND c = 1"),
                format!("INSERT INTO t VALUES ('{doubled}', $tag${doubled}$tag$)"),
                format!("SELECT 1 /* {} */ FROM t -- {doubled}", doubled.replace(['/', '*'], "")),
                format!("SELECT * FROM '{doubled}'"),
                format!("CREATE USER x PASSWORD '{doubled}"),
            ] {
                let analysis = analyze_query(&query, dialect, 4096);
                let shown = format!("{analysis:?}");
                prop_assert!(!shown.contains("hunter2"), "{shown}");
            }
        }
    }
}

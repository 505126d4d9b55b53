//! The keywords by which a summary is found: those of the four dialects, in upper case.
//!
//! See <https://www.postgresql.org/docs/current/sql-commands.html>, <https://sqlite.org/lang.html> and
//! <https://dev.mysql.com/doc/refman/8.4/en/sql-statements.html>.

/// Commands whose targets are not in the summary: they have none, or values in place of names.
pub(super) const COMMANDS: &[&str] = &[
    "ABORT",
    "ATTACH",
    "BEGIN",
    "CHECKPOINT",
    "CLOSE",
    "CLUSTER",
    "COMMENT",
    "COMMIT",
    "DEALLOCATE",
    "DECLARE",
    "DESC",
    "DESCRIBE",
    "DETACH",
    "DISCARD",
    "DO",
    "END",
    "FETCH",
    "HANDLER",
    "KILL",
    "LISTEN",
    "LOAD",
    "MOVE",
    "NOTIFY",
    "OPTIMIZE",
    "PRAGMA",
    "REINDEX",
    "RELEASE",
    "RESET",
    "ROLLBACK",
    "SAVEPOINT",
    "SET",
    "SHOW",
    "START",
    "TABLE",
    "UNLISTEN",
    "UNLOCK",
    "USE",
    "VACUUM",
    "VALUES",
    "XA",
];

/// Second words that belong to a command.
pub(super) const SECOND_WORDS: &[(&str, &str)] = &[
    ("COMMIT", "PREPARED"),
    ("PREPARE", "TRANSACTION"),
    ("ROLLBACK", "PREPARED"),
    ("ROLLBACK", "TO"),
    ("START", "TRANSACTION"),
    ("XA", "COMMIT"),
    ("XA", "END"),
    ("XA", "PREPARE"),
    ("XA", "ROLLBACK"),
    ("XA", "START"),
];

/// Kinds of objects whose names are targets of `CREATE`, `ALTER` and `DROP`.
pub(super) const NAMED_OBJECTS: &[&str] = &[
    "AGGREGATE",
    "DATABASE",
    "DOMAIN",
    "EVENT",
    "EXTENSION",
    "FUNCTION",
    "INDEX",
    "POLICY",
    "PROCEDURE",
    "SCHEMA",
    "SEQUENCE",
    "TABLE",
    "TABLESPACE",
    "TRIGGER",
    "TYPE",
    "VIEW",
];

/// Kinds of objects without a target, because their names are those of people or hosts.
pub(super) const OTHER_OBJECTS: &[&str] = &["ROLE", "SERVER", "SUBSCRIPTION", "SYSTEM", "USER"];

/// Words between an operation and its target.
pub(super) const BEFORE_TARGET: &[&str] = &[
    "ABORT",
    "CONCURRENTLY",
    "DELAYED",
    "EXISTS",
    "FAIL",
    "HIGH_PRIORITY",
    "IF",
    "IGNORE",
    "INTO",
    "LATERAL",
    "LOW_PRIORITY",
    "NOT",
    "ON",
    "ONLY",
    "OR",
    "OVERWRITE",
    "QUICK",
    "REPLACE",
    "ROLLBACK",
    "TABLE",
    "TABLES",
];

/// Words after which a list of tables is over.
pub(super) const AFTER_TABLES: &[&str] = &[
    "EXCEPT",
    "FOR",
    "GROUP",
    "HAVING",
    "INTERSECT",
    "LIMIT",
    "OFFSET",
    "ORDER",
    "RETURNING",
    "SET",
    "UNION",
    "VALUES",
    "WHERE",
    "WINDOW",
];

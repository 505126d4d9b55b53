//! The SQL statements, and the classification of the server's errors.
//!
//! Follows PostgreSQL's manual: [`PREPARE
//! TRANSACTION`](https://www.postgresql.org/docs/current/sql-prepare-transaction.html),
//! [`pg_prepared_xacts`](https://www.postgresql.org/docs/current/view-pg-prepared-xacts.html), [error
//! codes](https://www.postgresql.org/docs/current/errcodes-appendix.html).

use otel_sqlx::PgPool;

pub(super) const UNDEFINED_OBJECT: &str = "42704";

pub(super) const ALLOWED: &str = "SELECT current_setting('max_prepared_transactions')::int4";

pub(super) const IS_PREPARED: &str =
    "SELECT 1 FROM pg_prepared_xacts WHERE gid = $1 AND database = current_database()";

/// Only in this database: prepared transactions of others cannot be ended from this one.
pub(super) const IN_DOUBT: &str =
    "SELECT gid FROM pg_prepared_xacts WHERE starts_with(gid, $1) AND database = current_database()";

/// Selects if this is the branch's transaction, and if it has an id: one that has written nothing and locked no row
/// has none.
pub(super) const HAS_WRITTEN: &str = "SELECT current_setting('otel_saga.branch', true) = $1, \
     pg_current_xact_id_if_assigned() IS NOT NULL";

/// Fails if the branch has a tombstone.
pub(super) const BRANCH: &str = "INSERT INTO twopc_branch (gid, tombstone) VALUES ($1, false)";

pub(super) const TOMBSTONE: &str =
    "INSERT INTO twopc_branch (gid, tombstone) VALUES ($1, true) ON CONFLICT (gid) DO NOTHING";

pub(super) const ROW: &str = "SELECT tombstone FROM twopc_branch WHERE gid = $1";

pub(super) const JOURNAL: &str = "INSERT INTO twopc_journal (coordinator, journal) VALUES ($1, $2) \
     ON CONFLICT (coordinator) DO UPDATE \
     SET journal = CASE WHEN $3 THEN excluded.journal ELSE twopc_journal.journal END RETURNING journal";

pub(super) const PRUNE: &str = "DELETE FROM twopc_branch \
     WHERE starts_with(gid, $1) AND at < now() - make_interval(secs => $2)";

pub(super) const LOCK_TIMEOUT: &str = "SET LOCAL lock_timeout = '500ms'";

/// Creates the tables if they do not exist. Without the lock, concurrent creations would fail.
const MIGRATE: &str = "
BEGIN;
SELECT pg_advisory_xact_lock(hashtext('otel-saga twopc_branch'));
CREATE TABLE IF NOT EXISTS twopc_branch (
    gid text PRIMARY KEY,
    tombstone boolean NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE TABLE IF NOT EXISTS twopc_journal (
    coordinator text PRIMARY KEY,
    journal text NOT NULL
);
COMMIT;
";

pub(super) async fn migrate(pool: &PgPool) -> Result<(), sqlx::Error> {
    let exist = "SELECT to_regclass('twopc_branch') IS NOT NULL AND to_regclass('twopc_journal') IS NOT NULL";
    let exist: bool = sqlx::query_scalar(exist).fetch_one(pool).await?;
    if !exist {
        // Checked first, so that a user without the right to create tables can use existing ones.
        sqlx::raw_sql(MIGRATE).execute(pool).await?;
    }
    Ok(())
}

/// Quotes a text as a literal for statements that take no parameters, independently of `standard_conforming_strings`.
pub(super) fn literal(text: &str) -> String {
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

/// Returns true if this is the database's error with this code.
pub(super) fn is(error: &sqlx::Error, code: &str) -> bool {
    error.as_database_error().and_then(|error| error.code()).is_some_and(|there| there == code)
}

/// Returns true if the error means that the server rolled the transaction back. Errors of a stopping server (57), of
/// connections (08) and internal ones (XX) do not.
pub(super) fn is_rolled_back(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| !code.starts_with("57") && !code.starts_with("08") && !code.starts_with("XX"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_literal_ends_where_it_should() {
        assert_eq!(literal("a'b\\c"), "E'a''b\\\\c'");
    }
}

//! A query that was taken out of sqlx's types, so that its text is known before it runs.

use std::fmt;

use sqlx::error::BoxDynError;
use sqlx::{AssertSqlSafe, Database, Execute, SqlSafeStr as _, SqlStr};

/// The parts of a query.
pub(crate) struct OwnedQuery<DB: Database> {
    sql: SqlStr,
    statement: Option<DB::Statement>,
    arguments: Result<Option<DB::Arguments>, BoxDynError>,
    is_persistent: bool,
}

impl<DB: Database> OwnedQuery<DB> {
    #[inline]
    pub(crate) fn new<'q>(mut query: impl Execute<'q, DB>) -> Self {
        let statement = query.statement().cloned();
        let arguments = query.take_arguments();
        let is_persistent = query.persistent();
        Self { sql: query.sql(), statement, arguments, is_persistent }
    }

    #[inline]
    pub(crate) fn text(&self) -> &str {
        self.sql.as_str()
    }

    /// Replaces the text by one with a comment, which is another one for each execution: it must not fill the cache of
    /// prepared statements.
    pub(crate) fn set_commented(&mut self, text: String) {
        // The application has vouched for the text, and the comment is encoded.
        self.sql = AssertSqlSafe(text).into_sql_str();
        self.is_persistent = false;
    }
}

impl<DB: Database> Execute<'_, DB> for OwnedQuery<DB> {
    #[inline]
    fn sql(self) -> SqlStr {
        self.sql
    }

    #[inline]
    fn statement(&self) -> Option<&DB::Statement> {
        self.statement.as_ref()
    }

    #[inline]
    fn take_arguments(&mut self) -> Result<Option<DB::Arguments>, BoxDynError> {
        std::mem::replace(&mut self.arguments, Ok(None))
    }

    #[inline]
    fn persistent(&self) -> bool {
        self.is_persistent
    }
}

impl<DB: Database> fmt::Debug for OwnedQuery<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnedQuery").field("persistent", &self.is_persistent).finish_non_exhaustive()
    }
}

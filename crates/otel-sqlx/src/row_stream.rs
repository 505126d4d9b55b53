//! The stream of a query's results: counts its rows, and ends the query's operation when it ends, fails or is dropped.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use futures_core::stream::BoxStream;
use otel_database::{DatabaseOperation, DatabaseOutcome};
use sqlx::Error;

use crate::database::InstrumentedDatabase;
use crate::outcome;

/// Returns the rows in an item of a stream.
pub(crate) type RowsOf<T> = fn(&T) -> u64;

/// A running query.
pub(crate) struct RowStream<'e, T> {
    // Declared before `operation`, so that the query is dropped before the operation ends.
    inner: BoxStream<'e, Result<T, Error>>,
    operation: DatabaseOperation,
    rows_of: Option<RowsOf<T>>,
    of_error: fn(&Error) -> DatabaseOutcome,
}

impl<'e, T> RowStream<'e, T> {
    /// Wraps the results of a query. Without `rows_of`, they have no rows.
    pub(crate) fn new<DB: InstrumentedDatabase>(
        inner: BoxStream<'e, Result<T, Error>>,
        mut operation: DatabaseOperation,
        rows_of: Option<RowsOf<T>>,
    ) -> Self {
        if rows_of.is_some() {
            operation.add_rows(0);
        }
        Self { inner, operation, rows_of, of_error: outcome::of_error::<DB> }
    }
}

impl<T> Stream for RowStream<'_, T> {
    type Item = Result<T, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Self { inner, operation, rows_of, of_error } = &mut *self;
        let item = ready!(operation.inside(|| inner.as_mut().poll_next(cx)));
        match &item {
            Some(Ok(item)) => {
                if let Some(rows_of) = rows_of {
                    operation.add_rows(rows_of(item));
                }
            }
            Some(Err(error)) => operation.end(&of_error(error)),
            None => operation.end(&DatabaseOutcome::ok()),
        }
        Poll::Ready(item)
    }
}

//! A toy database and an instrumented client of it: what a driver's crate does, in the least code.

use std::pin::pin;
use std::sync::Mutex;

use opentelemetry::Context;
use otel_database::{DatabaseInstrumentation, DatabaseOutcome};
use otel_testing::conformance::{ContextProbe, ProbePoint};

/// The course of the next queries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ToyFault {
    None,
    Refuses(String),
    Panics,
    IsSilent,
    /// The second row fails.
    FailsMidway,
}

/// A database that answers each query with rows of its text.
#[derive(Debug)]
pub(crate) struct ToyDatabase {
    fault: ToyFault,
    seen: Mutex<Vec<String>>,
}

pub(crate) const ROWS: usize = 3;

impl ToyDatabase {
    pub(crate) fn new(fault: ToyFault) -> Self {
        Self { fault, seen: Mutex::default() }
    }

    pub(crate) fn last_query(&self) -> String {
        self.seen.lock().unwrap().last().cloned().unwrap_or_default()
    }

    /// Returns one row of a query.
    pub(crate) async fn row(
        &self,
        query: &str,
        index: usize,
        probe: &ContextProbe,
    ) -> Result<Vec<u8>, String> {
        if index == 0 {
            self.seen.lock().unwrap().push(query.to_owned());
        }
        tokio::task::yield_now().await;
        probe.note(ProbePoint::Arrival);
        match &self.fault {
            ToyFault::Refuses(error) => Err(error.clone()),
            ToyFault::Panics => panic!("on purpose"),
            ToyFault::IsSilent => std::future::pending().await,
            ToyFault::FailsMidway if index == 1 => Err("gone".to_owned()),
            _ => Ok(b"row".to_vec()),
        }
    }

    /// Returns the first `most` rows of a query, as a caller does who drops the stream after them.
    pub(crate) async fn rows(
        &self,
        query: &str,
        most: usize,
        probe: &ContextProbe,
    ) -> Result<Vec<u8>, String> {
        let mut rows = Vec::new();
        for index in 0..most {
            rows.extend(self.row(query, index, probe).await?);
        }
        Ok(rows)
    }
}

pub(crate) struct ToyClient<'d> {
    pub(crate) database: &'d ToyDatabase,
    pub(crate) instrumentation: DatabaseInstrumentation,
}

impl ToyClient<'_> {
    pub(crate) async fn rows(
        &self,
        query: &str,
        most: usize,
        probe: &ContextProbe,
    ) -> Result<Vec<u8>, String> {
        let statement = self.instrumentation.query(query);
        let (mut operation, commented) =
            statement.operation().start_commented(&Context::current(), query, |_| {});
        let query = commented.as_deref().unwrap_or(query);
        operation.add_rows(0);
        let mut rows = Vec::new();
        for index in 0..most {
            let mut row = pin!(self.database.row(query, index, probe));
            match std::future::poll_fn(|cx| operation.inside(|| row.as_mut().poll(cx))).await {
                Ok(row) => rows.extend(row),
                Err(error) => {
                    operation.finish(&DatabaseOutcome::from_status_code(&error));
                    return Err(error);
                }
            }
            operation.add_rows(1);
        }
        // Dropped before the last row, it is cancelled.
        if most == ROWS {
            operation.finish(&DatabaseOutcome::ok());
        }
        Ok(rows)
    }
}

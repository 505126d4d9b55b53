//! The test suite of all journals, mounted for Postgres.

#[macro_use]
#[path = "../it/journals/suite.rs"]
mod suite;

use std::sync::Arc;

journal_suite!(postgres, |database| Arc::new(crate::clocked::Clocked::new(&database).await));

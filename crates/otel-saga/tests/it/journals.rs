//! The test suite of all journals, mounted for the memory and the redb journal.

#[macro_use]
mod suite;

use std::sync::Arc;

use otel_saga::journal::MemoryJournal;

journal_suite!(memory, |_dir| Arc::new(MemoryJournal::new()));

#[cfg(feature = "redb")]
journal_suite!(redb, |dir| {
    let path = dir.path().join("sagas.redb");
    Arc::new(otel_saga::journal::RedbJournal::open(path).unwrap())
});

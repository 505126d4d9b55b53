//! The journals that are measured. Files lie in the target folder: a folder for temporary files may be in memory.

use std::path::PathBuf;
use std::sync::Arc;

use benchmarks::process;
use otel_saga::journal::{Journal, MemoryJournal, RedbJournal};

use crate::cell::Kind;

/// A journal that is gone with this.
pub(crate) struct Opened {
    pub(crate) journal: Arc<dyn Journal>,
    /// How often it has synced, where that is known.
    pub(crate) syncs: Box<dyn Fn() -> u64 + Send + Sync>,
    /// Removes what it has left, once it is closed.
    _scratch: Scratch,
}

struct Scratch(Option<PathBuf>);

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// An empty journal.
pub(crate) async fn open(kind: Kind) -> Opened {
    match kind {
        Kind::Memory => {
            Opened { journal: Arc::new(MemoryJournal::new()), syncs: Box::new(|| 0), _scratch: Scratch(None) }
        }
        Kind::Redb => {
            let folder = process::target().expect("there is a target folder").join("saga");
            std::fs::create_dir_all(&folder).expect("a folder can be made in the target folder");
            let path = folder.join(format!("{}.redb", std::process::id()));
            let journal = Arc::new(RedbJournal::open(&path).expect("the file can be opened"));
            let counting = Arc::clone(&journal);
            Opened { journal, syncs: Box::new(move || counting.syncs()), _scratch: Scratch(Some(path)) }
        }
    }
}

/// Closes the journal and opens it again, as the next process does.
pub(crate) async fn reopen(mut opened: Opened) -> Opened {
    let Some(path) = opened._scratch.0.take() else { return opened };
    drop(opened);
    let journal = Arc::new(RedbJournal::open(&path).expect("the file can be opened"));
    let counting = Arc::clone(&journal);
    Opened { journal, syncs: Box::new(move || counting.syncs()), _scratch: Scratch(Some(path)) }
}

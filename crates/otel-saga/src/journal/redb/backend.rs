//! The file under redb, with its syncs counted: how many appends share one is what its speed depends on.
//!
//! Follows DESIGN.md, "Sagas". Tests make the disk full here.

use std::fs::OpenOptions;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use redb::backends::FileBackend;
use redb::{DatabaseError, StorageBackend};

/// What outlives the file when it is opened again.
#[derive(Debug, Default)]
pub(super) struct Disk {
    syncs: AtomicU64,
    /// How many bytes the file may have, if this is not 0.
    #[cfg(test)]
    pub(super) room: AtomicU64,
    #[cfg(test)]
    pub(super) opened: AtomicU64,
}

impl Disk {
    pub(super) fn syncs(&self) -> u64 {
        self.syncs.load(Ordering::Relaxed)
    }

    fn check(&self, len: u64) -> io::Result<()> {
        #[cfg(test)]
        if (1..len).contains(&self.room.load(Ordering::SeqCst)) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let _ = len;
        Ok(())
    }
}

#[derive(Debug)]
pub(super) struct Backend {
    file: FileBackend,
    disk: Arc<Disk>,
}

impl Backend {
    /// Opens the file. One that is gone or empty is not begun anew where it was there before: its sagas would be forgotten.
    pub(super) fn open(path: &Path, create: bool, disk: &Arc<Disk>) -> Result<Self, DatabaseError> {
        let file = OpenOptions::new().read(true).write(true).create(create).truncate(false).open(path)?;
        if !create && file.metadata()?.len() == 0 {
            return Err(io::Error::other("the file is empty, and was not before").into());
        }
        #[cfg(test)]
        disk.opened.fetch_add(1, Ordering::SeqCst);
        Ok(Self { file: FileBackend::new(file)?, disk: Arc::clone(disk) })
    }
}

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.disk.check(len)?;
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk.syncs.fetch_add(1, Ordering::Relaxed);
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.disk.check(offset + data.len() as u64)?;
        self.file.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }
}

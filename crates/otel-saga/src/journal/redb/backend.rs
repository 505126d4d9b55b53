//! The file below redb. Counts syncs, because the throughput depends on the number of appends that share one.
//!
//! Tests inject disk faults here.

use std::fs::OpenOptions;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use redb::backends::FileBackend;
use redb::{DatabaseError, StorageBackend};

/// State that is kept when the file is opened again.
#[derive(Debug, Default)]
pub(super) struct Disk {
    syncs: AtomicU64,
    #[cfg(test)]
    pub(super) faults: faults::Faults,
}

impl Disk {
    pub(super) fn syncs(&self) -> u64 {
        self.syncs.load(Ordering::Relaxed)
    }
}

/// Fault injection for tests.
#[cfg(test)]
pub(super) mod faults {
    use std::fmt;
    use std::sync::Mutex;

    use super::*;

    /// Called before each write with its end offset and its length; an error gives the number of bytes that are
    /// written first.
    pub(crate) type Fault = Box<dyn FnMut(u64, usize) -> Result<(), (usize, io::Error)> + Send>;

    #[derive(Default)]
    pub(crate) struct Faults {
        pub(super) fault: Mutex<Option<Fault>>,
        pub(super) opened: AtomicU64,
    }

    impl Faults {
        pub(crate) fn set(
            &self,
            fault: impl FnMut(u64, usize) -> Result<(), (usize, io::Error)> + Send + 'static,
        ) {
            *self.fault.lock().unwrap() = Some(Box::new(fault));
        }

        pub(crate) fn clear(&self) {
            *self.fault.lock().unwrap() = None;
        }

        /// Returns the number of times that the file was opened.
        pub(crate) fn opened(&self) -> u64 {
            self.opened.load(Ordering::SeqCst)
        }

        pub(super) fn ask(&self, end: u64, len: usize) -> Result<(), (usize, io::Error)> {
            self.fault.lock().unwrap().as_mut().map_or(Ok(()), |fault| fault(end, len))
        }
    }

    impl fmt::Debug for Faults {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("Faults")
        }
    }
}

#[derive(Debug)]
pub(super) struct Backend {
    file: FileBackend,
    disk: Arc<Disk>,
}

impl Backend {
    /// Opens the file. Without `create` a missing or empty file is an error, because the file existed before and
    /// recreating it would lose its sagas.
    pub(super) fn open(path: &Path, create: bool, disk: &Arc<Disk>) -> Result<Self, DatabaseError> {
        let file = OpenOptions::new().read(true).write(true).create(create).truncate(false).open(path)?;
        if !create && file.metadata()?.len() == 0 {
            return Err(io::Error::other("the file is empty, and was not before").into());
        }
        #[cfg(test)]
        disk.faults.opened.fetch_add(1, Ordering::SeqCst);
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
        #[cfg(test)]
        self.disk.faults.ask(len, 0).map_err(|(_, error)| error)?;
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk.syncs.fetch_add(1, Ordering::Relaxed);
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        #[cfg(test)]
        if let Err((part, error)) = self.disk.faults.ask(offset + data.len() as u64, data.len()) {
            self.file.write(offset, &data[..part])?;
            return Err(error);
        }
        self.file.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }
}

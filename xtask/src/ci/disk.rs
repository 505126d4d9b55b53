//! A full disk as the cause of a failure: compilers and linkers report it as a crash, if at all.

use std::path::Path;

use crate::process::{answer, program};

/// The free space below which a failure is put down to it, in MiB. A linker needs a tenth of it for one binary.
const LITTLE: u64 = 1024;

/// Returns a note for the report if the disk of the folder is nearly full.
pub(super) fn nearly_full(folder: impl AsRef<Path>) -> Option<String> {
    let folder = folder.as_ref();
    note(folder, free(folder)?)
}

fn note(folder: &Path, free: u64) -> Option<String> {
    (free < LITTLE).then(|| format!("the disk of {} has only {free} MiB left", folder.display()))
}

/// Returns the free space of the folder's disk in MiB, or `None` if it is not known.
fn free(folder: &Path) -> Option<u64> {
    available(&answer(program("df", folder).args(["-Pk", "."]))?)
}

/// Returns the fourth field of the second line: the available KiB, by the portable format of `df`.
fn available(table: &str) -> Option<u64> {
    let kib: u64 = table.lines().nth(1)?.split_whitespace().nth(3)?.parse().ok()?;
    Some(kib / 1024)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{available, free, note};

    #[test]
    fn the_available_space_is_read() {
        let table =
            "Filesystem 1024-blocks Used Available Capacity Mounted on\n/dev/vda 264000000 1 6144000 94% /";
        assert_eq!(available(table), Some(6000));
        assert_eq!(available("no such folder"), None);
        assert!(free(&std::env::temp_dir()).unwrap() > 0);
    }

    #[test]
    fn only_a_disk_that_is_nearly_full_is_noted() {
        let folder = Path::new("target");
        assert_eq!(note(folder, 5).unwrap(), "the disk of target has only 5 MiB left");
        assert_eq!(note(folder, 6000), None);
    }
}

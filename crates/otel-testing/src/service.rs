//! The settings of the real services that tests use, as `cargo xtask services up` writes them, and names on these services.

use std::env;
use std::fs;
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/services/env");

/// Returns a variable from the environment, or from the file that `cargo xtask services up` wrote.
///
/// # Panics
/// If it is in neither; `start` names the command that starts the service.
#[must_use]
#[track_caller]
pub fn setting(name: &str, start: &str) -> String {
    if let Ok(value) = env::var(name) {
        return value;
    }
    let Ok(lines) = fs::read_to_string(FILE) else {
        panic!("{name} is not set and {FILE} does not exist: {start}");
    };
    match find(&lines, name) {
        Some(value) => value.to_owned(),
        None => panic!("{name} is neither set nor in {FILE}: {start}"),
    }
}

/// Returns a name that no other test uses, of this process or of one that runs beside it: `{name}-{process}-{number}`.
pub fn unique_name(name: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{name}-{}-{number}", process::id())
}

fn find<'l>(lines: &'l str, name: &str) -> Option<&'l str> {
    let mut settings = lines.lines().filter_map(|line| line.strip_prefix("export ")?.split_once('='));
    // The file is for a shell, where the last assignment wins.
    settings.rfind(|(key, _)| *key == name).map(|(_, value)| value.trim_matches('\''))
}

#[cfg(test)]
mod tests {
    use super::find;

    #[test]
    fn a_setting_is_read_as_a_shell_reads_it() {
        let lines = "# written by xtask\nexport A='1 2'\nexport AB=3\nexport A='4'\nA=5\n";
        assert_eq!((find(lines, "A"), find(lines, "AB"), find(lines, "B")), (Some("4"), Some("3"), None));
    }
}

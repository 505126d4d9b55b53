//! A program that goes on when xtask has ended: started on its own, found again, stopped.
//!
//! A process is known by its number and the moment of its birth, for numbers are used again: nothing is ever
//! stopped that only has the number of a server of ours. Both are read from `/proc`, so that this is for Linux.

use std::{
    fs::{self, File},
    io::ErrorKind,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::process::answer;

/// How long a process may take to end when it is asked to, before it is made to.
const GRACE: Duration = Duration::from_secs(10);

/// Where a service's output goes.
pub(super) fn log(folder: &Path) -> PathBuf {
    folder.join("log")
}

/// Removes the data that an earlier server left. Of one that was killed, processes can be left that write for a moment
/// more, and a folder that they fill meanwhile cannot be removed.
pub(super) fn remove_data(folder: &Path) -> Result<()> {
    let deadline = Instant::now() + GRACE;
    loop {
        match fs::remove_dir_all(folder) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound && !folder.exists() => return Ok(()),
            Err(error) if Instant::now() >= deadline => {
                return Err(error).with_context(|| format!("cannot remove {}", folder.display()));
            }
            Err(_) => thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// The last lines of a service's output, which say why it did not start.
pub(super) fn log_end(folder: &Path) -> String {
    let text =
        fs::read(log(folder)).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    match &lines[lines.len().saturating_sub(5)..] {
        [] => format!("{} is empty", log(folder).display()),
        last => format!("{} ends with: {}", log(folder).display(), last.join(" / ")),
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) id: u32,
    /// In clock ticks since the machine was started.
    pub(super) start_time: u64,
}

impl Process {
    /// Starts it in `folder`, with the service's log for its output, in a process group of its own: it outlives us,
    /// holds none of our pipes, and an interrupt at our terminal does not reach it.
    pub(super) fn start(command: &mut Command, folder: &Path) -> Result<Self> {
        if !Path::new("/proc/self/stat").exists() {
            bail!("servers are started natively on Linux only");
        }
        let path = log(folder);
        let log = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(command, 0);
        command.current_dir(folder).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child =
            command.spawn().with_context(|| format!("cannot start `{}`", command.get_program().display()))?;
        let id = child.id();
        // A child stays listed, dead or alive, while its parent lives and has not asked for its end.
        let (start_time, _) = stat(id).with_context(|| format!("process {id} is not listed in /proc"))?;
        Ok(Self { id, start_time })
    }

    pub(super) fn is_running(&self) -> bool {
        stat(self.id)
            .is_some_and(|(start_time, state)| start_time == self.start_time && !matches!(state, 'Z' | 'X'))
    }

    /// Asks it to end by that signal, and after a while ends it with all that it has started.
    pub(super) fn stop(&self, signal: &str) -> Result<()> {
        self.stop_after(signal, GRACE)
    }

    fn stop_after(&self, signal: &str, grace: Duration) -> Result<()> {
        let id = self.id.to_string();
        if self.signal_and_wait(signal, &id, grace) || self.signal_and_wait("KILL", &format!("-{id}"), GRACE)
        {
            return Ok(());
        }
        bail!("process {id} cannot be stopped")
    }

    /// Sends the signal, unless it has ended, and waits for its end.
    fn signal_and_wait(&self, signal: &str, target: &str, patience: Duration) -> bool {
        if self.is_running() {
            // The shell has it built in, and the program of that name is not everywhere. Whether it worked is seen.
            let _ = answer(Command::new("sh").args(["-c", r#"kill -s "$0" -- "$1""#, signal, target]));
        }
        let deadline = Instant::now() + patience;
        while self.is_running() {
            if Instant::now() >= deadline {
                return false;
            }
            thread::sleep(Duration::from_millis(20));
        }
        true
    }
}

/// Start time and state of the process.
fn stat(id: u32) -> Option<(u64, char)> {
    parse_stat(&fs::read_to_string(format!("/proc/{id}/stat")).ok()?)
}

/// Fields 22 and 3 of `/proc/ID/stat`, proc(5). The second one, the program's name, can hold anything, and is in
/// parentheses.
fn parse_stat(text: &str) -> Option<(u64, char)> {
    let mut fields = text[text.rfind(')')? + 1..].split_whitespace();
    let state = fields.next()?.chars().next()?;
    let start_time = fields.nth(18)?.parse().ok()?;
    Some((start_time, state))
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        path::Path,
        process::Command,
        thread,
        time::{Duration, Instant},
    };

    use super::{Process, log, log_end, parse_stat, remove_data};
    use crate::services::lifecycle::tests::folder;

    fn start(script: &str, folder: &Path) -> Process {
        Process::start(Command::new("sh").args(["-c", script]), folder).unwrap()
    }

    fn wait_for(what: impl Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !what() {
            assert!(Instant::now() < deadline, "did not come true");
            thread::sleep(Duration::from_millis(10));
        }
    }

    #[test]
    fn state_and_birth_are_read_past_any_name() {
        let text =
            "77 (a) b (c) S 1 77 77 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4242 1000 2 18446744073709551615";
        assert_eq!(parse_stat(text), Some((4242, 'S')));
        assert_eq!(parse_stat("77 (a) S 1 77"), None);
        assert_eq!(parse_stat(""), None);
    }

    #[test]
    fn a_process_is_stopped() {
        let process = start("exec sleep 60", &folder("stopped"));
        assert!(process.is_running());
        process.stop("TERM").unwrap();
        assert!(!process.is_running());
        process.stop("TERM").unwrap();
    }

    #[test]
    fn a_process_that_will_not_end_is_killed() {
        let folder = folder("killed");
        let process = start("trap '' TERM; echo ready; for i in 1 2 3 4 5 6; do sleep 10; done", &folder);
        wait_for(|| fs::read_to_string(log(&folder)).unwrap() == "ready\n");
        process.stop_after("TERM", Duration::from_millis(50)).unwrap();
        assert!(!process.is_running());
    }

    #[test]
    fn a_number_that_was_used_again_is_left_alone() {
        let process = start("exec sleep 60", &folder("reused"));
        let earlier = Process { start_time: process.start_time - 1, ..process.clone() };
        assert!(!earlier.is_running());
        earlier.stop("TERM").unwrap();
        assert!(process.is_running());
        process.stop("TERM").unwrap();
    }

    #[test]
    fn a_process_is_asked_by_the_signal_that_it_minds() {
        let folder = folder("signal");
        // Not by INT: a shell that was started where that is ignored, as in the background, cannot mind it.
        let script = "trap '' TERM; trap 'echo asked; exit' USR1; echo ready; while :; do sleep 0.01; done";
        let process = start(script, &folder);
        wait_for(|| fs::read_to_string(log(&folder)).unwrap() == "ready\n");
        process.stop("USR1").unwrap();
        assert_eq!(fs::read_to_string(log(&folder)).unwrap(), "ready\nasked\n");
    }

    #[test]
    fn data_that_is_written_meanwhile_is_removed_all_the_same() {
        let folder = folder("written");
        let data = folder.join("data");
        remove_data(&data).unwrap();
        let script = "mkdir data; i=0; while [ $i -lt 3000 ]; do i=$((i+1)); : >data/$i; done 2>/dev/null";
        let process = start(script, &folder);
        wait_for(|| data.join("9").exists());
        remove_data(&data).unwrap();
        process.stop("TERM").unwrap();
        assert!(!data.exists());
    }

    #[test]
    fn the_end_of_the_log_is_shown() {
        let folder = folder("log");
        let process = start("for i in 1 2 3 4 5 6; do echo $i; done; echo no >&2", &folder);
        wait_for(|| !process.is_running());
        let path = log(&folder).display().to_string();
        assert_eq!(log_end(&folder), format!("{path} ends with: 3 / 4 / 5 / 6 / no"));
        fs::write(log(&folder), "").unwrap();
        assert_eq!(log_end(&folder), format!("{path} is empty"));
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let error = Process::start(&mut Command::new("no-such-program"), &folder("missing")).unwrap_err();
        assert_eq!(error.to_string(), "cannot start `no-such-program`");
    }
}

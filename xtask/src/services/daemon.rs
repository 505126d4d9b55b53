//! Background processes that keep running after xtask exits.
//!
//! A process is identified by its ID and its start time, because the system reuses IDs: a signal must not reach an
//! unrelated process that has the ID of an earlier server. Both are read from `/proc`, which restricts this to Linux.

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

/// Timeout between the stop signal and SIGKILL.
const GRACE: Duration = Duration::from_secs(10);

/// The path of a service's log file.
pub(super) fn log(folder: &Path) -> PathBuf {
    folder.join("log")
}

/// Removes the data of an earlier server. Retries, because children of a killed server can write for a moment longer,
/// and removing a folder fails if a file is created in it meanwhile.
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

/// The last lines of a service's log, for the error of a failed start.
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
    /// In clock ticks since boot.
    pub(super) start_time: u64,
}

impl Process {
    /// Starts the command in `folder` with its output redirected to the log file. Its own process group keeps an
    /// interrupt at the terminal from reaching it.
    pub(super) fn start(command: &mut Command, folder: &Path) -> Result<Self> {
        if !Path::new("/proc/self/stat").exists() {
            bail!("native servers are supported on Linux only");
        }
        let path = log(folder);
        let log = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(command, 0);
        command.current_dir(folder).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child =
            command.spawn().with_context(|| format!("cannot start `{}`", command.get_program().display()))?;
        let id = child.id();
        // A child that has exited is still listed, because this process has not waited for it.
        let (start_time, _) = stat(id).with_context(|| format!("process {id} is not listed in /proc"))?;
        Ok(Self { id, start_time })
    }

    pub(super) fn is_running(&self) -> bool {
        stat(self.id)
            .is_some_and(|(start_time, state)| start_time == self.start_time && !matches!(state, 'Z' | 'X'))
    }

    /// Sends the signal, and kills the process group if the process is still running after the grace period.
    pub(super) fn stop(&self, signal: &str) -> Result<()> {
        self.stop_after(signal, GRACE)
    }

    fn stop_after(&self, signal: &str, grace: Duration) -> Result<()> {
        let id = self.id.to_string();
        if self.signal_and_wait(signal, &id, grace) || self.signal_and_wait("KILL", &format!("-{id}"), GRACE)
        {
            return Ok(());
        }
        bail!("process {id} is still running after SIGKILL")
    }

    /// Sends the signal if the process is running, and returns `true` if it exits in time.
    fn signal_and_wait(&self, signal: &str, target: &str, patience: Duration) -> bool {
        if self.is_running() {
            // `kill` is a shell builtin; the program of that name is not installed everywhere. The loop below checks
            // the result.
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

/// Parses fields 22 (start time) and 3 (state) of `/proc/ID/stat`, see
/// <https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html>. Field 2, the program's name, is in parentheses and can
/// itself contain spaces and parentheses.
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
            assert!(Instant::now() < deadline, "condition not met within 30 s");
            thread::sleep(Duration::from_millis(10));
        }
    }

    #[test]
    fn state_and_start_time_are_parsed_after_any_name() {
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
    fn a_process_that_ignores_the_signal_is_killed() {
        let folder = folder("killed");
        let process = start("trap '' TERM; echo ready; for i in 1 2 3 4 5 6; do sleep 10; done", &folder);
        wait_for(|| fs::read_to_string(log(&folder)).unwrap() == "ready\n");
        process.stop_after("TERM", Duration::from_millis(50)).unwrap();
        assert!(!process.is_running());
    }

    #[test]
    fn a_process_with_a_reused_id_is_not_stopped() {
        let process = start("exec sleep 60", &folder("reused"));
        let earlier = Process { start_time: process.start_time - 1, ..process.clone() };
        assert!(!earlier.is_running());
        earlier.stop("TERM").unwrap();
        assert!(process.is_running());
        process.stop("TERM").unwrap();
    }

    #[test]
    fn a_process_receives_the_given_signal() {
        let folder = folder("signal");
        // Not INT: a shell that starts with SIGINT ignored, as a background job does, cannot trap it.
        let script =
            "trap '' TERM; trap 'echo received; exit' USR1; echo ready; while :; do sleep 0.01; done";
        let process = start(script, &folder);
        wait_for(|| fs::read_to_string(log(&folder)).unwrap() == "ready\n");
        process.stop("USR1").unwrap();
        assert_eq!(fs::read_to_string(log(&folder)).unwrap(), "ready\nreceived\n");
    }

    #[test]
    fn data_is_removed_while_a_process_writes_it() {
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
    fn the_last_lines_of_the_log_are_returned() {
        let folder = folder("log");
        let process = start("for i in 1 2 3 4 5 6; do echo $i; done; echo no >&2", &folder);
        wait_for(|| !process.is_running());
        let path = log(&folder).display().to_string();
        assert_eq!(log_end(&folder), format!("{path} ends with: 3 / 4 / 5 / 6 / no"));
        fs::write(log(&folder), "").unwrap();
        assert_eq!(log_end(&folder), format!("{path} is empty"));
    }

    #[test]
    fn an_error_names_the_missing_program() {
        let error = Process::start(&mut Command::new("no-such-program"), &folder("missing")).unwrap_err();
        assert_eq!(error.to_string(), "cannot start `no-such-program`");
    }
}

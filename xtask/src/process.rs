//! Child processes: commands are printed before they run, and run without standard input.

use std::{
    io::Read,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

/// Timeout of a query such as `tool --version`.
const QUERY: Duration = Duration::from_secs(60);

/// A `cargo` command. Under rustup this is its proxy, which uses the toolchain that the caller has selected.
pub(crate) fn cargo(root: &Path) -> Command {
    program("cargo", root)
}

/// A command that runs in `root`, without standard input.
pub(crate) fn program(name: &str, root: &Path) -> Command {
    let mut command = Command::new(name);
    command.current_dir(root).stdin(Stdio::null());
    command
}

/// Runs the command with inherited output; fails unless it exits with success.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let line = command_line(command);
    println!("$ {line}");
    let status = command.status().with_context(|| format!("cannot start `{line}`"))?;
    check(&line, Some(status), Duration::ZERO)
}

/// Like [`run`], with a timeout after which the process is killed and an error returned. Its children are not killed,
/// so build first and limit only the run.
pub(crate) fn run_within(command: &mut Command, limit: Duration) -> Result<()> {
    let line = command_line(command);
    println!("$ {line}");
    let mut child = command.spawn().with_context(|| format!("cannot start `{line}`"))?;
    let status = wait(&mut child, Instant::now() + limit)?;
    check(&line, status, limit)
}

/// Like [`run_within`], but prints the standard output after the command has exited, and returns it.
pub(crate) fn captured_within(command: &mut Command, limit: Duration) -> Result<String> {
    let line = command_line(command);
    println!("$ {line}");
    let (status, text) = output(command, limit).with_context(|| format!("cannot start `{line}`"))?;
    print!("{text}");
    check(&line, status, limit)?;
    Ok(text)
}

/// Returns the standard output, or `None` if the program is not installed, fails, or times out. Prints nothing: this is
/// for queries such as the version of a tool.
pub(crate) fn answer(command: &mut Command) -> Option<String> {
    let (status, text) = output(command.stderr(Stdio::null()), QUERY).ok()?;
    status?.success().then(|| text.trim().to_owned())
}

/// Runs the command and reads its standard output in a thread, because a full pipe would block the program. The status
/// is `None` if the limit has passed.
fn output(command: &mut Command, limit: Duration) -> Result<(Option<ExitStatus>, String)> {
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    let (sender, receiver) = mpsc::channel();
    if let Some(mut pipe) = child.stdout.take() {
        thread::spawn(move || {
            let mut bytes = Vec::new();
            // Output before a read error is still returned.
            let _ = pipe.read_to_end(&mut bytes);
            // The receiver is gone if the pipe was open for longer than the timeout below.
            let _ = sender.send(bytes);
        });
    }
    let status = wait(&mut child, Instant::now() + limit)?;
    // A child of the program can keep the pipe open after the program has exited, hence the timeout.
    let bytes = receiver.recv_timeout(Duration::from_secs(5)).unwrap_or_default();
    Ok((status, String::from_utf8_lossy(&bytes).into_owned()))
}

/// Waits until the child exits; kills it at the deadline and returns `None`.
fn wait(child: &mut Child, deadline: Instant) -> Result<Option<ExitStatus>> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= deadline {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(Duration::from_millis(20));
    }
}

fn check(line: &str, status: Option<ExitStatus>, limit: Duration) -> Result<()> {
    match status {
        Some(status) if status.success() => Ok(()),
        Some(status) => bail!("`{line}` failed: {status}"),
        None => bail!("`{line}` did not exit within {limit:?} and was killed"),
    }
}

/// Formats the command as typed in a shell.
fn command_line(command: &Command) -> String {
    let variables = command
        .get_envs()
        .filter_map(|(name, value)| Some(format!("{}={:?}", name.display(), value?.to_string_lossy())));
    let program = std::iter::once(command.get_program().display().to_string());
    let arguments = command.get_args().map(|argument| argument.display().to_string());
    variables.chain(program).chain(arguments).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use std::{
        path::Path,
        time::{Duration, Instant},
    };

    use super::{answer, captured_within, cargo, command_line, program, run, run_within};

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn a_command_is_formatted_as_typed() {
        let mut command = cargo(Path::new("."));
        command.args(["doc", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings");
        assert_eq!(command_line(&command), "RUSTDOCFLAGS=\"-D warnings\" cargo doc --no-deps");
    }

    #[test]
    fn a_failure_names_the_command() {
        let wrong = || {
            let mut command = cargo(Path::new("."));
            command.arg("--no-such-option");
            command
        };
        for result in [
            run(&mut wrong()),
            run_within(&mut wrong(), MINUTE),
            captured_within(&mut wrong(), MINUTE).map(drop),
        ] {
            let error = result.unwrap_err().to_string();
            assert!(error.starts_with("`cargo --no-such-option` failed: "), "{error}");
        }
    }

    #[test]
    fn a_missing_program_is_an_error_or_none() {
        let missing = || program("no-such-program", Path::new("."));
        for result in [
            run(&mut missing()),
            run_within(&mut missing(), MINUTE),
            captured_within(&mut missing(), MINUTE).map(drop),
        ] {
            assert_eq!(result.unwrap_err().to_string(), "cannot start `no-such-program`");
        }
        assert_eq!(answer(&mut missing()), None);
    }

    #[test]
    fn output_is_captured() {
        let version = captured_within(cargo(Path::new(".")).arg("--version"), MINUTE).unwrap();
        assert!(version.starts_with("cargo 1."), "{version}");
        assert_eq!(answer(cargo(Path::new(".")).arg("--version")).unwrap(), version.trim());
    }

    #[cfg(unix)]
    #[test]
    fn a_program_that_hangs_is_killed() {
        let limit = Duration::from_millis(50);
        let hanging = || {
            let mut command = program("sleep", Path::new("."));
            command.arg("60");
            command
        };
        let began = Instant::now();
        for result in [run_within(&mut hanging(), limit), captured_within(&mut hanging(), limit).map(drop)] {
            let error = result.unwrap_err().to_string();
            assert_eq!(error, "`sleep 60` did not exit within 50ms and was killed");
        }
        assert!(began.elapsed() < MINUTE);
    }

    #[cfg(unix)]
    #[test]
    fn output_larger_than_a_pipe_does_not_block_the_program() {
        let mut command = program("sh", Path::new("."));
        command.args(["-c", "head -c 1000000 /dev/zero | tr '\\0' x"]);
        assert_eq!(answer(&mut command).unwrap().len(), 1_000_000);
    }
}

//! Starting other programs: each is shown before it runs, in the repository's top folder, without standard input.

use std::{
    io::Read,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

/// How long a question may take that a tool answers about itself.
const QUESTION: Duration = Duration::from_secs(60);

/// The `cargo` that runs us: under rustup its proxy, which keeps to the toolchain that was chosen outside.
pub(crate) fn cargo(root: &Path) -> Command {
    program("cargo", root)
}

/// Any program, started at `root`.
pub(crate) fn program(name: &str, root: &Path) -> Command {
    let mut command = Command::new(name);
    command.current_dir(root).stdin(Stdio::null());
    command
}

/// Runs it with its output passed on; anything but success is an error.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let line = shown(command);
    println!("$ {line}");
    let status = command.status().with_context(|| format!("cannot start `{line}`"))?;
    judge(&line, Some(status), Duration::ZERO)
}

/// The same for what could hang: past the limit it is killed, and that is an error. Programs that it started
/// itself are not killed, so build first and limit the run alone.
pub(crate) fn run_within(command: &mut Command, limit: Duration) -> Result<()> {
    let line = shown(command);
    println!("$ {line}");
    let mut child = command.spawn().with_context(|| format!("cannot start `{line}`"))?;
    let status = wait(&mut child, Instant::now() + limit)?;
    judge(&line, status, limit)
}

/// Runs it, passes its output on when it has ended, and gives back what it wrote to standard output.
pub(crate) fn captured_within(command: &mut Command, limit: Duration) -> Result<String> {
    let line = shown(command);
    println!("$ {line}");
    let (status, text) = output(command, limit).with_context(|| format!("cannot start `{line}`"))?;
    print!("{text}");
    judge(&line, status, limit)?;
    Ok(text)
}

/// What it writes to standard output, or `None` if it is not installed, fails, or does not come to an end. Nothing
/// is shown: this is for questions, such as which version of a tool is there.
pub(crate) fn answer(command: &mut Command) -> Option<String> {
    let (status, text) = output(command.stderr(Stdio::null()), QUESTION).ok()?;
    status?.success().then(|| text.trim().to_owned())
}

/// Runs it to its end or to the limit, where the status is `None`, and reads its standard output meanwhile: a full
/// pipe would stop it.
fn output(command: &mut Command, limit: Duration) -> Result<(Option<ExitStatus>, String)> {
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    let (sender, receiver) = mpsc::channel();
    if let Some(mut pipe) = child.stdout.take() {
        thread::spawn(move || {
            let mut bytes = Vec::new();
            // What came before an error is still worth showing.
            let _ = pipe.read_to_end(&mut bytes);
            // Nobody waits for it any more if the pipe was held open for too long.
            let _ = sender.send(bytes);
        });
    }
    let status = wait(&mut child, Instant::now() + limit)?;
    // The pipe can outlive the program in a child of its own: not for ever, then.
    let bytes = receiver.recv_timeout(Duration::from_secs(5)).unwrap_or_default();
    Ok((status, String::from_utf8_lossy(&bytes).into_owned()))
}

/// Waits for its end; at the deadline it is killed and the answer is `None`.
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

fn judge(line: &str, status: Option<ExitStatus>, limit: Duration) -> Result<()> {
    match status {
        Some(status) if status.success() => Ok(()),
        Some(status) => bail!("`{line}` failed: {status}"),
        None => bail!("`{line}` did not end within {limit:?} and was killed"),
    }
}

/// The command as one would type it.
fn shown(command: &Command) -> String {
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

    use super::{answer, captured_within, cargo, program, run, run_within, shown};

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn a_command_is_shown_as_typed() {
        let mut command = cargo(Path::new("."));
        command.args(["doc", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings");
        assert_eq!(shown(&command), "RUSTDOCFLAGS=\"-D warnings\" cargo doc --no-deps");
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
    fn a_program_that_is_not_there_is_an_error_or_no_answer() {
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
            assert_eq!(error, "`sleep 60` did not end within 50ms and was killed");
        }
        assert!(began.elapsed() < MINUTE);
    }

    #[cfg(unix)]
    #[test]
    fn more_output_than_a_pipe_holds_does_not_stop_the_program() {
        let mut command = program("sh", Path::new("."));
        command.args(["-c", "head -c 1000000 /dev/zero | tr '\\0' x"]);
        assert_eq!(answer(&mut command).unwrap().len(), 1_000_000);
    }
}

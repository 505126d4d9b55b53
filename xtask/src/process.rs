//! Starting other programs: each is shown before it runs, in the repository's top folder, without standard input.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

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
    if !status.success() {
        bail!("`{line}` failed: {status}");
    }
    Ok(())
}

/// Runs it, passes its output on when it has ended, and gives back what it wrote to standard output.
pub(crate) fn captured(command: &mut Command) -> Result<String> {
    let line = shown(command);
    println!("$ {line}");
    let output =
        command.stderr(Stdio::inherit()).output().with_context(|| format!("cannot start `{line}`"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    print!("{text}");
    if !output.status.success() {
        bail!("`{line}` failed: {}", output.status);
    }
    Ok(text)
}

/// What it writes to standard output, or `None` if it is not installed or fails. Nothing is shown: this is for
/// questions, such as which version of a tool is there.
pub(crate) fn answer(command: &mut Command) -> Option<String> {
    let output = command.stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
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
    use std::path::Path;

    use super::{answer, captured, cargo, program, run, shown};

    #[test]
    fn a_command_is_shown_as_typed() {
        let mut command = cargo(Path::new("."));
        command.args(["doc", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings");
        assert_eq!(shown(&command), "RUSTDOCFLAGS=\"-D warnings\" cargo doc --no-deps");
    }

    #[test]
    fn a_failure_names_the_command() {
        let error = run(cargo(Path::new(".")).arg("--no-such-option")).unwrap_err().to_string();
        assert!(error.starts_with("`cargo --no-such-option` failed: "), "{error}");
        let error = captured(cargo(Path::new(".")).arg("--no-such-option")).unwrap_err().to_string();
        assert!(error.starts_with("`cargo --no-such-option` failed: "), "{error}");
    }

    #[test]
    fn a_program_that_is_not_there_is_an_error_or_no_answer() {
        let error = run(&mut program("no-such-program", Path::new("."))).unwrap_err().to_string();
        assert_eq!(error, "cannot start `no-such-program`");
        assert_eq!(answer(&mut program("no-such-program", Path::new("."))), None);
    }

    #[test]
    fn output_is_captured() {
        let version = captured(cargo(Path::new(".")).arg("--version")).unwrap();
        assert!(version.starts_with("cargo 1."), "{version}");
        assert_eq!(answer(cargo(Path::new(".")).arg("--version")).unwrap(), version.trim());
    }
}

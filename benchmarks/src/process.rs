//! Child processes for measurements, native or under callgrind.

use std::collections::HashMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::measure::{COUNTED, ITERATIONS, Mode};

/// The error type of the benchmarks.
pub type Failure = Box<dyn Error>;

/// The native measurement of a process, per iteration.
#[derive(Clone, Copy, Debug, Default)]
pub struct Native {
    /// Allocations.
    pub allocations: f64,
    /// Nanoseconds, the median of several batches.
    pub nanoseconds: f64,
}

/// Returns the target folder that this binary was built in.
pub fn target() -> Result<PathBuf, Failure> {
    let exe = std::env::current_exe()?;
    // target/release/http
    let target = exe.parent().and_then(Path::parent).ok_or("the binary is not in a target folder")?;
    Ok(target.to_owned())
}

/// Builds a binary of this package without default features in a separate target folder, and returns its path.
pub fn build_default(name: &str) -> Result<PathBuf, Failure> {
    let target = target()?.join("default-build");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["build", "--release", "--no-default-features", "--bin", name, "--manifest-path"])
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"))
        .arg("--target-dir")
        .arg(&target)
        .stdin(Stdio::null())
        .status()?;
    if !status.success() {
        return Err(format!("the build without default features failed: {status}").into());
    }
    Ok(target.join("release").join(name))
}

/// Fails if valgrind is not installed.
pub fn valgrind() -> Result<(), Failure> {
    let missing = "valgrind is not installed, and counting instructions needs it. Install it \
                   (`apt install valgrind`), or omit that column with `--quick`.";
    let output = Command::new("valgrind").arg("--version").output().map_err(|_| missing)?;
    if !output.status.success() {
        return Err(missing.into());
    }
    Ok(())
}

/// Measures allocations and time.
pub fn native(binary: &Path, arguments: &[&str]) -> Result<Native, Failure> {
    let output = run(Command::new(binary).args(arguments).arg(Mode::Native.name()))?;
    let value = |name: &str| -> Result<f64, Failure> {
        let line = output.0.lines().find_map(|line| line.strip_prefix(name));
        Ok(line.ok_or_else(|| format!("{arguments:?} did not print a line `{name}`"))?.trim().parse()?)
    };
    Ok(Native { allocations: value("allocations")?, nanoseconds: value("nanoseconds")? })
}

/// Parses the lines `name value` that a process prints.
pub fn numbers(binary: &Path, arguments: &[&str]) -> Result<HashMap<String, f64>, Failure> {
    let output = run(Command::new(binary).args(arguments))?;
    let lines = output.0.lines().filter_map(|line| line.split_once(' '));
    lines.map(|(name, value)| Ok((name.to_owned(), value.trim().parse()?))).collect()
}

/// Counts the instructions of all threads of a process.
pub fn whole_process(binary: &Path, arguments: &[&str]) -> Result<f64, Failure> {
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(binary).args(arguments);
    collected(&run(&mut command)?.1)
}

/// Returns the path of the profile of a cell; its folder is created.
pub fn profile(binary: &Path, label: &str) -> Result<PathBuf, Failure> {
    // Several benchmarks have cells of the same label.
    let benchmark = binary.file_name().unwrap_or_default().display();
    let profiles = target()?.join("callgrind");
    std::fs::create_dir_all(&profiles)?;
    Ok(profiles.join(format!("{benchmark}-{label}.out")))
}

fn collected(text: &str) -> Result<f64, Failure> {
    let collected = text.lines().find_map(|line| line.split("Collected : ").nth(1));
    Ok(collected.ok_or("callgrind did not print the collected instructions")?.trim().parse()?)
}

/// Counts the instructions of the counted region, per iteration. The profile is kept in the target folder for
/// `callgrind_annotate`.
pub fn instructions(binary: &Path, label: &str, arguments: &[&str]) -> Result<f64, Failure> {
    let profile = profile(binary, label)?;
    let output = run(Command::new("valgrind")
        .arg("--tool=callgrind")
        // Addresses of instructions, for the atomics.
        .args(["--dump-instr=yes", "--compress-pos=no", "--compress-strings=no"])
        .arg(format!("--toggle-collect={COUNTED}"))
        .arg(format!("--callgrind-out-file={}", profile.display()))
        .arg(binary)
        .args(arguments)
        .arg(Mode::Instructions.name()))?;
    let collected = collected(&output.1)?;
    if collected == 0.0 {
        return Err(format!("callgrind found no function {COUNTED} in {arguments:?}").into());
    }
    Ok(collected / ITERATIONS as f64)
}

/// Runs a process and returns its standard output and standard error; fails unless it exits with success.
fn run(command: &mut Command) -> Result<(String, String), Failure> {
    let output = command.stdin(Stdio::null()).output()?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    if !output.status.success() {
        return Err(format!("{command:?} failed: {}\n{out}{err}", output.status).into());
    }
    Ok((out, err))
}

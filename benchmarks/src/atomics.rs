//! Atomic read-modify-writes of a cell: the executions of `lock`-prefixed instructions, and of `xchg` with memory, in the
//! counted region. They are found by joining a profile of callgrind with the disassembly of the binary.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cells::Key;
use crate::measure::ITERATIONS;
use crate::process::{self, Failure};
use crate::table::count;

/// A frame with this text belongs to the counting allocator of the benchmarks, whose atomics are not the candidate's.
const ALLOCATOR: &str = "benchmarks::allocations";

/// A frame with one of these texts works on a cache line that no other thread writes: the span and the context of the
/// request, and the slots in which a thread notes what it has borrowed from an `ArcSwap`. All other lines count as shared.
const OWN: [&str; 4] = ["SynchronizedSpan", "BoxedSpan", "arc_swap::", "arc_swap/"];

/// The atomic read-modify-writes of a cell, per iteration.
#[derive(Clone, Copy, Debug)]
pub struct Atomics {
    /// All of them.
    pub all: f64,
    /// Those on cache lines that other threads write as well.
    pub shared: f64,
}

impl Atomics {
    /// The value of a cell that was not measured.
    pub const NOTHING: Self = Self { all: f64::NAN, shared: f64::NAN };

    /// Returns the difference to `base`.
    pub fn over(self, base: Self) -> Self {
        Self { all: self.all - base.all, shared: self.shared - base.shared }
    }

    /// Formats both numbers as the cell of a table.
    pub fn cell(self) -> String {
        if self.all.is_nan() {
            count(f64::NAN)
        } else {
            format!("{} ({})", count(self.all), count(self.shared))
        }
    }
}

/// The number of frames that the lists show of each instruction.
const FRAMES: usize = 6;

/// Fails if the programs of binutils are not installed, or the processor is another one.
pub fn check_tools() -> Result<(), Failure> {
    if !cfg!(target_arch = "x86_64") {
        return Err("atomics are found by the `lock` prefix of x86-64 only; omit them with `--quick`".into());
    }
    for name in ["objdump", "addr2line"] {
        binutils(name, Command::new(name).arg("--version"))?;
    }
    Ok(())
}

/// Counts the atomics of these cells, per iteration, from the profiles of their instructions. A list by function is
/// written beside each profile, as `LABEL.atomics.txt`.
pub fn count_all(cells: &[(Key, PathBuf)]) -> Result<HashMap<Key, Atomics>, Failure> {
    let mut counts = HashMap::new();
    let mut binaries: Vec<&PathBuf> = cells.iter().map(|(_, binary)| binary).collect();
    binaries.dedup();
    for binary in binaries {
        eprintln!("finding the atomics of {}", binary.display());
        let code = Code::read(binary)?;
        let mut executed = Vec::new();
        for (key, _) in cells.iter().filter(|(_, of)| of == binary) {
            let text = std::fs::read_to_string(process::profile(binary, &key.label())?)?;
            executed.push((key, executed_atomics(&Profile::parse(&text, binary), &code)?));
        }
        let addresses =
            executed.iter().flat_map(|(_, executed)| executed.iter().map(|&(address, _)| address));
        let frames = frames(binary, addresses.collect())?;
        for (key, executed) in executed {
            counts.insert(
                *key,
                write_list(&process::profile(binary, &key.label())?, &executed, &code, &frames)?,
            );
        }
    }
    Ok(counts)
}

/// The disassembly of a binary.
#[derive(Debug, Default)]
struct Code {
    /// The atomic instructions by address.
    atomics: HashMap<u64, String>,
    /// The addresses of functions with a unique name.
    functions: HashMap<String, Option<u64>>,
}

impl Code {
    fn read(binary: &Path) -> Result<Self, Failure> {
        let arguments = ["--disassemble", "--no-show-raw-insn", "--demangle"];
        Ok(Self::parse(&binutils("objdump", Command::new("objdump").args(arguments).arg(binary))?))
    }

    fn parse(text: &str) -> Self {
        let mut code = Self::default();
        for line in text.lines() {
            let hex = |digits: &str| u64::from_str_radix(digits.trim(), 16).ok();
            if let Some((address, name)) = line.strip_suffix(">:").and_then(|line| line.split_once(" <")) {
                let address = hex(address);
                code.functions.entry(name.to_owned()).and_modify(|known| *known = None).or_insert(address);
            } else if let Some((address, instruction)) = line.split_once(":\t") {
                let atomic = instruction.starts_with("lock ")
                    || instruction.starts_with("xchg ") && instruction.contains('(');
                if let Some(address) = hex(address).filter(|_| atomic) {
                    code.atomics.insert(address, instruction.trim().to_owned());
                }
            }
        }
        code
    }
}

/// The instructions of one binary that a profile has counted.
#[derive(Debug, Default)]
struct Profile {
    /// The number of executions by address. That of a call has the cost of the called function in addition, which does not
    /// matter: a call is no atomic.
    executions: BTreeMap<u64, u64>,
    /// The lowest address of each function.
    functions: HashMap<String, u64>,
}

impl Profile {
    /// Parses [callgrind's format](https://valgrind.org/docs/manual/cl-format.html), with instruction addresses and
    /// without compression.
    fn parse(text: &str, binary: &Path) -> Self {
        let mut profile = Self::default();
        let (mut in_binary, mut function) = (false, "");
        for line in text.lines() {
            if let Some(object) = line.strip_prefix("ob=") {
                in_binary = Path::new(object) == binary;
            } else if let Some(name) = line.strip_prefix("fn=") {
                function = name;
            } else if let Some(positions) = line.strip_prefix("0x") {
                let mut fields = positions.split(' ');
                let address = fields.next().and_then(|address| u64::from_str_radix(address, 16).ok());
                let executions = fields.nth(1).and_then(|count| count.parse::<u64>().ok());
                let (Some(address), true) = (address, in_binary) else { continue };
                profile
                    .functions
                    .entry(function.to_owned())
                    .and_modify(|lowest| *lowest = address.min(*lowest))
                    .or_insert(address);
                *profile.executions.entry(address).or_default() += executions.unwrap_or_default();
            }
        }
        profile
    }
}

/// Returns the executed atomic instructions with their numbers of executions. The binary was loaded at an address that the
/// profile does not contain: it is the distance at which most functions of the profile have their address in the binary.
fn executed_atomics(profile: &Profile, code: &Code) -> Result<Vec<(u64, u64)>, Failure> {
    let mut distances: HashMap<u64, usize> = HashMap::new();
    for (name, lowest) in &profile.functions {
        if let Some(Some(address)) = code.functions.get(name) {
            *distances.entry(lowest.wrapping_sub(*address)).or_default() += 1;
        }
    }
    let loaded = distances.into_iter().max_by_key(|&(_, functions)| functions);
    let (loaded, _) = loaded.ok_or("no function of the profile is in the disassembly of the binary")?;
    let counted = profile.executions.iter().map(|(address, count)| (address.wrapping_sub(loaded), *count));
    Ok(counted.filter(|(address, _)| code.atomics.contains_key(address)).collect())
}

/// Returns the functions at each address, from the innermost inlined one to the one that was called.
fn frames(binary: &Path, mut addresses: Vec<u64>) -> Result<HashMap<u64, Vec<String>>, Failure> {
    addresses.sort_unstable();
    addresses.dedup();
    let mut command = Command::new("addr2line");
    command.args(["--addresses", "--inlines", "--functions", "--demangle", "--exe"]).arg(binary);
    command.args(addresses.iter().map(|address| format!("{address:#x}")));
    let text = binutils("addr2line", &mut command)?;
    let mut frames: HashMap<u64, Vec<String>> = HashMap::new();
    let (mut lines, mut address) = (text.lines(), 0);
    while let Some(line) = lines.next() {
        match line.strip_prefix("0x").and_then(|digits| u64::from_str_radix(digits, 16).ok()) {
            Some(next) => address = next,
            None => {
                let place = lines.next().unwrap_or_default().rsplit('/').next().unwrap_or_default();
                frames.entry(address).or_default().push(format!("{line} ({place})"));
            }
        }
    }
    Ok(frames)
}

/// Writes the list of a cell and returns its sums.
fn write_list(
    profile: &Path,
    executed: &[(u64, u64)],
    code: &Code,
    frames: &HashMap<u64, Vec<String>>,
) -> Result<Atomics, Failure> {
    let (mut all, mut shared) = (0, 0);
    let mut places: HashMap<String, u64> = HashMap::new();
    for &(address, executions) in executed {
        let frames = frames.get(&address).map(Vec::as_slice).unwrap_or_default();
        let has = |text: &str| frames.iter().any(|frame| frame.contains(text));
        if has(ALLOCATOR) {
            continue;
        }
        let is_shared = !OWN.into_iter().any(has);
        all += executions;
        shared += if is_shared { executions } else { 0 };
        let line = if is_shared { "shared" } else { "own" };
        let place = format!("{line:<6} {}: {}", mnemonic(&code.atomics[&address]), callers(frames));
        *places.entry(place).or_default() += executions;
    }
    let mut places: Vec<(String, u64)> = places.into_iter().collect();
    places.sort_by(|one, other| other.1.cmp(&one.1).then_with(|| one.0.cmp(&other.0)));
    let per_iteration = |executions: u64| executions as f64 / ITERATIONS as f64;
    let atomics = Atomics { all: per_iteration(all), shared: per_iteration(shared) };
    let mut list = format!(
        "{:.2} atomic read-modify-writes per iteration, {:.2} of them on shared cache lines\n",
        atomics.all, atomics.shared
    );
    for (place, executions) in places {
        writeln!(list, "{:8.2}  {place}", per_iteration(executions))?;
    }
    std::fs::write(profile.with_extension("atomics.txt"), list)?;
    Ok(atomics)
}

/// Returns the instruction without its operands.
fn mnemonic(instruction: &str) -> String {
    let words = if instruction.starts_with("lock ") { 2 } else { 1 };
    instruction.split_whitespace().take(words).collect::<Vec<_>>().join(" ")
}

/// Returns the innermost frames outside of the standard library's atomics.
fn callers(frames: &[String]) -> String {
    let is_atomic = |frame: &&String| frame.contains("(atomic.rs:") && !frame.contains("::");
    let frames: Vec<&str> =
        frames.iter().filter(|frame| !is_atomic(frame)).take(FRAMES).map(String::as_str).collect();
    frames.join(" < ")
}

/// Runs a program of binutils and returns its output.
fn binutils(name: &str, command: &mut Command) -> Result<String, Failure> {
    let output = command.output().map_err(|error| {
        format!(
            "`{name}` of binutils cannot run ({error}), and counting atomics needs it. Install it (`apt install binutils`), \
             or omit instructions and atomics with `--quick`."
        )
    })?;
    if !output.status.success() {
        return Err(format!("{name} failed: {}", String::from_utf8_lossy(&output.stderr).trim()).into());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Code, Profile, executed_atomics};

    const DISASSEMBLY: &str = "\
0000000000001000 <one::call>:\n    1000:\tpush   %rbp\n    1004:\tlock xadd %rax,(%rdi)\n    1009:\txchg   %ax,%ax\n\
\n0000000000002000 <two::call>:\n    2000:\txchg   %rax,0x10(%rdi)\n    2004:\tlock incq (%rdi)\n";

    const PROFILE: &str = "\
ob=/bin/one\nfl=x.rs\nfn=one::call\n0x5000 1 10\n0x5004 2 10\n0x5009 2 10\ncfn=two::call\ncalls=10 0x6000 7\n0x5010 3 999\n\
\nfn=two::call\n0x6000 7 30\n\nob=/lib/other\nfn=other\n0x6004 7 50\n";

    #[test]
    fn atomics_of_the_binary_are_joined_with_their_executions() {
        let code = Code::parse(DISASSEMBLY);
        assert_eq!(code.atomics.len(), 3, "{code:?}");
        let profile = Profile::parse(PROFILE, Path::new("/bin/one"));
        assert_eq!(executed_atomics(&profile, &code).unwrap(), [(0x1004, 10), (0x2000, 30)]);
    }

    #[test]
    fn a_profile_of_another_binary_is_an_error() {
        let profile = Profile::parse(PROFILE, Path::new("/bin/another"));
        assert!(executed_atomics(&profile, &Code::parse(DISASSEMBLY)).is_err());
    }
}

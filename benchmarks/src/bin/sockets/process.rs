//! One measurement: a server process, its load, and the figures that Linux has of the server.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, ChildStdout, Command, Stdio};

use benchmarks::process::{self, Failure};

use crate::load::{CONNECTIONS, SAMPLED_OF};
use crate::server::Candidate;

/// The requests before the measurement, on connections of their own.
const WARM_UP: usize = 4_000;

/// The measured requests.
const MEASURED: usize = 48_000;

/// The figures of a server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figures {
    /// Microseconds of processor time a request, in user space and in the kernel.
    pub(crate) processor: f64,
    /// Requests a second.
    pub(crate) per_second: f64,
    /// Microseconds to the end of the response.
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    /// Peak resident memory in MiB.
    pub(crate) peak: f64,
}

/// A server process; dropping it ends it.
struct Server {
    child: Child,
    output: BufReader<ChildStdout>,
    port: String,
}

impl Server {
    fn start(candidate: Candidate, spins: u64) -> Result<Self, Failure> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["--cell", "serve", candidate.name(), &spins.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let output = BufReader::new(child.stdout.take().ok_or("the server has no output")?);
        let mut server = Self { child, output, port: String::new() };
        let mut line = String::new();
        server.output.read_line(&mut line)?;
        server.port =
            line.trim().strip_prefix("port ").ok_or("the server did not print its port")?.to_owned();
        Ok(server)
    }

    /// Returns the nanoseconds that all threads of the process have run.
    fn processor(&self) -> Result<f64, Failure> {
        let mut sum = 0.0;
        for task in std::fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let text = std::fs::read_to_string(task?.path().join("schedstat"))?;
            sum += text.split(' ').next().unwrap_or_default().parse::<f64>()?;
        }
        Ok(sum)
    }

    /// Returns the peak resident memory in MiB.
    fn peak(&self) -> Result<f64, Failure> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? / 1024.0)
    }

    /// Ends the server, and checks that it has recorded each request.
    fn stop(mut self, candidate: Candidate) -> Result<(), Failure> {
        drop(self.child.stdin.take());
        let mut text = String::new();
        self.output.read_to_string(&mut text)?;
        if !self.child.wait()?.success() {
            return Err(format!("the server {} failed", candidate.name()).into());
        }
        let value =
            |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<usize>().ok());
        let (durations, spans) = (value("durations").unwrap_or_default(), value("spans").unwrap_or_default());
        let requests = if candidate.is_instrumented() { WARM_UP + MEASURED } else { 0 };
        if (durations, spans) != (requests, requests / SAMPLED_OF) {
            let name = candidate.name();
            return Err(format!(
                "{name} recorded {durations} durations and {spans} spans of {requests} requests"
            )
            .into());
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Fails if the process has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Measures one server under load.
pub(crate) fn measure(candidate: Candidate, spins: u64) -> Result<Figures, Failure> {
    const {
        let each = CONNECTIONS * SAMPLED_OF;
        assert!(WARM_UP.is_multiple_of(each) && MEASURED.is_multiple_of(each));
    }
    let server = Server::start(candidate, spins)?;
    let load = |requests: usize| {
        process::numbers(&std::env::current_exe()?, &["--cell", "load", &server.port, &requests.to_string()])
    };
    load(WARM_UP)?;
    let before = server.processor()?;
    let printed = load(MEASURED)?;
    let processor = server.processor()? - before;
    let value =
        |name: &str| printed.get(name).copied().ok_or_else(|| format!("the load did not print {name}"));
    let figures = Figures {
        processor: processor / 1e3 / MEASURED as f64,
        per_second: value("per_second")?,
        p50: value("p50")?,
        p99: value("p99")?,
        peak: server.peak()?,
    };
    server.stop(candidate)?;
    Ok(figures)
}

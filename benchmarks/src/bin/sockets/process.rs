//! One measurement: a server process, its load, and the figures that Linux has of the server.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, ChildStdout, Command, Stdio};

use benchmarks::process::{self, Failure};

use crate::load::CONNECTIONS;
use crate::server::Candidate;

/// The requests before the measurement, on connections of their own.
const WARM_UP: usize = 4_800;

/// The measured requests.
const MEASURED: usize = 48_000;

/// The largest share of lost spans, in percent: queues are bounded, and the load uses the same processors.
const MOST_LOST: f64 = 20.0;

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
    /// The share of the spans that did not fit into the queue of the batch processor, in percent.
    pub(crate) lost: f64,
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

    /// Ends the server, and checks that it has recorded each request. Returns the lost spans in percent.
    fn stop(mut self, candidate: Candidate, sampled_of: usize) -> Result<f64, Failure> {
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
        let expected = if candidate.has_metrics() { requests } else { 0 };
        let sampled = requests / sampled_of;
        let lost = sampled.checked_sub(spans).map(|lost| lost as f64 / sampled.max(1) as f64 * 100.0);
        match lost {
            Some(lost) if durations == expected && lost <= MOST_LOST => Ok(lost),
            _ => {
                let name = candidate.name();
                let text =
                    format!("{name} recorded {durations} durations and {spans} spans of {requests} requests");
                Err(text.into())
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Fails if the process has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Measures one server under load, of which one of so many requests is sampled.
pub(crate) fn measure(candidate: Candidate, spins: u64, sampled_of: usize) -> Result<Figures, Failure> {
    let each = CONNECTIONS * sampled_of;
    assert!(WARM_UP.is_multiple_of(each) && MEASURED.is_multiple_of(each), "all requests are counted");
    let server = Server::start(candidate, spins)?;
    let load = |requests: usize| {
        let (requests, sampled_of) = (requests.to_string(), sampled_of.to_string());
        let arguments = ["--cell", "load", &server.port, &requests, &sampled_of];
        process::numbers(&std::env::current_exe()?, &arguments)
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
        lost: server.stop(candidate, sampled_of)?,
    };
    Ok(figures)
}

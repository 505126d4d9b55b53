//! The cost of HTTP server layers behind real sockets: a server process under load, with each layer and without one.
//!
//! Without arguments it runs servers and loads in processes of their own and prints the tables; see `benchmarks/README.md`.
//! It needs Linux, whose `/proc` has the processor time and the memory of the servers.

mod load;
mod process;
mod report;
mod server;

use std::process::ExitCode;

use benchmarks::cli;

use crate::server::Candidate;

fn main() -> ExitCode {
    cli::main("sockets", cell, Some(report::report))
}

fn cell(arguments: &[&str]) -> Option<()> {
    match arguments {
        ["serve", candidate, spins] => server::serve(Candidate::parse(candidate)?, spins.parse().ok()?),
        ["load", port, requests, sampled_of] => {
            load::load(port.parse().ok()?, requests.parse().ok()?, sampled_of.parse().ok()?);
        }
        _ => return None,
    }
    Some(())
}

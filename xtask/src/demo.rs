//! `cargo xtask demo`: the shop of `examples/shop` with all its services, and the trace of each of its orders.

use std::fs;
use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use indicatif::ProgressBar;

use crate::process::{cargo, program, run};
use crate::repo::Repo;
use crate::services::{self, Lease, debian, python};

/// The servers of the shop.
const SERVERS: &[&str] = &["kafka", "nats", "rabbitmq", "postgres"];

/// The page with all traces.
const PAGE: &str = "target/demo/trace.html";

#[derive(Debug, Default, PartialEq, Eq)]
struct Arguments {
    embedded: bool,
    python: bool,
    open: bool,
    may_install: bool,
    /// The arguments for the program itself.
    rest: Vec<String>,
}

fn parse(arguments: &[String]) -> Result<Arguments> {
    let mut parsed = Arguments::default();
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--embedded" => parsed.embedded = true,
            "--python" => parsed.python = true,
            "--open" => parsed.open = true,
            "--yes" => parsed.may_install = true,
            "--keep" => parsed.rest.push(argument.clone()),
            "--orders" | "--otlp" => {
                let Some(value) = arguments.next() else { bail!("{argument} needs a value") };
                parsed.rest.extend([argument.clone(), value.clone()]);
            }
            _ => bail!(
                "unknown argument `{argument}`; expected: --embedded, --python, --orders N, --otlp URL, --keep, --open, --yes"
            ),
        }
    }
    if parsed.embedded && parsed.python {
        bail!("--python needs servers: without them the orders end before notifications");
    }
    Ok(parsed)
}

pub(crate) fn command(arguments: &[String]) -> Result<()> {
    let arguments = parse(arguments)?;
    if arguments.may_install {
        debian::allow_install();
    }
    let repo = Repo::open()?;
    run(cargo(&repo.root).args(["build", "--package", "shop", "--bins"]))?;
    let lease = if arguments.embedded { None } else { servers(&repo.root) };
    let mut demo = cargo(&repo.root);
    demo.args(["run", "--quiet", "--package", "shop", "--bin", "shop-demo", "--", "--html", PAGE]);
    demo.args(&arguments.rest);
    match &lease {
        Some(lease) => {
            demo.envs(lease.variables());
            if arguments.python {
                demo.args(["--python", &interpreter(&repo)?]);
            }
        }
        None => {
            demo.arg("--embedded");
        }
    }
    // Ctrl-C ends the demonstration in order; this program then stops the servers.
    match ctrlc::set_handler(|| {}) {
        // `ci demo` runs it twice.
        Ok(()) | Err(ctrlc::Error::MultipleHandlers) => {}
        Err(error) => return Err(error).context("cannot handle Ctrl-C"),
    }
    run(&mut demo)?;
    // Stops the servers that were started here.
    drop(lease);
    if arguments.open {
        open(&repo.root)?;
    }
    Ok(())
}

/// Installs the packages of notifications in Python, and returns the path of the interpreter that has them.
pub(crate) fn interpreter(repo: &Repo) -> Result<String> {
    let list = repo.root.join("examples/shop/python/requirements.txt");
    let requirements =
        fs::read_to_string(&list).with_context(|| format!("cannot read {}", list.display()))?;
    let folder = repo.root.join("target/demo/python");
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    python::installed(&folder, &requirements, "import sys; print(sys.executable)")
}

/// Starts the servers. Returns `None`, and says why, if one of them cannot be had: the shop then runs without them.
fn servers(root: &Path) -> Option<Lease> {
    let mut installed = services::install_packages(root, SERVERS);
    if let Err(error) = &installed
        && is_allowed(&format!("{error:#}"))
    {
        debian::allow_install();
        installed = services::install_packages(root, SERVERS);
    }
    let bar = ProgressBar::new_spinner().with_message("starting Kafka, NATS, RabbitMQ and Postgres");
    bar.enable_steady_tick(Duration::from_millis(120));
    let lease = installed.and_then(|()| Lease::take(root, SERVERS));
    bar.finish_and_clear();
    match lease {
        Ok(lease) => Some(lease),
        Err(error) => {
            println!("\nThe servers cannot be started: {error:#}");
            println!("The shop runs with Kafka's mock cluster and SQLite, without NATS and RabbitMQ.\n");
            None
        }
    }
}

/// Asks the user, if there is one.
fn is_allowed(what: &str) -> bool {
    if !std::io::stdin().is_terminal() {
        return false;
    }
    print!("{what}\nInstall it now? [y/N] ");
    let mut answer = String::new();
    let read = std::io::stdout().flush().and_then(|()| std::io::stdin().lock().read_line(&mut answer));
    read.is_ok() && answer.trim().eq_ignore_ascii_case("y")
}

fn open(root: &Path) -> Result<()> {
    let opener = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    run(program(opener, root).arg(PAGE))
}

#[cfg(test)]
mod tests {
    use super::{Arguments, parse};

    fn arguments(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn arguments_of_the_program_are_passed_on() {
        let parsed = parse(&arguments("--embedded --orders 7 --keep")).unwrap();
        let rest = arguments("--orders 7 --keep");
        assert_eq!(parsed, Arguments { embedded: true, rest, ..Arguments::default() });
        assert!(parse(&arguments("--orders")).unwrap_err().to_string().contains("needs a value"));
        assert!(parse(&arguments("--html x")).is_err());
        assert!(parse(&arguments("--python")).unwrap().python);
        assert!(parse(&arguments("--python --embedded")).unwrap_err().to_string().contains("needs servers"));
    }
}

//! `cargo xtask demo`: the shop of `examples/shop` with all its services, and the trace of each of its orders.

use std::fs;
use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail};
use indicatif::ProgressBar;

use crate::process::{answer, cargo, program, run};
use crate::repo::Repo;
use crate::services::{self, Lease, debian, python};

/// The servers of the shop.
const SERVERS: &[&str] = &["kafka", "nats", "rabbitmq", "postgres"];

/// The page with all traces.
const PAGE: &str = "target/demo/trace.html";

/// The longest time to the first trace in seconds, with the start of the servers, and without builds and downloads: twice the goal,
/// for a busy machine.
const LIMIT: &str = "120";

/// True after Ctrl-C, which ends the demonstration in order; this program then stops the servers.
static IS_INTERRUPTED: AtomicBool = AtomicBool::new(false);

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
    build(&repo)?;
    handle_interrupts()?;
    let mut options = arguments.rest.clone();
    let installed = (!arguments.embedded).then(|| install(&repo.root, arguments.may_install));
    if arguments.python && matches!(installed, Some(Ok(()))) {
        options.extend(["--python".to_owned(), interpreter(&repo)?]);
    }
    let began = SystemTime::now();
    let started = installed.map(|installed| installed.and_then(|()| start(&repo.root)));
    let lease = match started.transpose() {
        Ok(lease) => lease,
        Err(error) => {
            println!("\n{}\n", fallback(&error, arguments.python));
            options = arguments.rest;
            None
        }
    };
    show(&repo, lease.as_ref(), began, &options)?;
    // Stops the servers that were started here.
    drop(lease);
    if arguments.open {
        open(&repo.root)?;
    }
    Ok(())
}

/// Runs the demonstration without servers, and then with them, as `ci demo` does: servers that cannot be started, a missing trace or
/// page, and a first trace after more than [`LIMIT`] seconds are errors.
pub(crate) fn check(repo: &Repo) -> Result<()> {
    build(repo)?;
    handle_interrupts()?;
    services::install_packages(&repo.root, SERVERS)?;
    // Downloads the servers, which is not part of the time.
    drop(start(&repo.root)?);
    for has_servers in [false, true] {
        let page = repo.root.join(PAGE);
        if page.exists() {
            fs::remove_file(&page).with_context(|| format!("cannot remove {PAGE}"))?;
        }
        let began = SystemTime::now();
        let lease = if has_servers { Some(start(&repo.root)?) } else { None };
        show(repo, lease.as_ref(), began, &["--limit".to_owned(), LIMIT.to_owned()])?;
        if !page.exists() {
            bail!("the demonstration did not write {PAGE}");
        }
    }
    Ok(())
}

fn handle_interrupts() -> Result<()> {
    ctrlc::set_handler(|| IS_INTERRUPTED.store(true, Ordering::Relaxed)).context("cannot handle Ctrl-C")
}

fn build(repo: &Repo) -> Result<()> {
    run(cargo(&repo.root).args(["build", "--package", "shop", "--bins"]))
}

/// Runs the program, with these servers or without. The time to its first trace counts from `began`.
fn show(repo: &Repo, lease: Option<&Lease>, began: SystemTime, options: &[String]) -> Result<()> {
    if IS_INTERRUPTED.load(Ordering::Relaxed) {
        bail!("interrupted");
    }
    let began = began.duration_since(UNIX_EPOCH)?.as_millis().to_string();
    let mut demo = cargo(&repo.root);
    demo.args(["run", "--quiet", "--package", "shop", "--bin", "shop-demo", "--", "--html", PAGE]);
    demo.args(["--since", &began]).args(options);
    match lease {
        Some(lease) => demo.envs(lease.variables()),
        None => demo.arg("--embedded"),
    };
    run(&mut demo)
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

/// Installs the packages of the servers, after a question where that is possible.
fn install(root: &Path, may_install: bool) -> Result<()> {
    services::install_packages(root, SERVERS).or_else(|error| {
        if may_install || !can_install(root) || !is_allowed(&format!("{error:#}")) {
            return Err(error);
        }
        debian::allow_install();
        services::install_packages(root, SERVERS)
    })
}

/// Returns true where packages can be installed: `debian::install` needs apt-get, as root.
fn can_install(root: &Path) -> bool {
    debian::has("apt-get") && answer(program("id", root).arg("-u")).as_deref() == Some("0")
}

fn start(root: &Path) -> Result<Lease> {
    let bar = ProgressBar::new_spinner().with_message("starting Kafka, NATS, RabbitMQ and Postgres");
    bar.enable_steady_tick(Duration::from_millis(120));
    let lease = Lease::take(root, SERVERS);
    bar.finish_and_clear();
    lease
}

/// The description of a demonstration for which the servers could not be started.
fn fallback(error: &anyhow::Error, python: bool) -> String {
    let without = if python { "NATS, RabbitMQ and the service in Python" } else { "NATS and RabbitMQ" };
    format!(
        "The servers cannot be started: {error:#}\nThe shop runs with Kafka's mock cluster and SQLite, without {without}."
    )
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
    use super::{Arguments, fallback, parse};

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

    #[test]
    fn a_fallback_names_what_is_left_out() {
        let error = anyhow::anyhow!("java is missing");
        let text = fallback(&error, false);
        assert!(text.contains("java is missing") && text.ends_with("without NATS and RabbitMQ."), "{text}");
        let text = fallback(&error, true);
        assert!(text.ends_with("without NATS, RabbitMQ and the service in Python."), "{text}");
    }
}

//! The demonstration: starts all services, places orders, and draws the trace of each.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "an example talks to its terminal")]

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use otel_waterfall::{Color, Style, Trace};
use shop::stage::{Options, Servers, Stage};
use shop::{Failure, Order, OrderResult};
use tokio::signal::unix::{SignalKind, signal};

const HELP: &str = "\
usage: shop-demo [OPTIONS]

Starts the services of the shop, places orders, and draws the trace of each.

  --embedded    Kafka's mock cluster and SQLite instead of the servers in KAFKA_BROKERS, NATS_URL, RABBITMQ_URL and POSTGRES_URL
  --orders N    places N orders; default and least: 4
  --html FILE   writes all traces to this page
  --otlp URL    sends the telemetry to this collector as well, such as http://localhost:4318
  --python PATH runs notifications in Python, by this interpreter; its packages are in python/requirements.txt
  --keep        keeps the services running until Ctrl-C
  --since TIME  counts the time to the first trace from this Unix time in milliseconds; default: the start of this program
  --limit N     fails if the first trace is drawn after more than N seconds";

#[derive(Debug, Default)]
struct Arguments {
    embedded: bool,
    orders: usize,
    html: Option<PathBuf>,
    options: Options,
    keep: bool,
    since: Option<SystemTime>,
    limit: Option<Duration>,
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Arguments, String> {
    let mut parsed = Arguments { orders: 4, ..Arguments::default() };
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value"));
        match &*argument {
            "--embedded" => parsed.embedded = true,
            "--keep" => parsed.keep = true,
            "--html" => parsed.html = Some(value()?.into()),
            "--otlp" => parsed.options = parsed.options.with_forward(value()?.trim_end_matches('/')),
            "--python" => parsed.options = parsed.options.with_python(value()?),
            "--since" => {
                let millis = value()?.parse().map_err(|_| "--since needs a number")?;
                parsed.since = Some(UNIX_EPOCH + Duration::from_millis(millis));
            }
            "--limit" => {
                let seconds = value()?.parse().map_err(|_| "--limit needs a number")?;
                parsed.limit = Some(Duration::from_secs(seconds));
            }
            "--orders" => {
                parsed.orders = value()?.parse::<usize>().map_err(|_| "--orders needs a number")?.max(4);
            }
            _ => return Err(format!("unknown argument {argument}")),
        }
    }
    if parsed.embedded && parsed.options.has_python() {
        return Err("--python needs servers: without them the orders end before notifications".to_owned());
    }
    Ok(parsed)
}

#[tokio::main]
async fn main() -> ExitCode {
    if std::env::args().any(|argument| argument == "--help") {
        println!("{HELP}");
        return ExitCode::SUCCESS;
    }
    let arguments = match parse(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(error) => {
            eprintln!("error: {error}\n\n{HELP}");
            return ExitCode::from(2);
        }
    };
    match run(arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<(), Failure> {
    let clock = Clock { since: arguments.since.unwrap_or_else(SystemTime::now), limit: arguments.limit };
    let servers = if arguments.embedded { Servers::Embedded } else { Servers::from_env()? };
    if let Some(path) = &arguments.html {
        // An error is found before the orders are placed.
        write(path, "")?;
    }
    // Process ids repeat, in containers above all.
    let now = UNIX_EPOCH.elapsed()?.as_nanos();
    let folder = Folder(std::env::temp_dir().join(format!("shop-{now:x}")));
    std::fs::create_dir_all(&folder.0)?;
    let mut stage = Stage::start(&servers, &folder.0, arguments.options).await?;
    println!("the services are ready");

    let (mut results, prefix) = (Vec::new(), format!("{now:x}"));
    let placed = place_orders(&mut stage, arguments.orders, &prefix, &clock, &mut results);
    let is_stopped = tokio::select! {
        placed = placed => placed.map(|()| false)?,
        () = interrupted() => true,
    };
    if arguments.keep && !is_stopped {
        println!("the shop is running; Ctrl-C stops it");
        interrupted().await;
    }
    let receiver = stage.stop().await?;
    drop(folder);

    let traces = receiver.traces()?;
    for result in results.iter().take(4).skip(1) {
        print!("\n{}", draw(&traces, result)?);
    }
    if let Some(path) = arguments.html {
        write(&path, &receiver.page()?.html())?;
        println!("\nall traces, metrics and log records: {}", path.display());
    }
    Ok(receiver.forwarded().await?)
}

/// The time to the first trace.
struct Clock {
    since: SystemTime,
    limit: Option<Duration>,
}

impl Clock {
    /// Prints the time, and returns an error if it is beyond the limit.
    fn stop(&self) -> Result<(), Failure> {
        let elapsed = self.since.elapsed().unwrap_or_default();
        println!("first trace drawn after {:.1} s\n", elapsed.as_secs_f64());
        match self.limit {
            Some(limit) if elapsed > limit => {
                Err(format!("the first trace was drawn after more than {limit:?}").into())
            }
            _ => Ok(()),
        }
    }
}

/// A folder that is removed at the end.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Waits for Ctrl-C or SIGTERM.
async fn interrupted() {
    let terminated = async {
        match signal(SignalKind::terminate()) {
            Ok(mut terminated) => terminated.recv().await,
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminated => {}
    }
}

/// Places the orders one after the other, and draws the trace of the first one.
async fn place_orders(
    stage: &mut Stage,
    orders: usize,
    prefix: &str,
    clock: &Clock,
    results: &mut Vec<OrderResult>,
) -> Result<(), Failure> {
    for index in 0..orders {
        let (customer, what) = [
            ("ada", "an order"),
            ("ben", "an order of a customer with too little money"),
            ("kim", "an order whose payment service is killed midway"),
            ("sam", "an order whose payment service is slow"),
        ]
        .get(index)
        .copied()
        .unwrap_or(("ada", "an order"));
        let order = Order {
            number: format!("{prefix}-{}", index + 1),
            customer: customer.to_owned(),
            item: "teapot".to_owned(),
            quantity: 2,
            cents: 0,
        };
        let result = match customer {
            "kim" => place_and_kill(stage, &order).await?,
            _ => stage.order(&order).await?,
        };
        println!("{what}: {}", result.status);
        stage.wait_for(&result).await?;
        if index == 0 {
            let traces = stage.receiver.traces()?;
            print!("\n{}", draw(&traces, &result)?);
            clock.stop()?;
        }
        results.push(result);
    }
    Ok(())
}

/// Places an order, and kills the instance of the payment service that works at it. Another one takes its place.
async fn place_and_kill(stage: &mut Stage, order: &Order) -> Result<OrderResult, Failure> {
    let placed = tokio::spawn(stage.place(order.clone()));
    let killed = stage.kill_payment_of(&order.customer).await?;
    let result = placed.await??;
    stage.restart(killed).await?;
    Ok(result)
}

fn draw(traces: &[Trace], result: &OrderResult) -> Result<String, Failure> {
    let mut style = Style::new();
    if std::io::stdout().is_terminal() {
        style = style.with_color(Color::Always);
    }
    let trace = traces.iter().find(|trace| trace.id.to_string() == result.trace);
    let trace = trace.ok_or_else(|| format!("the trace {} of an order is missing", result.trace))?;
    Ok(otel_waterfall::text(trace, &style))
}

fn write(path: &Path, page: &str) -> Result<(), Failure> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)
            .map_err(|error| format!("cannot create {}: {error}", folder.display()))?;
    }
    std::fs::write(path, page).map_err(|error| format!("cannot write {}: {error}", path.display()).into())
}

//! The soak of the shop: customers place orders for twenty minutes, while each of its servers is killed and started again in
//! turn. The checks at the end account for every order, cent and trace.

#![expect(clippy::print_stdout, reason = "a soak prints to its terminal")]

mod memory;
#[path = "../../../../../crates/otel-saga/tests/postgres/server.rs"]
#[expect(clippy::unwrap_used, reason = "the file is one of the tests of otel-saga")]
mod postgres;
mod servers;
mod traces;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::error::Error;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use shop::stage::{Options, Stage};
use shop::{Failure, Order};
use soak::{Arguments, Random, Report, equal};
use tokio::time::sleep;

use crate::memory::Memory;
use crate::servers::{NAMES, Servers};
use crate::traces::Traces;

/// The price of the item that is ordered, in cents.
const PRICE: i64 = 1999;
/// The shortest time between two orders of one customer.
const PACE: Duration = Duration::from_millis(200);
/// The time between two kills of a server.
const CYCLE: Duration = Duration::from_secs(60);
/// The longest time from the last order to the end of its trace.
const END: Duration = Duration::from_secs(120);
/// One order in so many is of a customer with too little money, and one is charged by an instance that never answers.
const REFUSED: u64 = 10;
const SLOW: u64 = 50;

#[tokio::main]
async fn main() -> ExitCode {
    soak::run("shop", ("--seconds", 20 * 60, 4), soak).await
}

/// The counts of all customers.
#[derive(Default)]
struct Counts {
    placed: Cell<u64>,
    failed: Cell<u64>,
    completed: Cell<u64>,
    compensated: Cell<u64>,
    /// Orders with another end than that of their customer.
    wrong: Cell<u64>,
}

fn add(count: &Cell<u64>) {
    count.set(count.get() + 1);
}

async fn soak(arguments: Arguments) -> Result<Report, Box<dyn Error>> {
    let Arguments { requests: seconds, seed, concurrency, .. } = arguments;
    println!("soak shop: {seconds} s, {concurrency} customers, seed {seed}; a kill every {CYCLE:?}");
    let mut servers = Servers::start().await?;
    let folder = std::env::temp_dir().join(format!("soak-shop-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let stage = Stage::start(&servers.addresses(), &folder, Options::new()).await.map_err(in_soak)?;
    let before = money(&stage).await?;

    let (counts, began) = (Counts::default(), Instant::now());
    let length = Duration::from_secs(seconds);
    let mut traces = Traces::default();
    let mut memory = Memory::new(stage.processes());
    let customers = (0..concurrency).map(|customer| buy(&stage, &counts, (seed, customer), length));
    let mut customers = Box::pin(join_all(customers));
    let mut restarts = 0;
    loop {
        tokio::select! {
            _ = &mut customers => break,
            () = sleep(Duration::from_secs(1)) => {}
        }
        traces.add(stage.receiver.take_spans());
        memory.sample(began.elapsed() > length / 2);
        let elapsed = began.elapsed();
        // The last restart leaves time for its effects.
        if elapsed >= CYCLE * (restarts + 1) && elapsed + CYCLE / 2 < length {
            let index = usize::try_from(restarts)? % NAMES.len();
            servers.restart(index)?;
            restarts += 1;
            println!(
                "{:>5} s: {} orders, {} spans; {} was killed",
                elapsed.as_secs(),
                counts.placed.get(),
                traces.spans(),
                NAMES[index]
            );
        }
    }
    drop(customers);
    let took = began.elapsed();

    let ended = Instant::now();
    while (traces.notified() < counts.completed.get() || traces.incomplete() > 0) && ended.elapsed() < END {
        sleep(Duration::from_millis(200)).await;
        traces.add(stage.receiver.take_spans());
    }
    let spent = before - money(&stage).await?;
    let services = stage.processes().len();
    let stopped = stage.stop().await;
    let mut report = Report::default();
    report.check(match stopped {
        Ok(receiver) => {
            traces.add(receiver.take_spans());
            Ok(format!("{services} services ended well, each without an open span"))
        }
        Err(error) => Err(format!("a service did not end well: {error}")),
    });
    let _ = std::fs::remove_dir_all(&folder);

    let (placed, completed, compensated) =
        (counts.placed.get(), counts.completed.get(), counts.compensated.get());
    report.check(equal("orders that were completed or compensated", placed, completed + compensated));
    report.check(equal("orders that failed", 0, counts.failed.get()));
    report.check(equal("orders with the wrong end", 0, counts.wrong.get()));
    report.check(equal("cents spent", completed * PRICE.unsigned_abs(), spent.unsigned_abs()));
    report.check(equal("completed orders that reached notifications", completed, traces.notified()));
    report.check(equal("traces of orders", placed, traces.orders()));
    report.check(equal("traces without exactly one root", 0, traces.without_one_root()));
    report.check(equal("spans without their parent", 0, traces.orphans()));
    report.check(equal("spans that arrived twice", 0, traces.doubled()));
    for result in memory.verdicts() {
        report.check(result);
    }
    report.check(Ok(format!(
        "{placed} orders in {:.0} s ({completed} completed, {compensated} compensated), {} spans, {restarts} kills of a server",
        took.as_secs_f64(),
        traces.spans()
    )));
    Ok(report)
}

/// Places orders one after the other until the time is over.
async fn buy(stage: &Stage, counts: &Counts, (seed, customer): (u64, u64), length: Duration) {
    let began = Instant::now();
    let mut number = 0;
    while began.elapsed() < length {
        number += 1;
        let mut random = Random::new(seed, customer << 32 | number);
        let (name, status) = if random.below(REFUSED) == 0 {
            ("ben", "compensated")
        } else if random.below(SLOW) == 0 {
            ("sam", "completed")
        } else {
            ("ada", "completed")
        };
        let order = Order {
            number: format!("{}-{seed}-{customer}-{number}", std::process::id()),
            customer: name.to_owned(),
            item: "teapot".to_owned(),
            quantity: 1,
            cents: 0,
        };
        let (placed, ()) = tokio::join!(stage.order(&order), sleep(PACE));
        add(&counts.placed);
        match placed {
            Ok(result) => {
                match &*result.status {
                    "completed" => add(&counts.completed),
                    "compensated" => add(&counts.compensated),
                    other => println!("order {} ended as {other}", order.number),
                }
                if result.status != status {
                    add(&counts.wrong);
                }
            }
            Err(error) => {
                println!("order {} failed: {error}", order.number);
                add(&counts.failed);
            }
        }
    }
}

/// Returns the money of all customers in cents.
async fn money(stage: &Stage) -> Result<i64, Box<dyn Error>> {
    let mut money = BTreeMap::new();
    for customer in ["ada", "ben", "kim", "sam"] {
        money.insert(customer, stage.number(&format!("accounts/{customer}")).await.map_err(in_soak)?);
    }
    Ok(money.into_values().sum())
}

fn in_soak(error: Failure) -> Box<dyn Error> {
    error
}

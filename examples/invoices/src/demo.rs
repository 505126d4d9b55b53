//! The demonstration: starts the services and runs the script; complete traces are drawn after each step.

use otel_amqp::Channel;
use tokio::task::JoinSet;

use crate::Failure;
use crate::jobs::{self, Clerk, Complaints};
use crate::payments::{self, Follower};
use crate::rates::{self, Rates};
use crate::reports::{Reports, reports};
use crate::stage::Stage;

pub(crate) async fn run(address: &str) -> Result<(), Failure> {
    // The queues of two runs on one broker differ.
    let prefix = format!("demo{}.", std::process::id());
    let mut stage = Stage::new(address, &prefix)?;
    let result = with_services(&mut stage, prefix).await;
    stage.shut_down().await;
    result
}

async fn with_services(stage: &mut Stage, prefix: String) -> Result<(), Failure> {
    let desk = Desk { channel: stage.channel("desk").await?, prefix };
    println!("The services start. Their queues have the prefix {}", desk.prefix);
    println!("The page of all traces is {}.", stage.page.display());
    let mut running = JoinSet::new();
    let script = desk.start_services(stage, &mut running).await?;
    let result = tokio::select! {
        result = script.run(stage) => result,
        // No service ends before the script does.
        Some(ended) = running.join_next() => match ended {
            Ok(Ok(())) => Err("a service ended unexpectedly".into()),
            Ok(Err(error)) => Err(error),
            Err(panic) => Err(panic.into()),
        },
    };
    running.shutdown().await;
    result
}

/// The service that sends everything.
struct Desk {
    channel: Channel,
    prefix: String,
}

/// The desk, and the reports of the other services.
struct Script {
    desk: Desk,
    ada: Reports,
    bob: Reports,
    complaints: Reports,
    books: Reports,
    taxes: Reports,
    rates: Reports,
}

impl Desk {
    /// Starts all services as tasks.
    async fn start_services(
        self,
        stage: &mut Stage,
        running: &mut JoinSet<Result<(), Failure>>,
    ) -> Result<Script, Failure> {
        let prefix = &self.prefix;
        jobs::declare(&self.channel, prefix).await?;
        payments::declare(&self.channel, prefix).await?;

        let (reporter, ada) = reports("ada");
        running.spawn(Clerk::new(&stage.channel("ada").await?, prefix, reporter).await?.run());
        let (reporter, bob) = reports("bob");
        running.spawn(Clerk::new(&stage.channel("bob").await?, prefix, reporter).await?.run());
        let (reporter, complaints) = reports("complaints");
        running.spawn(Complaints::new(&stage.channel("complaints").await?, prefix, reporter).await?.run());

        let (reporter, books) = reports("books");
        let channel = stage.channel("books").await?;
        running.spawn(Follower::new(&channel, prefix, ("books", "paid.*"), reporter).await?.run());
        let (reporter, taxes) = reports("taxes");
        let channel = stage.channel("taxes").await?;
        running.spawn(Follower::new(&channel, prefix, ("taxes", "paid.eu"), reporter).await?.run());

        let (reporter, rates) = reports("rates");
        running.spawn(Rates::new(stage.channel("rates").await?, prefix, reporter).await?.run());
        Ok(Script { desk: self, ada, bob, complaints, books, taxes, rates })
    }
}

impl Script {
    async fn run(mut self, stage: &Stage) -> Result<(), Failure> {
        let Desk { channel, prefix } = &self.desk;
        stage.draw().await?;

        println!("Each message of a work queue is processed by one of its workers.");
        println!("  {:<10} orders \"book, 18 EUR\"", "desk");
        jobs::ask(channel, prefix, "book, 18 EUR").await?;
        self.ada.print_next().await?;
        stage.draw().await?;

        println!("The next message is that of the next worker.");
        println!("  {:<10} orders \"lamp, 40 EUR\"", "desk");
        jobs::ask(channel, prefix, "lamp, 40 EUR").await?;
        self.bob.print_next().await?;
        stage.draw().await?;

        println!("A message that is rejected goes to the queue of dead letters, in the same trace.");
        println!("  {:<10} orders \"chair\"", "desk");
        jobs::ask(channel, prefix, "chair").await?;
        // The broker takes the worker whose acknowledgement came first.
        Reports::print_next_of(&mut self.ada, &mut self.bob).await?;
        self.complaints.print_next().await?;
        stage.draw().await?;

        println!("A topic exchange copies a message to each queue whose pattern its routing key matches.");
        println!(
            "  {:<10} publishes paid.eu, which is {}",
            "desk",
            payments::publish(channel, prefix, "paid.eu").await?
        );
        self.books.print_next().await?;
        self.taxes.print_next().await?;
        stage.draw().await?;

        println!("A mandatory message without a queue is returned.");
        println!(
            "  {:<10} publishes lost.eu, which is {}",
            "desk",
            payments::publish(channel, prefix, "lost.eu").await?
        );
        stage.draw().await?;

        println!("A request and its reply are one trace.");
        let rate = rates::ask(channel, prefix, "USD").await?;
        self.rates.print_next().await?;
        println!("  {:<10} gets {rate}", "desk");
        stage.draw().await
    }
}

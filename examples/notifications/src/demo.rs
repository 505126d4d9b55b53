//! The demonstration: starts the services and runs the script; complete traces are drawn after each step.

use otel_nats::Client;
use otel_nats::jetstream;
use otel_nats::jetstream::kv::Store;
use tokio::task::JoinSet;

use crate::Failure;
use crate::alerts::Display;
use crate::letters::{Letters, Printer};
use crate::people::{self, AddressBook};
use crate::reports::{Reports, reports};
use crate::settings::{self, Follower};
use crate::stage::Stage;

pub(crate) async fn run(address: &str) -> Result<(), Failure> {
    // The subjects of two runs on one server differ.
    let prefix = format!("demo{}.", std::process::id());
    let mut stage = Stage::new(address, &prefix)?;
    let result = with_services(&mut stage, &prefix).await;
    stage.shut_down().await;
    result
}

async fn with_services(stage: &mut Stage, prefix: &str) -> Result<(), Failure> {
    let desk = stage.client("desk").await?;
    println!("The services start. Their subjects have the prefix {prefix}");
    println!("The page of all traces is {}.", stage.page.display());
    let context = jetstream::new(desk.clone());
    let letters = Letters::create(context.clone(), prefix).await?;
    let settings = settings::create(&context, prefix).await?;
    let mut running = JoinSet::new();
    let desk = Desk {
        client: desk,
        prefix: prefix.to_owned(),
        letters: letters.clone(),
        settings: settings.clone(),
    };
    let script = async {
        let script = desk.start_services(stage, &mut running).await?;
        tokio::select! {
            result = script.run(stage) => result,
            // No service ends before the script does.
            Some(ended) = running.join_next() => match ended {
                Ok(Ok(())) => Err("a service ended unexpectedly".into()),
                Ok(Err(error)) => Err(error),
                Err(panic) => Err(panic.into()),
            },
        }
    };
    let result = script.await;
    running.shutdown().await;
    // Runs after a failure as well, so that nothing is left on the server.
    result.and(letters.delete().await).and(settings::delete(&context, &settings).await)
}

/// The service that sends everything.
struct Desk {
    client: Client,
    prefix: String,
    letters: Letters,
    settings: Store,
}

/// The desk, and the reports of the other services.
struct Script {
    desk: Desk,
    hall: Reports,
    gate: Reports,
    people: Reports,
    printer: Reports,
    lamp: Reports,
}

impl Desk {
    /// Starts all services as tasks.
    async fn start_services(
        self,
        stage: &mut Stage,
        running: &mut JoinSet<Result<(), Failure>>,
    ) -> Result<Script, Failure> {
        let prefix = &self.prefix;
        let mut displays = Vec::new();
        for name in ["hall", "gate"] {
            let (reporter, reports) = reports(name);
            let display = Display::new(&stage.client(name).await?, prefix, reporter).await?;
            running.spawn(display.run());
            displays.push(reports);
        }
        let (reporter, people) = reports("people");
        running.spawn(AddressBook::new(&stage.client("people").await?, prefix, reporter).await?.run());
        let (reporter, printer) = reports("printer");
        let context = jetstream::new(stage.client("printer").await?);
        running.spawn(Printer::new(context, &self.letters, reporter).await?.run());
        let (reporter, lamp) = reports("lamp");
        let context = jetstream::new(stage.client("lamp").await?);
        running.spawn(Follower::new(&context, &self.settings, reporter).await?.run());
        let [gate, hall] = [displays.pop(), displays.pop()].map(|reports| reports.ok_or("no display"));
        Ok(Script { desk: self, hall: hall?, gate: gate?, people, printer, lamp })
    }
}

impl Script {
    async fn run(mut self, stage: &Stage) -> Result<(), Failure> {
        let Desk { client, prefix, letters, settings } = &self.desk;
        stage.draw().await?;

        println!("An alert is one trace through all of its subscribers.");
        println!("  {:<8} alerts \"storm\"", "desk");
        client.publish(format!("{prefix}alerts.storm"), "storm".into()).await?;
        self.hall.print_next().await?;
        self.gate.print_next().await?;
        stage.draw().await?;

        println!("A request lasts until its reply, and the service answers in the requester's trace.");
        let reply = people::address(client, prefix, "ada").await?;
        self.people.print_next().await?;
        println!("  {:<8} gets \"{reply}\"", "desk");
        stage.draw().await?;

        println!("An error of the service is a failure on both sides.");
        let reply = people::address(client, prefix, "grace").await?;
        self.people.print_next().await?;
        println!("  {:<8} gets \"{reply}\"", "desk");
        stage.draw().await?;

        println!("A letter is stored, and delivered again after its first processing has failed.");
        println!("  {:<8} posts \"dear ada\"", "desk");
        letters.post("dear ada").await?;
        self.printer.print_next().await?;
        self.printer.print_next().await?;
        stage.draw().await?;

        println!("The update of a setting is processed in the trace of its put.");
        println!("  {:<8} puts light = green", "desk");
        settings.put("light", "green".into()).await?;
        self.lamp.print_next().await?;
        stage.draw().await
    }
}

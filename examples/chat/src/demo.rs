//! The demonstration: a server, two members, and after each step the traces that are complete.

use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use otel_telemetry::Telemetry;
use otel_waterfall::{OpenSpans, Waterfall};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tonic::Status;

use crate::client::Member;
use crate::server;
use crate::telemetry::{telemetry, waterfall};
use crate::wire::Wire;

/// A call has a span on either side.
const SPANS_A_CALL: usize = 2;

/// A member with their own telemetry, as if in a process of their own.
struct Guest {
    name: &'static str,
    member: Member,
    wire: Wire,
    telemetry: Telemetry,
}

impl Guest {
    async fn hears(&mut self) -> Result<bool, Status> {
        let name = self.name;
        self.member.hear(|line| println!("  {name} hears  {line}")).await
    }

    async fn says(&self, text: &str) {
        println!("  {} says   {text}", self.name);
        self.member.say(text).await;
    }
}

/// What draws the pictures.
struct Stage {
    waterfall: Waterfall,
    open_spans: OpenSpans,
}

impl Stage {
    fn telemetry(&self, service: &str) -> Result<Telemetry, Box<dyn Error>> {
        let open_spans = self.open_spans.clone();
        // The exporter comes first: a span that is no longer open has been drawn.
        Ok(telemetry(service, &self.waterfall, |traces| traces.with_span_processor(open_spans))?)
    }

    async fn guest(&self, name: &'static str, address: SocketAddr) -> Result<Guest, Box<dyn Error>> {
        let telemetry = self.telemetry(name)?;
        let (channel, target, wire) = Wire::connect(address).await?;
        let member = Member::join(channel, &target, name, &telemetry).await?;
        Ok(Guest { name, member, wire, telemetry })
    }

    /// Waits until nothing is under way but the calls themselves, and draws all that has ended.
    async fn draw(&self, calls: usize) {
        self.open_spans.at_most(calls * SPANS_A_CALL).await;
        println!();
        self.waterfall.flush();
    }
}

pub(crate) async fn run() -> Result<(), Box<dyn Error>> {
    // The demonstration knows when a trace is over: nothing is left to time.
    let waterfall = waterfall().with_quiet(Duration::from_secs(60));
    let stage = Stage { waterfall, open_spans: OpenSpans::default() };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let chat = stage.telemetry("chat")?;
    let (stop, stopped) = oneshot::channel();
    let serving = async {
        server::serve(listener, &chat, async {
            let _ = stopped.await;
        })
        .await
    };
    let talking = async {
        let guests = talk(&stage, address).await;
        let _ = stop.send(());
        guests
    };
    let (_, guests) = tokio::try_join!(serving, talking)?;
    for telemetry in guests.into_iter().chain([chat]) {
        // What did not end well is in the log, as a warning.
        telemetry.shutdown().await;
    }
    Ok(())
}

async fn talk(stage: &Stage, address: SocketAddr) -> Result<[Telemetry; 2], Box<dyn Error>> {
    println!("Ada joins.");
    let mut ada = stage.guest("ada", address).await?;
    ada.hears().await?;
    stage.draw(1).await;

    println!("Grace joins: one message in, and one out to each of them.");
    let mut grace = stage.guest("grace", address).await?;
    grace.hears().await?;
    ada.hears().await?;
    stage.draw(2).await;

    println!("A message is one trace, from member to member, linked to both streams on its way.");
    ada.says("Hello, Grace!").await;
    grace.hears().await?;
    stage.draw(2).await;

    println!("So is the answer.");
    grace.says("Hello, Ada! I was just about to").await;
    ada.hears().await?;
    stage.draw(2).await;

    println!("Grace is cut off: her stream ends in the middle, CANCELLED on the server, and Ada is told.");
    grace.wire.cut()?;
    ada.hears().await?;
    let error = match grace.member.hear(|_| ()).await {
        Ok(_) => return Err("a connection that was cut goes on".into()),
        Err(status) => status,
    };
    println!("  grace hears  nothing any more: {:?}", error.code());
    stage.draw(1).await;

    println!("Ada leaves: her stream ends well.");
    ada.member.leave();
    while ada.hears().await? {}
    stage.draw(0).await;
    Ok([ada.telemetry, grace.telemetry])
}

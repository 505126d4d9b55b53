//! The demonstration: a server and two members; the complete traces are drawn after each step.

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

/// The number of spans of a call: one on each side.
const SPANS_PER_CALL: usize = 2;

/// A member with separate telemetry, as in a separate process.
struct Guest {
    name: &'static str,
    member: Member,
    wire: Wire,
    telemetry: Telemetry,
}

impl Guest {
    /// Prints the next message; returns `false` at the end of the stream.
    async fn hears(&mut self) -> Result<bool, Status> {
        let name = self.name;
        self.member.receive(|line| println!("  {name} hears  {line}")).await
    }

    async fn says(&self, text: &str) {
        println!("  {} says   {text}", self.name);
        self.member.say(text).await;
    }
}

/// The shared parts of the demonstration that draw the traces.
struct Stage {
    waterfall: Waterfall,
    open_spans: OpenSpans,
}

impl Stage {
    fn telemetry(&self, service: &str) -> Result<Telemetry, Box<dyn Error>> {
        let open_spans = self.open_spans.clone();
        // The exporter comes before `open_spans`, so that a span has been exported when it counts as closed.
        Ok(telemetry(service, &self.waterfall, |traces| traces.with_span_processor(open_spans))?)
    }

    async fn guest(&self, name: &'static str, address: SocketAddr) -> Result<Guest, Box<dyn Error>> {
        let telemetry = self.telemetry(name)?;
        let (channel, target, wire) = Wire::connect(address).await?;
        let member = Member::join(channel, &target, name, &telemetry).await?;
        Ok(Guest { name, member, wire, telemetry })
    }

    /// Waits until only the spans of this many calls are open, and draws the complete traces.
    async fn draw(&self, calls: usize) {
        self.open_spans.at_most(calls * SPANS_PER_CALL).await;
        println!();
        self.waterfall.flush();
    }
}

pub(crate) async fn run() -> Result<(), Box<dyn Error>> {
    let page = std::env::current_exe()?.with_extension("html");
    // The demonstration draws each trace when its spans have ended, so that the quiet period must not expire.
    let waterfall = waterfall().with_quiet(Duration::from_secs(60)).with_html(&page)?;
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
        // Export failures are logged as warnings.
        telemetry.shutdown().await;
    }
    eprintln!("All traces on one page: {}", page.display());
    Ok(())
}

async fn talk(stage: &Stage, address: SocketAddr) -> Result<[Telemetry; 2], Box<dyn Error>> {
    println!("Ada joins.");
    let mut ada = stage.guest("ada", address).await?;
    ada.hears().await?;
    stage.draw(1).await;

    println!("Grace joins: one message to the server, and one from it to each member.");
    let mut grace = stage.guest("grace", address).await?;
    grace.hears().await?;
    ada.hears().await?;
    stage.draw(2).await;

    println!("A message is one trace from member to member, linked to both calls.");
    ada.says("Hello, Grace!").await;
    grace.hears().await?;
    stage.draw(2).await;

    println!("The reply is another trace.");
    grace.says("Hello, Ada! I was just about to").await;
    ada.hears().await?;
    stage.draw(2).await;

    println!("Grace's connection breaks: her call ends as CANCELLED on the server, and Ada is notified.");
    grace.wire.cut()?;
    ada.hears().await?;
    let error = match grace.member.receive(|_| ()).await {
        Ok(_) => return Err("grace received a message over a closed connection".into()),
        Err(status) => status,
    };
    println!("  grace's stream ends with {:?}", error.code());
    stage.draw(1).await;

    println!("Ada leaves: her call ends as OK.");
    ada.member.leave();
    while ada.hears().await? {}
    stage.draw(0).await;
    Ok([ada.telemetry, grace.telemetry])
}

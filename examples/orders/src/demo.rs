//! The demonstration: the services, what the shop sends, and after each step the traces that are complete.

use otel_kafka::FutureProducer;
use rdkafka::producer::FutureRecord;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::billing::{Bank, Billing};
use crate::carrier::Carrier;
use crate::clients::{Clients, Joined};
use crate::cluster::Cluster;
use crate::packing::Packing;
use crate::reader::Reader;
use crate::reports::{Ear, Stop, reports, stop};
use crate::stage::Stage;
use crate::{Failure, PATIENCE};

/// Where customers order and pay.
struct Shop {
    producer: FutureProducer,
    orders: String,
    payments: String,
}

impl Shop {
    async fn order(&self, customer: &str, what: &str) -> Result<(), Failure> {
        println!("  {:<8} sends {what:?} for {customer}", "shop");
        self.send(FutureRecord::to(&self.orders).key(customer).payload(what)).await
    }

    async fn payment(&self, customer: &str, what: &str) -> Result<(), Failure> {
        println!("  {:<8} sends {what:?} from {customer}", "shop");
        self.send(FutureRecord::to(&self.payments).key(customer).payload(what)).await
    }

    async fn send(&self, record: FutureRecord<'_, str, str>) -> Result<(), Failure> {
        self.producer.send(record, PATIENCE).await.map_err(|(error, _)| error)?;
        Ok(())
    }
}

/// What the script has in hand.
struct Script {
    shop: Shop,
    bank: Bank,
    packing: Ear,
    support: Ear,
    carrier: Ear,
    billing: Ear,
    mail: Ear,
    /// The consumers, and how many partitions each is to have before anything is sent.
    joined: Vec<(Joined, usize)>,
}

pub(crate) async fn run(cluster: &Cluster) -> Result<(), Failure> {
    let mut stage = Stage::new();
    let played = with_services(&mut stage, cluster).await;
    stage.shut_down().await;
    played
}

async fn with_services(stage: &mut Stage, cluster: &Cluster) -> Result<(), Failure> {
    let (stopper, stop) = stop();
    let mut running = JoinSet::new();
    let script = employ(stage, cluster, &stop, &mut running)?;
    let played = tokio::select! {
        played = play(stage, cluster.prefix(), script) => played,
        // Nobody has told a service to stop yet.
        Some(ended) = running.join_next() => match ended {
            Ok(Ok(())) => Err("a service has ended before its time".into()),
            Ok(Err(error)) => Err(error),
            Err(panicked) => Err(panicked.into()),
        },
    };
    drop(stopper);
    let all_ended = async {
        while let Some(ended) = running.join_next().await {
            ended??;
        }
        Ok(())
    };
    let ended = timeout(PATIENCE, all_ended).await.map_err(|_| "a service does not stop")?;
    played.and(ended)
}

/// Starts the services.
fn employ(
    stage: &mut Stage,
    cluster: &Cluster,
    stop: &Stop,
    running: &mut JoinSet<Result<(), Failure>>,
) -> Result<Script, Failure> {
    let shop = Shop {
        producer: Clients::new(cluster, stage.service("shop")?).producer()?,
        orders: cluster.name("orders"),
        payments: cluster.name("payments"),
    };
    let mut joined = Vec::new();

    let (voice, packing) = reports("packing");
    let clients = Clients::new(cluster, stage.service("packing")?);
    for id in ["packing-1", "packing-2"] {
        let member = Packing::new(cluster, &clients.clone().named(id), voice.clone())?;
        joined.push((Joined::of(&member.consumer), 1));
        let stop = stop.clone();
        running.spawn(async move { Ok(member.run(stop).await?) });
    }

    let mut reader = |name: &'static str, topic| -> Result<_, Failure> {
        let (voice, ear) = reports(name);
        let clients = Clients::new(cluster, stage.service(name)?);
        let reader = Reader::new(cluster, &clients, [name, topic], voice)?;
        joined.push((Joined::of(&reader.consumer), 1));
        let stop = stop.clone();
        running.spawn(async move { Ok(reader.run(stop).await?) });
        Ok(ear)
    };
    let support = reader("support", "orders.dead")?;
    let mail = reader("mail", "receipts")?;

    let (voice, carrier_ear) = reports("carrier");
    let carrier = Carrier::new(cluster, &Clients::new(cluster, stage.service("carrier")?), voice)?;
    joined.push((Joined::of(&carrier.consumer), 1));
    let carrier_stop = stop.clone();
    running.spawn(async move { Ok(carrier.run(carrier_stop).await?) });

    let (bank, (voice, billing_ear)) = (Bank::default(), reports("billing"));
    let clients = Clients::new(cluster, stage.service("billing")?);
    let billing = Billing::new(cluster, &clients, bank.clone(), voice)?;
    joined.push((Joined::of(&billing.consumer), 1));
    running.spawn(billing.run(stop.clone()));

    Ok(Script { shop, bank, packing, support, carrier: carrier_ear, billing: billing_ear, mail, joined })
}

async fn play(stage: &Stage, prefix: Option<&str>, script: Script) -> Result<(), Failure> {
    let Script { shop, bank, mut packing, mut support, mut carrier, mut billing, mut mail, joined } = script;
    println!("The services start. What billing left undone when it last ended, if anything, is aborted.");
    if let Some(prefix) = prefix {
        println!("  The names of all topics begin with {prefix}");
    }
    for (mut member, partitions) in joined {
        member.partitions(partitions).await?;
    }
    stage.draw().await?;

    println!("An order is one trace, through the shop and the packing room.");
    shop.order("ada", "2 apples").await?;
    packing.hear().await?;
    stage.draw().await?;

    println!("Grace's key leads to the other partition, and so to the other member of the group.");
    shop.order("grace", "1 pear").await?;
    packing.hear().await?;
    stage.draw().await?;

    println!("An order that nobody can read goes to the dead letters, linked to where it came from.");
    shop.order("ada", "some cake").await?;
    packing.hear().await?;
    support.hear().await?;
    stage.draw().await?;

    println!(
        "The third parcel fills the van: the carrier takes all three in one span, linked to each of them."
    );
    shop.order("edsger", "9 figs").await?;
    packing.hear().await?;
    carrier.hear().await?;
    stage.draw().await?;

    println!("A payment read, a receipt written, the offset moved: one transaction, committed.");
    shop.payment("ada", "4 coins").await?;
    billing.hear().await?;
    mail.hear().await?;
    stage.draw().await?;

    println!(
        "The bank is away: the transaction is aborted, and the receipt with it. The second attempt commits."
    );
    bank.is_away_once();
    shop.payment("grace", "3 coins").await?;
    billing.hear().await?;
    billing.hear().await?;
    mail.hear().await?;
    stage.draw().await
}

//! The demonstration: starts the services and sends the shop's messages; complete traces are drawn after each step.

use otel_kafka::FutureProducer;
use rdkafka::producer::FutureRecord;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::billing::{Bank, Billing};
use crate::carrier::Carrier;
use crate::clients::{Assignment, Clients};
use crate::cluster::Cluster;
use crate::desk::{Customers, Desk};
use crate::packing::Packing;
use crate::reader::Reader;
use crate::reports::{Reports, Stop, reports, stop};
use crate::stage::Stage;
use crate::{Failure, PATIENCE};

/// The shop, which sends orders and payments.
struct Shop {
    producer: FutureProducer,
    orders: String,
    payments: String,
    returns: String,
}

impl Shop {
    async fn order(&self, customer: &str, text: &str) -> Result<(), Failure> {
        println!("  {:<8} sends {text:?} for {customer}", "shop");
        self.send(FutureRecord::to(&self.orders).key(customer).payload(text)).await
    }

    async fn payment(&self, customer: &str, text: &str) -> Result<(), Failure> {
        println!("  {:<8} sends {text:?} from {customer}", "shop");
        self.send(FutureRecord::to(&self.payments).key(customer).payload(text)).await
    }

    async fn take_back(&self, customer: &str, text: &str, partition: i32) -> Result<(), Failure> {
        println!("  {:<8} takes back {text:?} of {customer}", "shop");
        self.send(FutureRecord::to(&self.returns).key(customer).payload(text).partition(partition)).await
    }

    async fn send(&self, record: FutureRecord<'_, str, str>) -> Result<(), Failure> {
        self.producer.send(record, PATIENCE).await.map_err(|(error, _)| error)?;
        Ok(())
    }
}

/// The shop, the bank and the reports of the services.
struct Script {
    shop: Shop,
    bank: Bank,
    packing: Reports,
    support: Reports,
    carrier: Reports,
    billing: Reports,
    mail: Reports,
    desk: SecondMember,
    /// The consumers, and the number of partitions that each must have before the first message.
    assignments: Vec<(Assignment, usize)>,
}

/// The returns desk, whose second member joins when the script says so.
struct SecondMember {
    customers: Customers,
    reports: Reports,
    opens: oneshot::Sender<()>,
    /// Dropped to make it leave.
    stays: watch::Sender<()>,
    members: [Assignment; 2],
}

pub(crate) async fn run(cluster: &Cluster) -> Result<(), Failure> {
    let mut stage = Stage::new()?;
    let result = with_services(&mut stage, cluster).await;
    stage.shut_down().await;
    result
}

async fn with_services(stage: &mut Stage, cluster: &Cluster) -> Result<(), Failure> {
    let (stopper, stop) = stop();
    let mut running = JoinSet::new();
    let script = start_services(stage, cluster, &stop, &mut running)?;
    let script_result = tokio::select! {
        result = run_script(stage, cluster.prefix(), script) => result,
        // No service may end before it is asked to stop.
        Some(ended) = running.join_next() => match ended {
            Ok(Ok(())) => Err("a service ended unexpectedly".into()),
            Ok(Err(error)) => Err(error),
            Err(panic) => Err(panic.into()),
        },
    };
    drop(stopper);
    let all_ended = async {
        while let Some(ended) = running.join_next().await {
            ended??;
        }
        Ok(())
    };
    let ended = timeout(PATIENCE, all_ended).await.map_err(|_| "a service did not stop in time")?;
    script_result.and(ended)
}

/// Starts all services as tasks.
fn start_services(
    stage: &mut Stage,
    cluster: &Cluster,
    stop: &Stop,
    running: &mut JoinSet<Result<(), Failure>>,
) -> Result<Script, Failure> {
    let shop = Shop {
        producer: Clients::new(cluster, stage.service("shop")?).producer()?,
        orders: cluster.name("orders"),
        payments: cluster.name("payments"),
        returns: cluster.name("returns"),
    };
    let mut assignments = Vec::new();

    let (reporter, packing) = reports("packing");
    let clients = Clients::new(cluster, stage.service("packing")?);
    for id in ["packing-1", "packing-2"] {
        let member = Packing::new(cluster, &clients.clone().with_client_id(id), reporter.clone())?;
        assignments.push((Assignment::new(&member.consumer), 1));
        let stop = stop.clone();
        running.spawn(async move { Ok(member.run(stop).await?) });
    }

    let mut reader = |name: &'static str, topic| -> Result<_, Failure> {
        let (reporter, reports) = reports(name);
        let clients = Clients::new(cluster, stage.service(name)?);
        let reader = Reader::new(cluster, &clients, [name, topic], reporter)?;
        assignments.push((Assignment::new(&reader.consumer), 1));
        let stop = stop.clone();
        running.spawn(async move { Ok(reader.run(stop).await?) });
        Ok(reports)
    };
    let support = reader("support", "orders.dead")?;
    let mail = reader("mail", "receipts")?;

    let (reporter, carrier_reports) = reports("carrier");
    let carrier = Carrier::new(cluster, &Clients::new(cluster, stage.service("carrier")?), reporter)?;
    assignments.push((Assignment::new(&carrier.consumer), 1));
    let carrier_stop = stop.clone();
    running.spawn(async move { Ok(carrier.run(carrier_stop).await?) });

    let (bank, (reporter, billing_reports)) = (Bank::default(), reports("billing"));
    let clients = Clients::new(cluster, stage.service("billing")?);
    let billing = Billing::new(cluster, &clients, bank.clone(), reporter)?;
    assignments.push((Assignment::new(&billing.consumer), 1));
    running.spawn(billing.run(stop.clone()));

    let (customers, answers) = Customers::new();
    let (reporter, desk_reports) = reports("desk");
    let ((opens, opening), (stays, leaves)) = (oneshot::channel(), crate::reports::stop());
    let clients = Clients::new(cluster, stage.service("desk")?);
    let [first, second] = ["desk-1", "desk-2"].map(|id| {
        let clients = clients.clone().with_client_id(id);
        Desk::new(cluster, &clients, answers.clone(), reporter.clone())
    });
    let (first, second) = (first?, second?);
    let members = [&first, &second].map(|member| Assignment::new(&member.consumer));
    assignments.push((Assignment::new(&first.consumer), 2));
    let (first_stop, second_stop) = (stop.clone(), stop.clone());
    running.spawn(async move { Ok(first.run(first_stop).await?) });
    running.spawn(async move { Ok(second.run_between(opening, leaves, second_stop).await?) });

    Ok(Script {
        shop,
        bank,
        packing,
        support,
        carrier: carrier_reports,
        billing: billing_reports,
        mail,
        desk: SecondMember { customers, reports: desk_reports, opens, stays, members },
        assignments,
    })
}

async fn run_script(stage: &Stage, prefix: Option<&str>, script: Script) -> Result<(), Failure> {
    let Script {
        shop,
        bank,
        mut packing,
        mut support,
        mut carrier,
        mut billing,
        mut mail,
        desk,
        assignments,
    } = script;
    println!("The services start. Billing aborts an unfinished transaction of an earlier run, if any.");
    if let Some(prefix) = prefix {
        println!("  topics have the prefix {prefix}");
    }
    for (mut assignment, partitions) in assignments {
        assignment.wait_for(partitions).await?;
    }
    stage.draw().await?;

    println!("An order is one trace through both services.");
    shop.order("ada", "2 apples").await?;
    packing.print_next().await?;
    stage.draw().await?;

    println!("Grace's key belongs to the other partition, and so to the other member of the group.");
    shop.order("grace", "1 pear").await?;
    packing.print_next().await?;
    stage.draw().await?;

    println!("An unreadable order goes to the dead-letter topic, linked to its first send.");
    shop.order("ada", "some cake").await?;
    packing.print_next().await?;
    support.print_next().await?;
    stage.draw().await?;

    println!("The third parcel completes the batch: one span, linked to each of the three messages.");
    shop.order("edsger", "9 figs").await?;
    packing.print_next().await?;
    carrier.print_next().await?;
    stage.draw().await?;

    println!("A payment is read, a receipt written and the offset committed in one transaction.");
    shop.payment("ada", "4 coins").await?;
    billing.print_next().await?;
    mail.print_next().await?;
    stage.draw().await?;

    println!(
        "The bank is unavailable: the transaction is aborted with its receipt. The second attempt commits."
    );
    bank.fail_next();
    shop.payment("grace", "3 coins").await?;
    billing.print_next().await?;
    billing.print_next().await?;
    mail.print_next().await?;
    stage.draw().await?;

    rebalance(stage, &shop, desk).await
}

async fn rebalance(stage: &Stage, shop: &Shop, desk: SecondMember) -> Result<(), Failure> {
    let SecondMember { customers, mut reports, opens, stays, members: [mut first, mut second] } = desk;
    println!("A second member joins the returns desk while a handler waits for grace, who answers too late.");
    shop.take_back("ada", "2 apples", 0).await?;
    reports.print_next().await?;
    shop.take_back("grace", "1 pear", 1).await?;
    reports.print_next().await?;
    // These wait behind the first two.
    shop.take_back("edsger", "9 figs", 0).await?;
    shop.take_back("barbara", "5 plums", 1).await?;
    customers.answer(&["ada", "edsger", "barbara"]);
    // The mock cluster refuses commits from the start of a rebalance, which a real one accepts up to its end. Therefore
    // ada and edsger are done before.
    reports.print_sorted(3).await?;
    opens.send(()).map_err(|()| "the second member has ended")?;
    first.wait_for(1).await?;
    second.wait_for(1).await?;
    customers.answer(&["grace"]);
    // Grace is asked again, and barbara for the first time.
    reports.print_distinct_until(&[r#"refunds "1 pear""#, r#"refunds "5 plums""#]).await?;
    stage.draw().await?;
    // librdkafka may wait forever if a member closes in the middle of a rebalance, such as that of another one's leaving.
    drop(stays);
    first.wait_for(2).await
}

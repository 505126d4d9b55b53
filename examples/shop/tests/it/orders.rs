//! Four orders: completed, compensated, completed in spite of a kill, and after a slow attempt.

use std::time::Duration;

use async_nats::jetstream::{self, consumer::PullConsumer};
use shop::receiver::Receiver;
use shop::stage::{Options, Servers, Stage};
use shop::{Order, OrderResult, SHIPMENTS, SHIPPED};
use tokio::time::{sleep, timeout};

use crate::telemetry::{Spans, assert_metrics_agree};
use crate::{Folder, real_servers};

const PRICE: i64 = 2 * 1999;

/// The cents in the account of a rich customer, at first.
const RICH: i64 = 1_000_000_000;
/// The teapots in the catalogue, at first.
const SHELF: i64 = 1_000_000;

/// The spans of an order up to the Kafka topic.
const ORDER: &str = "\
gateway: POST /orders
  gateway: shop.Catalogue/GetItem
    catalogue: shop.Catalogue/GetItem
  gateway: POST
    orders: POST /orders
      orders: saga start order
        orders: saga step reserve
          orders: shop.Catalogue/Reserve
            catalogue: shop.Catalogue/Reserve
        orders: saga step charge
          orders: shop.Payment/Charge
            payment: shop.Payment/Charge
              payment: BEGIN
              payment: INSERT charge
              payment: UPDATE account
              payment: UPDATE charge
              payment: COMMIT
        orders: saga step place
          orders: send order-placed
            warehouse: process order-placed
";

/// The spans after that.
const SHIPMENT: &str = "              \
warehouse: request stock.take
                stock: process stock.take
                  stock: publish _INBOX
              warehouse: publish invoices
                invoicing: process invoices
                  invoicing: publish shipped
                    notifications: process SHIPMENTS
                      notifications: ack SHIPMENTS
                  invoicing: ack invoices
";

const SUGGESTIONS: &str = "  \
gateway: shop.Catalogue/Suggest
    catalogue: shop.Catalogue/Suggest
";

const REFUSED: &str = "\
gateway: POST /orders
  gateway: shop.Catalogue/GetItem
    catalogue: shop.Catalogue/GetItem
  gateway: POST
    orders: POST /orders
      orders: saga start order
        orders: saga step reserve
          orders: shop.Catalogue/Reserve
            catalogue: shop.Catalogue/Reserve
        orders: saga step charge
          orders: shop.Payment/Charge
            payment: shop.Payment/Charge
              payment: BEGIN
              payment: INSERT charge
              payment: UPDATE account
              payment: COMMIT
        orders: saga compensate reserve
          orders: shop.Catalogue/Release
            catalogue: shop.Catalogue/Release
";

fn order_of(customer: &str) -> Order {
    let nanos = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
    Order {
        number: format!("{customer}-{nanos}"),
        customer: customer.to_owned(),
        item: "teapot".to_owned(),
        quantity: 2,
        cents: 0,
    }
}

/// Held by a test on real servers: two shops would take each other's messages.
static SERVERS: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Money in cents and items in stock.
async fn state(stage: &Stage) -> [i64; 5] {
    let paths = ["accounts/ada", "accounts/ben", "accounts/kim", "accounts/sam", "items/teapot"];
    let mut state = [0; 5];
    for (number, path) in state.iter_mut().zip(paths) {
        *number = stage.number(path).await.unwrap();
    }
    state
}

/// Places the four orders. Returns their results and what all services have exported.
async fn place(
    servers: &Servers,
    name: &str,
    options: Options,
    baggage_arrives: bool,
) -> ([OrderResult; 4], Receiver) {
    let folder = Folder::new(name);
    let mut stage = Stage::start(servers, folder.path(), options).await.unwrap();
    let before = state(&stage).await;

    let first = order_of("ada");
    let ada = stage.order(&first).await.unwrap();
    assert_eq!(ada.suggestions, ["cup", "honey", "tea"]);
    if baggage_arrives {
        stage.line(&format!("tells ada (gold) about order {}", first.number)).await.unwrap();
    }
    stage.wait_for(&ada).await.unwrap();
    if let Servers::Real(addresses) = servers {
        let context = jetstream::new(async_nats::connect(&addresses["NATS_URL"]).await.unwrap());
        context.publish(SHIPPED, "no order".into()).await.unwrap().await.unwrap();
        stage.line("leaves out a parcel that is no order").await.unwrap();
        // It was neither kept nor is it delivered again.
        let consumer = context.get_stream(SHIPMENTS).await.unwrap();
        let mut consumer: PullConsumer = consumer.get_consumer("notifications").await.unwrap();
        let settled = async {
            while consumer.info().await.unwrap().num_ack_pending > 0 {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(Duration::from_secs(10), settled).await.unwrap();
    }
    let ben = stage.order(&order_of("ben")).await.unwrap();
    stage.wait_for(&ben).await.unwrap();

    let placed = tokio::spawn(stage.place(order_of("kim")));
    let killed = stage.kill_payment_of("kim").await.unwrap();
    let kim = placed.await.unwrap().unwrap();
    stage.restart(killed).await.unwrap();
    stage.wait_for(&kim).await.unwrap();
    let sam = stage.order(&order_of("sam")).await.unwrap();
    stage.wait_for(&sam).await.unwrap();

    // A repeated order changes nothing; one with other content, and one that a database could not store, are refused.
    assert_eq!(stage.order(&first).await.unwrap().status, "completed");
    let other = Order { quantity: 3, ..first.clone() };
    let invalid = Order { customer: "a\0".to_owned(), ..order_of("nul") };
    for (order, status) in [(other, "409"), (invalid, "400")] {
        let refused = stage.order(&order).await.unwrap_err().to_string();
        assert!(refused.contains(status), "{refused}");
    }
    let after = state(&stage).await;
    let [ada_paid, ben_paid, kim_paid, sam_paid, sold] = std::array::from_fn(|i| before[i] - after[i]);
    assert_eq!([ada_paid, ben_paid, kim_paid, sam_paid], [PRICE, 0, PRICE, PRICE]);
    assert_eq!(sold, 3 * 2);
    let receiver = stage.stop().await.unwrap();
    assert_eq!(
        [&ada, &ben, &kim, &sam].map(|result| &*result.status),
        ["completed", "compensated", "completed", "completed"]
    );
    ([ada, ben, kim, sam], receiver)
}

#[track_caller]
fn assert_traces(results: &[OrderResult; 4], receiver: &Receiver, completed: &str, without_metrics: &[&str]) {
    let [ada, ben, kim, sam] = results.each_ref().map(|result| Spans::of(receiver, &result.trace));
    for spans in [&ada, &ben, &kim, &sam] {
        spans.assert_complete();
    }
    assert_eq!(ada.tree(), completed);
    assert_eq!(ben.tree(), REFUSED);
    // The attempt at the killed instance has no server span, which was never exported; the slow one has one.
    assert_eq!(kim.count("orders", "shop.Payment/Charge"), 2, "{}", kim.tree());
    assert_eq!(kim.count("payment", "shop.Payment/Charge"), 1, "{}", kim.tree());
    assert_eq!(sam.count("orders", "shop.Payment/Charge"), 2, "{}", sam.tree());
    assert_eq!(sam.count("payment", "shop.Payment/Charge"), 2, "{}", sam.tree());
    assert_metrics_agree(receiver, without_metrics);
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_without_servers_end_in_the_warehouse() {
    let (results, receiver) = place(&Servers::Embedded, "embedded", Options::new(), false).await;
    assert_traces(&results, &receiver, &format!("{ORDER}{SUGGESTIONS}"), &["payment"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_one_trace_through_all_services() {
    let _alone = SERVERS.lock().await;
    let (results, receiver) = place(&real_servers(), "real", Options::new(), true).await;
    assert_traces(&results, &receiver, &format!("{ORDER}{SHIPMENT}{SUGGESTIONS}"), &["payment"]);
}

/// Starts the shop and an order whose payment hesitates, so that its saga is in progress.
async fn start_in_the_middle(name: &str) -> (Folder, Stage, Order, tokio::task::JoinHandle<PlaceResult>) {
    let folder = Folder::new(name);
    let mut stage = Stage::start(&Servers::Embedded, folder.path(), Options::new()).await.unwrap();
    let order = order_of("sam");
    let placed = tokio::spawn(stage.place(order.clone()));
    stage.line("hesitates to charge sam").await.unwrap();
    (folder, stage, order, placed)
}

type PlaceResult = Result<OrderResult, shop::Failure>;

#[tokio::test(flavor = "multi_thread")]
async fn killed_orders_complete_an_order_after_their_restart() {
    let (_folder, mut stage, order, placed) = start_in_the_middle("killed-orders").await;
    let killed = stage.kill("shop-orders").await.unwrap();
    let lost = placed.await.unwrap().unwrap_err().to_string();
    assert!(lost.contains("502 Bad Gateway"), "{lost}");
    stage.restart(killed).await.unwrap();
    // The saga continues from the journal, and a repeated request waits for its end.
    assert_eq!(stage.order(&order).await.unwrap().status, "completed");
    assert_eq!(stage.number("accounts/sam").await.unwrap(), RICH - PRICE);
    assert_eq!(stage.number("items/teapot").await.unwrap(), SHELF - 2);
    stage.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_completed_without_suggestions() {
    let (_folder, mut stage, _, placed) = start_in_the_middle("killed-catalogue").await;
    stage.kill("shop-catalogue").await.unwrap();
    let result = placed.await.unwrap().unwrap();
    assert_eq!(result.status, "completed");
    assert_eq!(result.suggestions, [""; 0]);
    stage.stop().await.unwrap();
}

mod long {
    use super::*;

    /// The interpreter has its packages from `cargo xtask demo --python`, or from `cargo xtask ci test-long`.
    #[tokio::test(flavor = "multi_thread")]
    async fn an_order_is_one_trace_that_ends_in_python() {
        let venv = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/demo/python/venv/bin/python");
        assert!(std::path::Path::new(venv).exists(), "`cargo xtask demo --python` installs {venv}");
        let _alone = SERVERS.lock().await;
        let options = Options::new().with_python(venv);
        let (results, receiver) = place(&real_servers(), "python", options, true).await;
        // The service in Rust has a span of its acknowledgement, the one in Python has none.
        let shipment = SHIPMENT.replace("                      notifications: ack SHIPMENTS\n", "");
        assert_traces(
            &results,
            &receiver,
            &format!("{ORDER}{shipment}{SUGGESTIONS}"),
            &["payment", "notifications"],
        );
    }
}

//! Orders: each is a saga that reserves the items, charges the customer, and places the order in a Kafka topic.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use otel_discovery::{BalanceOptions, Endpoint, Endpoints, StaticRegistry, WatchOptions};
use otel_kafka::FutureProducer;
use otel_resilience::{
    CircuitBreakerLayer, CloneReplay, GrpcStatusLayer, ReplayBody, ReplayLayer, Retry, RetryLayer,
};
use otel_saga::journal::{RedbJournal, Status};
use otel_saga::{RetryPolicy, Runtime, Saga, StartError, StepContext, StepError};
use otel_telemetry::ShutdownSignal;
use rdkafka::ClientConfig;
use rdkafka::producer::FutureRecord;
use shop::proto::catalogue_client::CatalogueClient;
use shop::proto::payment_client::PaymentClient;
use shop::proto::{ChargeRequest, Customer, Reservation, ReservationKey};
use shop::{Failure, ORDER_PLACED, Order, OrderResult, Service, setting};
use tokio::time::sleep;
use tonic::Code;
use tonic::body::Body;
use tonic::transport::Channel;
use tower::util::BoxCloneSyncService;
use tower::{Layer as _, ServiceBuilder};

#[tokio::main]
async fn main() -> ExitCode {
    shop::run("orders", serve).await
}

async fn serve(service: Service) -> Result<(), Failure> {
    let saga = saga()?;
    let journal = Arc::new(RedbJournal::open(PathBuf::from(setting("SHOP_DATA")?).join("orders"))?);
    let clients = Clients::new()?;
    let runtime = Runtime::builder(journal, clients.clone()).with_saga(&saga).start();
    let desk = Desk {
        saga: Arc::new(saga),
        runtime: runtime.clone(),
        payment: clients.payment,
        stop: service.stop(),
    };
    let app = Router::new()
        .route("/orders", post(order))
        .route("/accounts/{customer}", get(account))
        .with_state(desk)
        .layer(otel_http::ServerLayer::new())
        .merge(service.health().router());
    let listener = service.listen().await?;
    service.ready(Some(&listener))?;
    let server = axum::serve(listener, app).with_graceful_shutdown(service.stop()).into_future();
    let stop = service.stop();
    let grace_ends = async {
        stop.await;
        sleep(GRACE + Duration::from_secs(1)).await;
    };
    tokio::select! {
        served = server => served?,
        // A client that does not send the rest of its request delays the sagas' shutdown no more.
        () = grace_ends => {}
    }
    runtime.shutdown(GRACE).await;
    Ok(())
}

/// The time in which sagas may end after the signal to stop, and then once more without requests that wait for them.
const GRACE: Duration = Duration::from_secs(5);

/// The type of the error is not `BoxError`, for which rustc cannot prove that futures of tonic's clients are `Send`.
type PaymentService = BoxCloneSyncService<http::Request<Body>, http::Response<Body>, std::io::Error>;

/// The clients that all steps share.
#[derive(Clone)]
struct Clients {
    catalogue: CatalogueClient<otel_grpc::ClientService<Channel>>,
    payment: PaymentClient<PaymentService>,
    placed: FutureProducer,
}

impl Clients {
    fn new() -> Result<Self, Failure> {
        let catalogue = Channel::from_shared(setting("SHOP_CATALOGUE")?)?.connect_lazy();
        let placed: FutureProducer =
            ClientConfig::new().set("bootstrap.servers", setting("KAFKA_BROKERS")?).create()?;
        Ok(Self {
            catalogue: CatalogueClient::new(otel_grpc::ClientLayer::new().layer(catalogue)),
            payment: PaymentClient::new(payment(&setting("SHOP_PAYMENTS")?)?),
            placed,
        })
    }
}

/// Calls one of the instances. A call that fails or takes too long is repeated, at another one.
fn payment(instances: &str) -> Result<PaymentService, Failure> {
    let instances = instances.split(',').map(Endpoint::parse).collect::<Result<Vec<_>, _>>()?;
    let registry = StaticRegistry::new().with_service("payment", instances);
    let endpoints = Endpoints::watch(registry, "payment", WatchOptions::new());
    let connect =
        |endpoint: &Endpoint| Channel::builder(endpoint.uri(http::uri::Scheme::HTTP)).connect_lazy();
    let service = ServiceBuilder::new()
        .map_response(|response: http::Response<_>| response.map(Body::new))
        .map_err(std::io::Error::other)
        .layer(GrpcStatusLayer::default())
        .layer(ReplayLayer::new(64 * 1024))
        .layer(RetryLayer::grpc(Retry::new("charge")).with_clone_request(CloneReplay::default()))
        .map_request(|request: http::Request<ReplayBody<_>>| request.map(Body::new))
        .layer(CircuitBreakerLayer::new("payment", Duration::from_millis(1500)))
        .layer(otel_grpc::ClientLayer::new())
        .service(BalanceOptions::new().connect(&endpoints, connect));
    Ok(BoxCloneSyncService::new(service))
}

fn saga() -> Result<Saga<Clients, Order>, Failure> {
    let patient = RetryPolicy::exponential(Duration::from_millis(200), Duration::from_secs(5));
    let mut saga = Saga::builder("order", 1);
    let reserved = saga.step("reserve", (), reserve).undo(release);
    let charged =
        saga.step("charge", reserved, charge).retry(patient).timeout(Duration::from_secs(30)).pivot();
    saga.step("place", charged, place).forward();
    Ok(saga.build()?)
}

async fn reserve(cx: StepContext<Clients>, order: Order, (): ()) -> Result<(), StepError> {
    let reservation = Reservation { key: cx.idempotency_key(), item: order.item, quantity: order.quantity };
    let reply = cx.state().catalogue.clone().reserve(reservation).await?;
    if reply.get_ref().is_reserved { Ok(()) } else { Err(StepError::refused("sold out")) }
}

async fn release(cx: StepContext<Clients>, _: Order, (): (), _: Option<()>) -> Result<(), StepError> {
    cx.state().catalogue.clone().release(ReservationKey { key: cx.action_key() }).await?;
    Ok(())
}

async fn charge(cx: StepContext<Clients>, order: Order, (): ()) -> Result<(), StepError> {
    let charge = ChargeRequest { key: cx.idempotency_key(), customer: order.customer, cents: order.cents };
    let reply = cx.state().payment.clone().charge(charge).await.map_err(|status| match status.code() {
        // No attempt would be accepted.
        Code::InvalidArgument => StepError::refused(status),
        _ => status.into(),
    })?;
    if reply.get_ref().is_charged { Ok(()) } else { Err(StepError::refused("too little money")) }
}

async fn place(cx: StepContext<Clients>, order: Order, (): ()) -> Result<(), StepError> {
    let payload = serde_json::to_vec(&order)?;
    let record = FutureRecord::to(ORDER_PLACED).key(&order.number).payload(&payload);
    cx.state().placed.send(record, Duration::from_secs(5)).await.map_err(|(error, _)| error)?;
    Ok(())
}

#[derive(Clone)]
struct Desk {
    saga: Arc<Saga<Clients, Order>>,
    runtime: Runtime<Clients>,
    payment: PaymentClient<PaymentService>,
    stop: ShutdownSignal,
}

async fn order(State(desk): State<Desk>, Json(order): Json<Order>) -> Result<Json<OrderResult>, StatusCode> {
    let number = order.number.clone();
    let id = desk.runtime.start(&desk.saga, &number, order).await.map_err(|error| match error {
        StartError::Key => StatusCode::BAD_REQUEST,
        StartError::OtherInput { .. } => StatusCode::CONFLICT,
        error => failed(error),
    })?;
    let stopped = async {
        desk.stop.clone().await;
        sleep(GRACE).await;
    };
    let status = tokio::select! {
        status = desk.runtime.wait(&id) => status.map_err(failed)?,
        // The saga continues from its journal after the next start, and a repeated request waits for its end.
        () = stopped => return Err(StatusCode::SERVICE_UNAVAILABLE),
    };
    let status = match status {
        Status::Completed => "completed",
        Status::Compensated => "compensated",
        _ => "unfinished",
    };
    Ok(Json(OrderResult { status: status.to_owned(), ..OrderResult::default() }))
}

async fn account(State(desk): State<Desk>, Path(customer): Path<String>) -> Result<Json<i64>, StatusCode> {
    let reply = desk.payment.clone().get_account(Customer { name: customer }).await.map_err(failed)?;
    Ok(Json(reply.get_ref().cents))
}

fn failed(error: impl std::error::Error) -> StatusCode {
    tracing::error!(%error, "a request failed");
    StatusCode::INTERNAL_SERVER_ERROR
}

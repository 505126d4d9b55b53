//! The gateway: the shop's HTTP interface. It looks prices up in the catalogue, and passes orders on.

use std::process::ExitCode;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use futures_util::TryStreamExt as _;
use opentelemetry::Context;
use opentelemetry::trace::{FutureExt as _, TraceContextExt as _};
use otel_propagation::baggage;
use reqwest_middleware::{ClientBuilder, ClientWithMiddleware};
use shop::proto::ItemName;
use shop::proto::catalogue_client::CatalogueClient;
use shop::{Failure, Order, OrderResult, Service, TIER, setting};
use tonic::Code;
use tonic::transport::Channel;
use tower::Layer as _;

#[tokio::main]
async fn main() -> ExitCode {
    shop::run("gateway", serve).await
}

async fn serve(service: Service) -> Result<(), Failure> {
    let catalogue = Channel::from_shared(setting("SHOP_CATALOGUE")?)?.connect_lazy();
    let gateway = Gateway {
        catalogue: CatalogueClient::new(otel_grpc::ClientLayer::new().layer(catalogue)),
        orders: setting("SHOP_ORDERS")?,
        http: ClientBuilder::new(reqwest::Client::new()).with(otel_http::ClientLayer::new()).build(),
    };
    let app = Router::new()
        .route("/items/{item}", get(item))
        .route("/accounts/{customer}", get(account))
        .route("/orders", post(order))
        .with_state(gateway)
        .layer(otel_http::ServerLayer::new())
        .merge(service.health().router());
    let listener = service.listen().await?;
    service.ready(Some(&listener))?;
    axum::serve(listener, app).with_graceful_shutdown(service.stop()).await?;
    Ok(())
}

/// The longest time that suggestions delay the answer to an order.
const SUGGESTION_TIME: std::time::Duration = std::time::Duration::from_secs(2);

type Catalogue = CatalogueClient<otel_grpc::ClientService<Channel>>;

#[derive(Clone)]
struct Gateway {
    catalogue: Catalogue,
    orders: String,
    http: ClientWithMiddleware,
}

/// Returns the number of items in stock.
async fn item(State(gateway): State<Gateway>, Path(name): Path<String>) -> Result<Json<i64>, StatusCode> {
    let item = gateway.catalogue.clone().get_item(ItemName { name }).await.map_err(of_catalogue)?;
    Ok(Json(item.get_ref().in_stock))
}

/// Returns the money of a customer in cents.
async fn account(State(gateway): State<Gateway>, Path(name): Path<String>) -> Result<Json<i64>, StatusCode> {
    if !is_name(&name) {
        return Err(StatusCode::BAD_REQUEST);
    }
    let url = format!("{}/accounts/{name}", gateway.orders);
    let response = gateway.http.get(url).send().await.map_err(of_orders)?;
    let response = response.error_for_status().map_err(|error| of_orders(error.into()))?;
    Ok(Json(response.json().await.map_err(|error| of_orders(error.into()))?))
}

async fn order(
    State(gateway): State<Gateway>,
    Json(order): Json<Order>,
) -> Result<Json<OrderResult>, StatusCode> {
    if ![&order.number, &order.customer, &order.item].into_iter().all(|text| is_name(text)) {
        return Err(StatusCode::BAD_REQUEST);
    }
    let tier = if order.customer == "ada" { "gold" } else { "standard" };
    // Baggage goes with the trace, through all services that follow.
    let context = baggage::set(&Context::current(), TIER, tier);
    let context = context.map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    gateway.order(order).with_context(context).await.map(Json)
}

impl Gateway {
    async fn order(&self, mut order: Order) -> Result<OrderResult, StatusCode> {
        let name = ItemName { name: order.item.clone() };
        let mut catalogue = self.catalogue.clone();
        let item = catalogue.get_item(name.clone()).await.map_err(of_catalogue)?.into_inner();
        order.cents = item
            .cents
            .checked_mul(order.quantity)
            .filter(|cents| *cents > 0)
            .ok_or(StatusCode::BAD_REQUEST)?;
        let response = self.http.post(format!("{}/orders", self.orders)).json(&order).send();
        let response = response.await.map_err(of_orders)?.error_for_status();
        let response = response.map_err(|error| of_orders(error.into()))?;
        let mut result: OrderResult = response.json().await.map_err(|error| of_orders(error.into()))?;
        if result.status == "completed" {
            // The customer has paid: an error of the catalogue does not become one of the order.
            result.suggestions = suggestions(catalogue, name).await.unwrap_or_else(|status| {
                tracing::warn!(%status, "an order is answered without suggestions: the catalogue failed");
                Vec::new()
            });
        }
        result.trace = Context::current().span().span_context().trace_id().to_string();
        Ok(result)
    }
}

/// Returns the names of items that go with this one.
async fn suggestions(mut catalogue: Catalogue, item: ItemName) -> Result<Vec<String>, tonic::Status> {
    let suggested = async {
        let others = catalogue.suggest(item).await?.into_inner();
        others.map_ok(|other| other.name).try_collect().await
    };
    let in_time = tokio::time::timeout(SUGGESTION_TIME, suggested).await;
    in_time.unwrap_or_else(|_| Err(tonic::Status::deadline_exceeded("the catalogue did not answer in time")))
}

/// Returns true for a text that has the same meaning in a path, in a database and in a key.
fn is_name(text: &str) -> bool {
    let is_plain = |char: char| char.is_alphanumeric() || matches!(char, '-' | '_' | ' ');
    (1..=100).contains(&text.len()) && text.chars().all(is_plain)
}

fn of_catalogue(status: tonic::Status) -> StatusCode {
    tracing::error!(%status, "the catalogue failed");
    if status.code() == Code::NotFound { StatusCode::NOT_FOUND } else { StatusCode::BAD_GATEWAY }
}

/// Passes the refusal of a request on; any other error is one of the service.
fn of_orders(error: reqwest_middleware::Error) -> StatusCode {
    match error.status() {
        Some(status) if status.is_client_error() || status == StatusCode::SERVICE_UNAVAILABLE => status,
        _ => {
            tracing::error!(%error, "the orders service failed");
            StatusCode::BAD_GATEWAY
        }
    }
}

//! The client `shop`: its requests to `http://stock/` go to the instances in turn.
//!
//! Follows `crates/otel-discovery/README.md` for the order of the layers.

use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use opentelemetry::Context;
use opentelemetry::trace::{FutureExt, TraceContextExt, Tracer, TracerProvider};
use otel_discovery::{BalanceOptions, Ejection, Endpoints, HttpEndpoint, StaticRegistry, WatchOptions};
use otel_http::{ClientLayer, LayerOptions};
use otel_waterfall::Waterfall;
use tower::{ServiceBuilder, ServiceExt};

use crate::stock::Instance;
use crate::{Failure, provider};

/// Makes nine requests, and kills an instance after three. Returns the ids of the instances that responded.
pub(crate) async fn run(waterfall: &Waterfall) -> Result<Vec<String>, Failure> {
    let mut instances = Vec::new();
    for id in ["stock-1", "stock-2", "stock-3"] {
        instances.push(Instance::start(waterfall, id).await?);
    }
    // In production a file, DNS or Consul.
    let members = instances.iter().map(|instance| instance.endpoint.clone());
    let registry = StaticRegistry::new().with_service("stock", members);
    let endpoints = Endpoints::watch(registry, "stock", WatchOptions::new());

    // A connection a request: a server that is killed keeps those that are open, because it is only a task here.
    let hyper: Client<HttpConnector, Body> =
        Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build_http();
    let shop = provider(waterfall, "shop");
    let ejection =
        Ejection::new().with_failures(1).with_time(Duration::from_secs(30), Duration::from_secs(300));
    let client = ServiceBuilder::new().layer(ClientLayer::new().with_tracer_provider(&shop)).service(
        BalanceOptions::new()
            .with_ejection(ejection)
            .connect(&endpoints, move |endpoint| HttpEndpoint::new(hyper.clone(), endpoint)),
    );
    let call = async |item: usize| -> Result<String, Failure> {
        let request = || Request::get(format!("http://stock/items/{item}")).body(Body::empty());
        // A second attempt after a failure; `otel-resilience` has limits and delays for it.
        let response = match client.clone().oneshot(request()?).await {
            Ok(response) => response,
            Err(_) => client.clone().oneshot(request()?).await?,
        };
        let body = axum::body::to_bytes(Body::new(response.into_body()), 1024).await?;
        Ok(String::from_utf8(body.to_vec())?)
    };

    let context = Context::new().with_span(shop.tracer("shop").start("look up items"));
    let requests = async {
        let mut responses = Vec::new();
        for item in 1..=9 {
            if item == 4 {
                instances.remove(1).kill().await;
            }
            responses.push(call(item).await?);
        }
        Ok(responses)
    };
    let responses = requests.with_context(context.clone()).await;
    context.span().end();
    responses
}

//! The client `shop`: its requests go to the instances in turn, also after one of them was killed.

use std::time::Duration;

use opentelemetry::Context;
use opentelemetry::trace::{FutureExt, TraceContextExt, Tracer, TracerProvider};
use otel_discovery::{Endpoints, Registry, WatchOptions};
use otel_waterfall::Waterfall;

use crate::protocol::Protocol;
use crate::stock::{Instance, LEASE};
use crate::{Failure, provider};

/// The time for a change to reach the client, beyond a lease.
const PATIENCE: Duration = Duration::from_secs(10);

/// Makes requests in three rounds, each a trace: with three instances, after one was killed, and after its lease is over.
/// `registry` makes a registry for each instance, and one for the client, as each process has its own.
pub(crate) async fn run<P: Protocol, R: Registry>(
    waterfall: &Waterfall,
    registry: impl Fn() -> Result<R, Failure>,
) -> Result<(), Failure> {
    let mut instances = Vec::new();
    for id in ["stock-1", "stock-2", "stock-3"] {
        instances.push(Instance::start::<P>(waterfall, registry()?, id).await?);
    }
    let endpoints = Endpoints::watch(registry()?, P::SERVICE, WatchOptions::new());
    until(&endpoints, 3).await?;
    let shop = provider(waterfall, "shop");
    let client = P::client(&endpoints, &shop);
    let round = async |name: &str, items: std::ops::RangeInclusive<u32>| -> Result<(), Failure> {
        let span = shop.tracer("shop").start(format!("{}: {name}", P::NAME));
        let context = Context::new().with_span(span);
        let requests = async {
            let mut responses = Vec::new();
            for item in items {
                // A second attempt after a failure; `otel-resilience` has limits and delays for it.
                let response = match P::get(client.clone(), item).await {
                    Ok(response) => response,
                    Err(_) => P::get(client.clone(), item).await?,
                };
                responses.push(response);
            }
            Ok::<_, Failure>(responses)
        };
        let responses = requests.with_context(context.clone()).await;
        context.span().end();
        println!("{}, {name}: {}\n", P::NAME, responses?.join(", "));
        // A server ends its span after its caller has the response.
        tokio::time::sleep(Duration::from_millis(50)).await;
        waterfall.flush();
        Ok(())
    };
    round("three instances", 1..=3).await?;
    instances.remove(1).kill();
    round("one was killed", 4..=7).await?;
    until(&endpoints, 2).await?;
    round("its lease is over", 8..=10).await?;
    for instance in instances {
        instance.stop().await?;
    }
    Ok(())
}

/// Waits until the registry has this many instances.
async fn until(endpoints: &Endpoints, count: usize) -> Result<(), Failure> {
    let wait = async {
        while endpoints.current().len() != count {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let service = endpoints.service();
    let waited = tokio::time::timeout(LEASE + PATIENCE, wait).await;
    waited.map_err(|_| format!("the registry does not have {count} instances of {service}").into())
}

//! Instances of a service in this process, below a client layer of otel-http, and an instrumentation that records to a recorder.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::{StreamExt, stream};
use http::{Request, Response};
use opentelemetry_sdk::trace::SpanData;
use otel_discovery::{
    Balance, BalanceOptions, BoxError, DiscoveryInstrumentation, Endpoint, Endpoints, IsFailure, Options,
    Registry, RegistryAnswer, RegistryError, Update, Updates, WatchOptions,
};
use otel_http::{ClientLayer, LayerOptions};
use otel_testing::Recorder;
use tokio::sync::mpsc;
use tower::util::BoxCloneSyncService;
use tower::{Layer, Service, ServiceExt};

pub(crate) use otel_testing::spans::{attribute, error_type};

pub(crate) type Body = String;
pub(crate) type Client = BoxCloneSyncService<Request<Body>, Response<Body>, BoxError>;

pub(crate) fn instrumentation(recorder: &Recorder) -> DiscoveryInstrumentation {
    #[cfg(feature = "bound-metrics")]
    otel_operation::declare_bound_metrics();
    let options = Options::new().with_tracer_provider(recorder.tracer_provider());
    DiscoveryInstrumentation::new(options.with_meter_provider(recorder.meter_provider()))
}

pub(crate) fn client_layer(recorder: &Recorder) -> ClientLayer {
    let layer = ClientLayer::new().with_tracer_provider(recorder.tracer_provider());
    layer.with_meter_provider(recorder.meter_provider())
}

pub(crate) fn watch_options(recorder: &Recorder) -> WatchOptions {
    WatchOptions::new()
        .with_instrumentation(&instrumentation(recorder))
        .with_delays(Duration::from_millis(5), Duration::from_millis(20))
}

pub(crate) fn watch(recorder: &Recorder, registry: impl Registry) -> Endpoints {
    Endpoints::watch(registry, "stock", watch_options(recorder))
}

/// An endpoint `id` on 10.0.0.1 with this port.
pub(crate) fn endpoint(id: &str, port: u16) -> Endpoint {
    Endpoint::new("10.0.0.1", port).unwrap().with_id(id).unwrap()
}

pub(crate) fn get() -> Request<Body> {
    Request::get("http://stock.internal/items/7").body(Body::default()).unwrap()
}

/// Waits until the condition holds.
pub(crate) async fn until(mut condition: impl FnMut() -> bool) {
    let wait = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), wait).await.unwrap();
}

/// The behaviour of an instance.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) enum Behaviour {
    #[default]
    Responds,
    /// With this status.
    Status(u16),
    Fails,
    /// Its `poll_ready` fails.
    NotReady,
    /// Its `poll_ready` waits, and looks again each 100 ms.
    Waits,
    Hangs,
}

/// The instances of a service, by their ids; each responds with its id. All respond unless something else is set.
#[derive(Clone, Default)]
pub(crate) struct Instances(Arc<Mutex<BTreeMap<String, Behaviour>>>);

impl Instances {
    pub(crate) fn set(&self, id: &str, behaviour: Behaviour) {
        self.0.lock().unwrap().insert(id.to_owned(), behaviour);
    }

    pub(crate) fn balance<F>(
        &self,
        endpoints: &Endpoints,
        options: BalanceOptions<F>,
    ) -> Balance<Instance, F> {
        let instances = self.clone();
        options.connect(endpoints, move |endpoint| Instance {
            id: endpoint.id().to_owned(),
            instances: instances.clone(),
        })
    }

    /// A client whose spans have the choices.
    pub(crate) fn client<F>(
        &self,
        recorder: &Recorder,
        endpoints: &Endpoints,
        options: BalanceOptions<F>,
    ) -> Client
    where
        F: IsFailure<Response<Body>, io::Error> + Clone + Send + Sync + 'static,
    {
        let client = client_layer(recorder).layer(self.balance(endpoints, options));
        Client::new(client.map_response(|response| response.map(|_| Body::new())))
    }
}

#[derive(Clone)]
pub(crate) struct Instance {
    id: String,
    instances: Instances,
}

impl Instance {
    fn behaviour(&self) -> Behaviour {
        self.instances.0.lock().unwrap().get(&self.id).copied().unwrap_or_default()
    }
}

impl Service<Request<Body>> for Instance {
    type Response = Response<Body>;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Response<Body>>>;

    fn poll_ready(&mut self, cx: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        match self.behaviour() {
            Behaviour::Waits => {
                let waker = cx.waker().clone();
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    waker.wake();
                });
                Poll::Pending
            }
            Behaviour::NotReady => Poll::Ready(Err(io::ErrorKind::ConnectionRefused.into())),
            _ => Poll::Ready(Ok(())),
        }
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        let (behaviour, id) = (self.behaviour(), self.id.clone());
        Box::pin(async move {
            let status = match behaviour {
                Behaviour::Status(status) => status,
                Behaviour::Fails => return Err(io::ErrorKind::ConnectionReset.into()),
                Behaviour::Hangs => std::future::pending().await,
                _ => 200,
            };
            Ok(Response::builder().status(status).body(id).unwrap())
        })
    }
}

/// Calls a client once: its status, or the error.
pub(crate) async fn call(client: &Client) -> Result<u16, BoxError> {
    client.clone().oneshot(get()).await.map(|response| response.status().as_u16())
}

/// The ids of the endpoints that the spans of calls have, in order.
pub(crate) fn chosen(spans: &[SpanData]) -> Vec<String> {
    spans
        .iter()
        .filter_map(|span| attribute(span, "discovery.endpoint.id"))
        .map(|id| id.to_string())
        .collect()
}

/// A registry whose updates a test sends: complete answers, or errors, which end a watch.
#[derive(Clone)]
pub(crate) struct Scripted(
    Arc<tokio::sync::Mutex<mpsc::UnboundedReceiver<Result<RegistryAnswer, &'static str>>>>,
);

pub(crate) type Script = mpsc::UnboundedSender<Result<RegistryAnswer, &'static str>>;

impl Scripted {
    pub(crate) fn new() -> (Self, Script) {
        let (script, updates) = mpsc::unbounded_channel();
        (Self(Arc::new(tokio::sync::Mutex::new(updates))), script)
    }
}

impl Registry for Scripted {
    fn name(&self) -> &'static str {
        "scripted"
    }

    fn resolve(&self, service: &str) -> BoxFuture<'static, Result<RegistryAnswer, RegistryError>> {
        Box::pin(std::future::ready(Err(RegistryError::unsupported("scripted", "resolve", service))))
    }

    fn watch(&self, service: &str) -> Updates {
        let service = service.to_owned();
        let updates = stream::unfold(self.clone(), move |registry| {
            let service = service.clone();
            async move {
                let next = registry.0.lock().await.recv().await?;
                let error = |reason| RegistryError::new("scripted", "watch", &service, "unreachable", reason);
                Some((next.map(Update::Complete).map_err(error), registry))
            }
        });
        updates.boxed()
    }
}

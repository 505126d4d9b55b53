//! The client layer: injects context into requests and records each call once.
//!
//! Follows the [gRPC semantic conventions](https://opentelemetry.io/docs/specs/semconv/rpc/grpc/), "Client", and the
//! tower service contract.

use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body::Body;
use opentelemetry::trace::SpanKind;
use opentelemetry::{Context, KeyValue};
use otel_operation::{BoundedCache, Operation, OperationBody, OperationFuture, SpanStart, StartTime};
use otel_propagation::HeaderInjector;
use otel_request::ResendCounter;
use tonic::GrpcMethod;
use tower_layer::Layer;
use tower_service::Service;

use crate::attributes;
use crate::config::{CallHead, Options, scope, shared_options};
use crate::deadline::Deadline;
use crate::message_spans::StreamSlot;
use crate::messages::observe_request;
use crate::method::{Method, Methods};
use crate::metrics::GrpcInstruments;
use crate::outcome::Side;
use crate::record::{CallRecord, Shared};

/// Limit of servers with their own metrics in a layer without a target; the origin of a request identifies its
/// server.
const SERVERS: usize = 64;

/// The future of a [`ClientService`].
pub type ClientFuture<F> = OperationFuture<F, CallRecord>;

/// The response body of a [`ClientService`]. The span ends with its trailers.
pub type ClientBody<B> = OperationBody<B, CallRecord>;

/// A layer that records each call of a gRPC channel and injects its context into the request.
///
/// The parent is the `opentelemetry::Context` in the request's extensions, or the current context if the extensions
/// have none. The extension is for layers such as tower's `Buffer`, which make the call on another task.
///
/// ```
/// # async fn call() -> Result<(), Box<dyn std::error::Error>> {
/// use tower_layer::Layer;
///
/// let endpoint = tonic::transport::Endpoint::from_static("http://orders.internal:50051");
/// let layer = otel_grpc::ClientLayer::new().with_target(endpoint.uri());
/// let channel = layer.layer(endpoint.connect_lazy());
/// let client = tonic_health::pb::health_client::HealthClient::new(channel);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct ClientLayer {
    shared: Arc<Shared>,
    by_origin: Arc<BoundedCache<Methods>>,
    request_context: bool,
}

impl ClientLayer {
    /// Creates a layer that records into the global providers, which may be installed later.
    #[must_use]
    pub fn new() -> Self {
        Self::from_options(Options::new(), Vec::new())
    }

    fn from_options(options: Options, target: Vec<KeyValue>) -> Self {
        let shared = Shared {
            side: Side::Client,
            tracer: options.providers.tracer(scope()),
            instruments: options.providers.instruments(scope(), GrpcInstruments::client),
            methods: Methods::new(target, false),
            hosts: BoundedCache::new(0),
            options,
        };
        Self {
            shared: Arc::new(shared),
            by_origin: Arc::new(BoundedCache::new(SERVERS)),
            request_context: false,
        }
    }

    fn edit(self, edit: impl FnOnce(&mut Options)) -> Self {
        let mut options = self.shared.options.clone();
        edit(&mut options);
        let request_context = self.request_context;
        Self { request_context, ..Self::from_options(options, self.shared.methods.server.clone()) }
    }

    shared_options!();

    /// Sets `server.address` and `server.port` from the URI of the channel's `Endpoint`. The channel adds this URI
    /// inside of the layer, where the layer cannot read it. Default: the origin of the request, which only clients
    /// created with an origin have.
    #[must_use]
    pub fn with_target(self, target: &Uri) -> Self {
        let request_context = self.request_context;
        Self {
            request_context,
            ..Self::from_options(self.shared.options.clone(), attributes::target(target))
        }
    }

    /// Attaches the call's context while the request's stream of messages is polled, for streams that start spans.
    /// The connection polls that stream on its own task. Default: `false`, because it costs an allocation per call.
    #[must_use]
    pub fn with_request_context(self, current: bool) -> Self {
        Self { request_context: current, ..self }
    }

    /// Returns the method of a request with the attributes of its server, or `Err` with the entry for unknown
    /// methods.
    fn method(&self, head: &CallHead<'_>) -> Result<Arc<Method>, Arc<Method>> {
        let shared = &self.shared;
        // Generated clients attach a `GrpcMethod`, so that the method exists. Other callers may use untrusted names.
        let is_known = |name: &str| {
            head.extensions.get::<GrpcMethod<'static>>().is_some()
                || shared.options.known_methods.as_ref().is_some_and(|known| known.contains(name))
        };
        let path = head.uri.path();
        let find = |methods: &Methods| methods.named(path, is_known).ok_or_else(|| methods.unknown());
        match head.uri.authority() {
            Some(authority) if shared.methods.server.is_empty() && !authority.as_str().contains('@') => {
                let methods = || Methods::new(attributes::target(head.uri), false);
                match self.by_origin.get_or_insert(authority.as_str(), methods) {
                    Some(methods) => find(&methods),
                    None => find(&shared.methods),
                }
            }
            _ => find(&shared.methods),
        }
    }

    fn start<B>(&self, request: &mut Request<B>) -> Option<Operation<CallRecord>> {
        let (shared, options) = (&self.shared, &self.shared.options);
        let head = CallHead::of(request);
        if !options.records(&head) {
            return None;
        }
        let started = StartTime::now();
        let parent = head.extensions.get::<Context>().cloned().unwrap_or_else(Context::current);
        let (method, unknown) = match self.method(&head) {
            Ok(method) => (method, None),
            Err(unknown) => (unknown, Some(head.uri.path())),
        };
        let attempts = head.extensions.get::<ResendCounter>().map_or(0, ResendCounter::increment);
        let deadline = Deadline::of(head.headers);
        let start = SpanStart::new(method.span_name.clone(), SpanKind::Client, started.time)
            .with_sampler_attributes(options.sampler_attributes);
        let attributes = || {
            let mut list = Vec::with_capacity(8);
            list.extend_from_slice(&method.common);
            list.extend(unknown.map(attributes::method_original));
            if attempts > 0 {
                list.push(KeyValue::new(attributes::RESEND_COUNT, i64::from(attempts)));
            }
            options.request_metadata.read(head.headers, &mut list);
            if let Some(hook) = &options.on_call {
                hook(&head, &mut list);
            }
            list
        };
        let record = CallRecord::new(shared, Arc::clone(&method), None, deadline);
        let operation = Operation::start(&shared.tracer, start, &parent, started, record, attributes);
        if let Some(stream) = head.extensions.get::<StreamSlot>() {
            stream.fill(operation.context());
        }
        operation.inject(&options.propagation, &mut HeaderInjector(request.headers_mut()));
        Some(operation)
    }
}

impl Default for ClientLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Layer<S> for ClientLayer {
    type Service = ClientService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        ClientService { inner, layer: self.clone() }
    }
}

/// An instrumented gRPC channel.
#[derive(Clone, Debug)]
pub struct ClientService<S> {
    inner: S,
    layer: ClientLayer,
}

impl<S, B, R> Service<Request<B>> for ClientService<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Error: 'static,
    B: 'static,
    R: Body<Data = Bytes>,
    R::Error: 'static,
{
    type Response = Response<ClientBody<R>>;
    type Error = S::Error;
    type Future = ClientFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let Some(mut operation) = self.layer.start(&mut request) else {
            return OperationFuture::new(self.inner.call(request), None);
        };
        let messages = operation.observer().messages();
        if messages.is_some() || self.layer.request_context {
            observe_request(request.body_mut(), messages, operation.context());
        }
        let future = operation.inside(|_| self.inner.call(request));
        OperationFuture::new(future, Some(operation))
    }
}

//! The server layer: extracts the caller's context and records each call once.
//!
//! Follows the [gRPC semantic conventions](https://opentelemetry.io/docs/specs/semconv/rpc/grpc/), "Server", and the
//! tower service contract: the service that was polled ready is the one that is called.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use opentelemetry::trace::{Link, SpanKind, TraceContextExt};
use opentelemetry::{Context, KeyValue};
use otel_operation::{BoundedCache, Operation, OperationBody, OperationFuture, SpanStart, StartTime};
use otel_propagation::HeaderExtractor;
use tower_layer::Layer;
use tower_service::Service;

use crate::attributes;
use crate::config::{CallHead, Options, scope, shared_options};
use crate::content_type::is_grpc;
use crate::deadline::Deadline;
use crate::messages::observe_request;
use crate::method::{Methods, Named};
use crate::metrics::GrpcInstruments;
use crate::outcome::Side;
use crate::record::{CallRecord, Shared};

/// Limit of hosts that are cached in parsed form.
const HOSTS: usize = 64;

type Public = Arc<dyn Fn(&CallHead<'_>) -> bool + Send + Sync>;

/// The future of a [`ServerService`].
pub type ServerFuture<F> = OperationFuture<F, CallRecord>;

/// The response body of a [`ServerService`]. The span ends with its trailers.
pub type ServerBody<B> = OperationBody<B, CallRecord>;

/// A layer that records each call of a gRPC server.
///
/// Requests whose content type is not gRPC's pass through unrecorded: a server of HTTP and gRPC has otel-http's layer
/// as well.
///
/// ```
/// # async fn serve() -> Result<(), Box<dyn std::error::Error>> {
/// # let (_, health) = tonic_health::server::health_reporter();
/// tonic::transport::Server::builder()
///     .layer(otel_grpc::ServerLayer::new())
///     .add_service(health)
///     .serve("127.0.0.1:50051".parse()?)
///     .await?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct ServerLayer {
    shared: Arc<Shared>,
    public: Option<Public>,
}

impl ServerLayer {
    /// Creates a layer that records into the global providers, which may be installed later.
    #[must_use]
    pub fn new() -> Self {
        Self { shared: shared(Options::new()), public: None }
    }

    fn edit(self, edit: impl FnOnce(&mut Options)) -> Self {
        let mut options = self.shared.options.clone();
        edit(&mut options);
        Self { shared: shared(options), ..self }
    }

    shared_options!();

    /// Treats callers as untrusted: their span context becomes a link instead of the parent, and their baggage is
    /// dropped. Default: `false`.
    #[must_use]
    pub fn with_public_endpoint(self, public: bool) -> Self {
        let always: Public = Arc::new(|_| true);
        Self { public: public.then_some(always), ..self }
    }

    /// Treats the callers of those calls as untrusted for which `is_public` returns `true`. See
    /// [`with_public_endpoint`](Self::with_public_endpoint).
    #[must_use]
    pub fn with_public_endpoint_if<F>(self, is_public: F) -> Self
    where
        F: Fn(&CallHead<'_>) -> bool + Send + Sync + 'static,
    {
        Self { public: Some(Arc::new(is_public)), ..self }
    }
}

fn shared(options: Options) -> Arc<Shared> {
    Arc::new(Shared {
        side: Side::Server,
        tracer: options.providers.tracer(scope()),
        instruments: options.providers.instruments(scope(), GrpcInstruments::server),
        methods: Methods::new(Vec::new(), options.known_methods.is_none()),
        hosts: BoundedCache::new(HOSTS),
        options,
    })
}

impl Default for ServerLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for ServerLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerLayer").field("shared", &self.shared).finish_non_exhaustive()
    }
}

impl<S> Layer<S> for ServerLayer {
    type Service = ServerService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        ServerService { inner, layer: self.clone() }
    }
}

/// An instrumented gRPC server.
#[derive(Clone, Debug)]
pub struct ServerService<S> {
    inner: S,
    layer: ServerLayer,
}

impl<S: tonic::server::NamedService> tonic::server::NamedService for ServerService<S> {
    const NAME: &'static str = S::NAME;
}

impl<S, B, R> Service<Request<B>> for ServerService<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Error: 'static,
    B: 'static,
    R: Body<Data = Bytes>,
    R::Error: 'static,
{
    type Response = Response<ServerBody<R>>;
    type Error = S::Error;
    type Future = ServerFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let Some(mut operation) = self.layer.start(&request) else {
            return OperationFuture::new(self.inner.call(request), None);
        };
        if let Some(messages) = operation.observer().messages() {
            observe_request(request.body_mut(), Some(messages), operation.context());
        }
        let future = operation.inside(|_| self.inner.call(request));
        OperationFuture::new(future, Some(operation))
    }
}

impl ServerLayer {
    fn start<B>(&self, request: &Request<B>) -> Option<Operation<CallRecord>> {
        let (shared, options) = (&self.shared, &self.shared.options);
        let head = CallHead::of(request);
        if !is_grpc(head.headers) || !options.records(&head) {
            return None;
        }
        let started = StartTime::now();
        let path = head.uri.path();
        let named = shared.methods.served(path, options.known_methods.as_deref());
        let (method, unknown, unsettled) = match named {
            Named::Known(method) => (method, None, None),
            Named::Unknown => (shared.methods.unknown(), Some(path), None),
            Named::Unsettled => (shared.methods.unknown(), None, Some(path)),
        };

        let (propagation, carrier) = (&options.propagation, HeaderExtractor(head.headers));
        let (parent, link) = if self.public.as_ref().is_some_and(|is_public| is_public(&head)) {
            let caller = propagation.extract_without_baggage(&carrier).span().span_context().clone();
            (Context::new(), Some(Link::with_context(caller)))
        } else {
            (propagation.extract(&carrier), None)
        };

        let mut start = SpanStart::new(method.span_name.clone(), SpanKind::Server, started.time)
            .with_sampler_attributes(options.sampler_attributes);
        if let Some(link) = link {
            start = start.with_link(link);
        }
        let deadline = Deadline::of(head.headers);
        let attributes = || {
            let mut list = Vec::with_capacity(8);
            list.push(KeyValue::new(attributes::SYSTEM, attributes::GRPC));
            if unsettled.is_none() {
                list.push(KeyValue::new(attributes::METHOD, method.name.clone()));
            }
            list.extend(unknown.map(attributes::method_original));
            if let Some(authority) = head.uri.authority() {
                attributes::server_of(authority, &shared.hosts, &mut list);
            }
            if let Some(peer) = peer(&head) {
                attributes::peer(peer, &mut list);
            }
            options.request_metadata.read(head.headers, &mut list);
            if let Some(hook) = &options.on_call {
                hook(&head, &mut list);
            }
            list
        };
        let record = CallRecord::new(shared, Arc::clone(&method), unsettled, deadline);
        Some(Operation::start(&shared.tracer, start, &parent, started, record, attributes))
    }
}

fn peer(head: &CallHead<'_>) -> Option<SocketAddr> {
    #[cfg(feature = "transport")]
    if let Some(info) = head.extensions.get::<tonic::transport::server::TcpConnectInfo>() {
        return info.remote_addr();
    }
    #[cfg(feature = "axum")]
    if let Some(axum::extract::ConnectInfo(address)) =
        head.extensions.get::<axum::extract::ConnectInfo<SocketAddr>>()
    {
        return Some(*address);
    }
    let _ = head;
    None
}

//! The client layer: injects context into requests and records each call once.
//!
//! Follows the [HTTP semantic conventions](https://opentelemetry.io/docs/specs/semconv/http/http-spans/), "HTTP
//! client", and the tower service contract.

mod record;

use std::borrow::Cow;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use http::{Request, Response};
use http_body::Body;
use opentelemetry::trace::SpanKind;
use opentelemetry::{Context, KeyValue};
use otel_operation::{
    BoundedCache, LazyInstruments, Operation, OperationFuture, SmallOnceMap, SpanStart, StartTime, Tracer,
};
use otel_request::ResendCounter;
use tower_layer::Layer;
use tower_service::Service;

pub use self::record::{ClientBody, ClientFuture, ClientRecord};

use crate::attributes::client::Target;
use crate::attributes::{self, SERVER_ADDRESS, SERVER_PORT, client as request_attributes};
use crate::carrier::HeaderInjector;
use crate::config::{EndOn, Options, RequestHead, scope, shared_options};
use crate::exchange::content_length;
use crate::method::KnownMethod;
use crate::metrics::{HttpInstruments, Key, Series};

/// Limit of hosts with their own metrics, per scheme. Calls to further hosts are recorded under `_OTHER`, because a
/// host may come from untrusted input.
const TARGETS: usize = 512;

/// Limit of URL templates whose span names are cached.
const TEMPLATES: usize = 1024;

/// The state shared by all services of a layer.
#[derive(Debug)]
struct Shared {
    options: Options,
    tracer: Tracer,
    instruments: LazyInstruments<HttpInstruments>,
    http: BoundedCache<Server>,
    https: BoundedCache<Server>,
    other: Arc<Series>,
    templates: BoundedCache<SmallOnceMap<u8, Cow<'static, str>, 16>>,
}

/// The cached attributes and metrics of a target host.
#[derive(Debug)]
struct Server {
    attributes: [KeyValue; 2],
    series: Arc<Series>,
}

impl Server {
    fn attributes(target: &Target<'_>) -> [KeyValue; 2] {
        let address: Arc<str> = target.address.into();
        [KeyValue::new(SERVER_ADDRESS, address), KeyValue::new(SERVER_PORT, i64::from(target.port))]
    }

    fn new(target: &Target<'_>) -> Self {
        let attributes = Self::attributes(target);
        Self { series: Arc::new(Series::new(attributes.to_vec(), false)), attributes }
    }
}

/// A request extension with the template of the request's URL, for the span name and `url.template`.
///
/// ```
/// let request = http::Request::get("http://users.internal/users/42")
///     .extension(otel_http::UrlTemplate("/users/{id}".into()));
/// # let _ = request.body(());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a plain value that a caller puts there")]
pub struct UrlTemplate(pub Cow<'static, str>);

/// A layer that records each call of an HTTP client and injects its context into the request.
///
/// The parent is the `opentelemetry::Context` in the request's extensions, or the current context if the extensions
/// have none. The extension is for layers such as tower's `Buffer`, which make the call on another task.
///
/// ```
/// use tower_layer::Layer;
/// # #[derive(Clone)] struct MyClient;
/// let client = otel_http::ClientLayer::new().layer(MyClient);
/// ```
#[derive(Clone, Debug)]
pub struct ClientLayer {
    shared: Arc<Shared>,
}

impl ClientLayer {
    /// Creates a layer that records into the global providers, which may be installed later.
    #[must_use]
    pub fn new() -> Self {
        // Callers need not read or drop a response body promptly: a span that ended with it might stay open.
        Self::from_options(Options::new(EndOn::Head))
    }

    fn from_options(options: Options) -> Self {
        let other = [KeyValue::new(SERVER_ADDRESS, "_OTHER")];
        Self {
            shared: Arc::new(Shared {
                tracer: options.providers.tracer(scope()),
                instruments: options.providers.instruments(scope(), HttpInstruments::client),
                http: BoundedCache::new(TARGETS),
                https: BoundedCache::new(TARGETS),
                other: Arc::new(Series::new(other.to_vec(), false)),
                templates: BoundedCache::new(TEMPLATES),
                options,
            }),
        }
    }

    fn edit(self, edit: impl FnOnce(&mut Options)) -> Self {
        let mut options = self.shared.options.clone();
        edit(&mut options);
        Self::from_options(options)
    }

    shared_options!();

    #[cfg(feature = "reqwest")]
    pub(crate) fn start<B>(&self, request: &mut Request<B>) -> Option<Operation<ClientRecord>> {
        Shared::start(&self.shared, request)
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
        ClientService { inner, shared: Arc::clone(&self.shared) }
    }
}

/// An instrumented HTTP client.
#[derive(Clone, Debug)]
pub struct ClientService<S> {
    inner: S,
    shared: Arc<Shared>,
}

impl<S, B, R> Service<Request<B>> for ClientService<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Error: 'static,
    R: Body,
    R::Error: 'static,
{
    type Response = Response<ClientBody<R>>;
    type Error = S::Error;
    type Future = ClientFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let Some(mut operation) = Shared::start(&self.shared, &mut request) else {
            return OperationFuture::new(self.inner.call(request), None);
        };
        let future = operation.inside(|_| self.inner.call(request));
        OperationFuture::new(future, Some(operation))
    }
}

impl Shared {
    fn start<B>(shared: &Arc<Self>, request: &mut Request<B>) -> Option<Operation<ClientRecord>> {
        let options = &shared.options;
        let head = RequestHead::of(request);
        if !options.records(&head) {
            return None;
        }
        let started = StartTime::now();
        let parent = head.extensions.get::<Context>().cloned().unwrap_or_else(Context::current);
        let method = options.known_methods.of(head.method);
        let target = request_attributes::target(head.uri, head.headers);
        let server = target.as_ref().and_then(|target| shared.server(&head, target));
        let template = head.extensions.get::<UrlTemplate>().map(|template| &*template.0);
        let resend_count = head.extensions.get::<ResendCounter>().map_or(0, ResendCounter::increment);

        let name = options.span_name.as_ref().and_then(|name| name(&head, template));
        let name = name.unwrap_or_else(|| shared.name(&method, template));
        let start = SpanStart::new(name, SpanKind::Client, started.time)
            .with_sampler_attributes(options.sampler_attributes);
        let record = ClientRecord::new(
            Arc::clone(shared),
            server.as_ref().map_or_else(|| Arc::clone(&shared.other), |server| Arc::clone(&server.series)),
            Key {
                method: method.index,
                https: target.as_ref().is_some_and(|target| target.https),
                version: None,
                status: None,
            },
            if options.body_sizes { content_length(head.headers) } else { None },
        );
        let attributes = || {
            let mut list = Vec::with_capacity(12);
            // A host beyond the limit has no metrics of its own, but its span still carries its address.
            let own = match &server {
                Some(_) => None,
                None => target.as_ref().map(Server::attributes),
            };
            let target = server.as_ref().map(|server| &server.attributes).or(own.as_ref());
            request_attributes::attributes(&head, &method, target, template, resend_count, &mut list);
            options.request_headers.read(head.headers, &mut list);
            if let Some(hook) = &options.on_request {
                hook(&head, &mut list);
            }
            list
        };
        let operation = Operation::start(&shared.tracer, start, &parent, started, record, attributes);
        operation.inject(&options.propagation, &mut HeaderInjector(request.headers_mut()));
        Some(operation)
    }

    fn server(&self, head: &RequestHead<'_>, target: &Target<'_>) -> Option<Arc<Server>> {
        let servers = if target.https { &self.https } else { &self.http };
        // The authority includes the port. One with credentials is not used as a key, which stays in memory.
        let key = head.uri.authority().map(http::uri::Authority::as_str).filter(|text| !text.contains('@'));
        match key {
            Some(key) => servers.get_or_insert(key, || Server::new(target)),
            None => {
                servers.get_or_insert(&format!("{}:{}", target.address, target.port), || Server::new(target))
            }
        }
    }

    fn name(&self, method: &KnownMethod, template: Option<&str>) -> Cow<'static, str> {
        let make = || attributes::span_name(method, template);
        match template.and_then(|template| self.templates.get_or_insert(template, SmallOnceMap::new)) {
            Some(names) => names.get_or_init_with(method.index, make, Cow::clone),
            None => make(),
        }
    }
}

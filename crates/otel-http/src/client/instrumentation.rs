//! The client's part of the instrumentation: the hosts that are called, with their metrics, and the URL templates.

use std::borrow::Cow;
use std::sync::Arc;

use http::Request;
use opentelemetry::KeyValue;
use opentelemetry::metrics::Meter;
use otel_operation::{BoundedCache, SmallOnceMap};
use otel_request::{
    AttributeScope, ClientInstrumentation, NameRank, RequestHead, RequestScope, SeriesLimit, SpanName,
    start_client,
};

use super::state::ClientState;
use crate::attributes::client::Target;
use crate::attributes::{self, SERVER_ADDRESS, URL_TEMPLATE, client as request_attributes};
use crate::config::EndOn;
use crate::instrumentation::{HttpInstrumentation, Shared, Side};
use crate::method::KnownMethod;
use crate::metrics::{HttpInstruments, Key, Series};
use crate::sizes::{BodySizes, RequestSize};

/// Default limit of the series that hosts make, half of the SDK's limit of series per metric.
const SERIES: u32 = 1000;

/// Limit of URL templates whose span names and, per host, metrics are cached. Those of further ones are created per request.
const TEMPLATES: usize = 1024;

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

/// The options that only a client has.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    pub(super) tls: Option<bool>,
    pub(super) max_untrusted_series: u32,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self { tls: None, max_untrusted_series: SERIES }
    }
}

/// The client's side of a layer. Opaque; public only because it appears in type signatures.
#[derive(Debug)]
pub struct HttpClient {
    options: ClientOptions,
    series: Arc<SeriesLimit>,
    /// By `http`, `https` and an unknown scheme, which differ in the default port.
    hosts: [BoundedCache<TargetHost>; 3],
    /// The host that all hosts beyond the limit share.
    other: TargetHost,
    templates: BoundedCache<SmallOnceMap<u8, Cow<'static, str>, 16>>,
}

/// The cached attributes and metrics of a host that is called.
#[derive(Debug)]
struct TargetHost {
    attributes: Vec<KeyValue>,
    series: Arc<Series>,
    by_template: BoundedCache<Series>,
}

impl TargetHost {
    fn new(shared: &Arc<Shared>, attributes: Vec<KeyValue>, limit: Option<Arc<SeriesLimit>>) -> Self {
        let series = Arc::new(Series::for_host(shared, attributes.clone(), limit));
        Self { attributes, series, by_template: BoundedCache::new(TEMPLATES) }
    }

    fn template_series(&self, template: &str) -> Arc<Series> {
        let make = || {
            let mut attributes = self.attributes.clone();
            attributes.push(KeyValue::new(URL_TEMPLATE, template.to_owned()));
            // The host was counted; templates are the application's own.
            Series::for_host(&self.series.shared, attributes, None)
        };
        self.by_template.get_or_insert(template, make).map_or_else(|| Arc::new(make()), Arc::clone)
    }
}

impl Side for HttpClient {
    type Options = ClientOptions;
    type Observer = ClientState;

    // Callers need not read or drop a response body promptly: a span that ended with it might stay open.
    const END_ON: EndOn = EndOn::Head;

    fn new(options: ClientOptions, shared: &Arc<Shared>) -> Self {
        Self {
            series: Arc::new(SeriesLimit::new(options.max_untrusted_series)),
            hosts: [(); 3].map(|()| BoundedCache::new(options.max_untrusted_series as usize)),
            other: TargetHost::new(shared, vec![KeyValue::new(SERVER_ADDRESS, "_OTHER")], None),
            templates: BoundedCache::new(TEMPLATES),
            options,
        }
    }

    fn options(&self) -> &ClientOptions {
        &self.options
    }

    fn instruments(meter: &Meter) -> HttpInstruments {
        HttpInstruments::client(meter)
    }

    fn set_request_size(state: &mut ClientState, size: RequestSize) {
        if let Some(sizes) = &mut state.sizes {
            sizes.set_request(size);
        }
    }

    #[inline]
    fn start<B>(
        instrumentation: &Arc<HttpInstrumentation<Self>>,
        request: &mut Request<B>,
    ) -> RequestScope<ClientState> {
        start_client(instrumentation, request)
    }
}

/// The parts of a request's head that only attributes need.
#[derive(Debug)]
pub struct Details<'a> {
    method: KnownMethod,
    target: Option<Target<'a>>,
    host: Option<&'a TargetHost>,
    template: Option<&'a str>,
}

impl ClientInstrumentation for HttpInstrumentation<HttpClient> {
    type Details<'a> = Details<'a>;

    #[inline(always)]
    fn observe<'a>(self: &'a Arc<Self>, head: &RequestHead<'a>) -> (ClientState, Details<'a>, SpanName) {
        let http = &self.shared.http;
        let method = http.known_methods.look_up(head.method);
        let target = Target::new(head.uri, head.headers, self.side.options.tls);
        let (target, host) = self.side.host(target, &self.shared);
        let template = head.extensions.get::<UrlTemplate>().map(|template| &*template.0);
        let name = match http.chosen_name(head, template) {
            Some(name) => SpanName::new(name, NameRank::Hook),
            None if template.is_some() => SpanName::new(self.side.name(&method, template), NameRank::Route),
            None => SpanName::new(self.side.name(&method, template), NameRank::Method),
        };
        let measured = host.unwrap_or(&self.side.other);
        let state = ClientState::new(
            (Arc::clone(&measured.series), template.map(|template| measured.template_series(template))),
            // The scheme is no attribute of a client's metrics.
            Key { method: method.index, https: false, version: None, status: None },
            http.body_sizes.then(|| BodySizes::new(head.headers)),
        );
        (state, Details { method, target, host, template }, name)
    }

    #[inline(always)]
    fn attributes(
        &self,
        _state: &ClientState,
        details: &Details<'_>,
        head: &RequestHead<'_>,
        resend_count: u32,
        scope: AttributeScope,
        list: &mut Vec<KeyValue>,
    ) {
        let Details { method, target, host, template } = details;
        // A host beyond the limit has no metrics of its own, but its span still carries its address.
        let own;
        let server = match (scope, host, target) {
            (AttributeScope::All, Some(host), _) => &host.attributes,
            (AttributeScope::All, None, Some(target)) => {
                own = target.attributes();
                &own
            }
            _ => &Vec::new(),
        };
        request_attributes::attributes(
            head,
            method,
            (target.as_ref(), server),
            *template,
            resend_count,
            list,
        );
    }
}

impl HttpClient {
    /// Returns the target if it names a host, and that host unless it is a new one beyond the limit.
    #[inline]
    fn host<'a>(
        &self,
        target: Option<Target<'a>>,
        shared: &Arc<Shared>,
    ) -> (Option<Target<'a>>, Option<&TargetHost>) {
        let Some(target) = target else { return (None, None) };
        match self.hosts(target.https).get(target.authority) {
            Some(host) => (Some(target), Some(host)),
            None if target.address().is_none() => (None, None),
            None => (Some(target), self.new_host(&target, shared)),
        }
    }

    #[inline]
    fn hosts(&self, https: Option<bool>) -> &BoundedCache<TargetHost> {
        let [plain, tls, unknown] = &self.hosts;
        match https {
            Some(false) => plain,
            Some(true) => tls,
            None => unknown,
        }
    }

    #[cold]
    fn new_host(&self, target: &Target<'_>, shared: &Arc<Shared>) -> Option<&TargetHost> {
        let make = || {
            let limit = Arc::clone(&self.series);
            limit.has_room().then(|| TargetHost::new(shared, target.attributes(), Some(limit)))
        };
        // The key includes the port. It stays in memory, so that it must not have credentials.
        let (_, key) = target.authority.rsplit_once('@').unwrap_or(("", target.authority));
        self.hosts(target.https).get_or_insert_opt(key, make).map(|host| &**host)
    }

    fn name(&self, method: &KnownMethod, template: Option<&str>) -> Cow<'static, str> {
        let make = || attributes::span_name(method, template);
        match template.and_then(|template| self.templates.get_or_insert(template, SmallOnceMap::new)) {
            Some(names) => names.get_or_init_with(method.index, make, Cow::clone),
            None => make(),
        }
    }
}

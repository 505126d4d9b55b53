//! The client's part of the instrumentation: the hosts that are called, with their metrics, and the URL templates.

use std::borrow::Cow;
use std::sync::Arc;

use http::Request;
use http::uri::Authority;
use opentelemetry::KeyValue;
use opentelemetry::metrics::Meter;
use otel_operation::{BoundedCache, SmallOnceMap};
use otel_request::{
    AttributeScope, ClientInstrumentation, NameRank, RequestHead, RequestScope, SpanName, start_client,
};

use super::state::ClientState;
use crate::attributes::client::Target;
use crate::attributes::{self, SERVER_ADDRESS, SERVER_PORT, client as request_attributes};
use crate::config::EndOn;
use crate::instrumentation::{HttpInstrumentation, Side};
use crate::method::KnownMethod;
use crate::metrics::{HttpInstruments, Key, Series};
use crate::sizes::{BodySizes, RequestSize};

/// Limit of hosts with their own metrics, per scheme. Calls to further hosts are recorded under `_OTHER`, because a
/// host may come from untrusted input.
const TARGETS: usize = 512;

/// Limit of URL templates whose span names are cached.
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

/// The client's side of a layer. Opaque; public only because it appears in type signatures.
#[derive(Debug)]
pub struct HttpClient {
    plain: BoundedCache<TargetHost>,
    tls: BoundedCache<TargetHost>,
    other: Arc<Series>,
    templates: BoundedCache<SmallOnceMap<u8, Cow<'static, str>, 16>>,
}

/// The cached attributes and metrics of a host that is called.
#[derive(Debug)]
struct TargetHost {
    attributes: [KeyValue; 2],
    series: Arc<Series>,
}

impl TargetHost {
    fn attributes(target: &Target<'_>) -> [KeyValue; 2] {
        let address: Arc<str> = target.address.into();
        [KeyValue::new(SERVER_ADDRESS, address), KeyValue::new(SERVER_PORT, i64::from(target.port))]
    }

    fn new(target: &Target<'_>) -> Self {
        let attributes = Self::attributes(target);
        Self { series: Arc::new(Series::new(attributes.to_vec(), false)), attributes }
    }
}

impl Side for HttpClient {
    type Options = ();
    type Observer = ClientState;

    // Callers need not read or drop a response body promptly: a span that ended with it might stay open.
    const END_ON: EndOn = EndOn::Head;

    fn new((): ()) -> Self {
        let other = [KeyValue::new(SERVER_ADDRESS, "_OTHER")];
        Self {
            plain: BoundedCache::new(TARGETS),
            tls: BoundedCache::new(TARGETS),
            other: Arc::new(Series::new(other.to_vec(), false)),
            templates: BoundedCache::new(TEMPLATES),
        }
    }

    fn options(&self) -> &() {
        &()
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
    host: Option<Arc<TargetHost>>,
    template: Option<&'a str>,
}

impl ClientInstrumentation for HttpInstrumentation<HttpClient> {
    type Details<'a> = Details<'a>;

    #[inline(always)]
    fn observe<'a>(self: &'a Arc<Self>, head: &RequestHead<'a>) -> (ClientState, Details<'a>, SpanName) {
        let method = self.http.known_methods.look_up(head.method);
        let target = request_attributes::target(head.uri, head.headers);
        let host = target.as_ref().and_then(|target| self.side.host(head, target));
        let template = head.extensions.get::<UrlTemplate>().map(|template| &*template.0);
        let name = match self.http.chosen_name(head, template) {
            Some(name) => SpanName::new(name, NameRank::Hook),
            None if template.is_some() => SpanName::new(self.side.name(&method, template), NameRank::Route),
            None => SpanName::new(self.side.name(&method, template), NameRank::Method),
        };
        let state = ClientState::new(
            Arc::clone(self),
            Arc::clone(host.as_ref().map_or(&self.side.other, |host| &host.series)),
            Key {
                method: method.index,
                https: target.as_ref().is_some_and(|target| target.https),
                version: None,
                status: None,
            },
            self.http.body_sizes.then(|| BodySizes::new(head.headers)),
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
        let own = match (scope, host) {
            (AttributeScope::All, None) => target.as_ref().map(TargetHost::attributes),
            _ => None,
        };
        let host = host.as_ref().filter(|_| scope == AttributeScope::All).map(|host| &host.attributes);
        request_attributes::attributes(head, method, host.or(own.as_ref()), *template, resend_count, list);
    }
}

impl HttpClient {
    fn host(&self, head: &RequestHead<'_>, target: &Target<'_>) -> Option<Arc<TargetHost>> {
        let hosts = if target.https { &self.tls } else { &self.plain };
        // The authority includes the port. One with credentials is not used as a key, which stays in memory.
        let key = head.uri.authority().map(Authority::as_str).filter(|text| !text.contains('@'));
        match key {
            Some(key) => hosts.get_or_insert(key, || TargetHost::new(target)),
            None => {
                let key = format!("{}:{}", target.address, target.port);
                hosts.get_or_insert(&key, || TargetHost::new(target))
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

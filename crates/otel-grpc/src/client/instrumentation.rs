//! The client's part of the instrumentation: its options, and the methods of each server that is called.

use std::sync::Arc;

use http::Request;
use opentelemetry::metrics::Meter;
use opentelemetry::{Context, KeyValue};
use otel_operation::{BoundedCache, Outcome};
use otel_request::{
    AttributeScope, ClientInstrumentation, NameRank, RequestHead, RequestScope, SeriesLimit, SpanName,
    start_client,
};
use tonic::{Code, GrpcMethod};

use crate::attributes;
use crate::config::GrpcOptions;
use crate::deadline::Deadline;
use crate::instrumentation::{GrpcInstrumentation, Side};
use crate::message_spans::StreamSlot;
use crate::method::{Method, Methods};
use crate::metrics::GrpcInstruments;
use crate::outcome;
use crate::state::CallState;

/// The options that only a client has.
#[derive(Clone, Debug, Default)]
pub struct ClientOptions {
    pub(super) target: Vec<KeyValue>,
    pub(super) request_context: bool,
}

/// The client's side of a layer. Opaque; public only because it appears in type signatures.
#[derive(Debug)]
pub struct GrpcClient {
    options: ClientOptions,
    /// By the origin of a request, which identifies its server in a layer without a target.
    by_origin: BoundedCache<Methods>,
    /// The limit of the series of all origins, because requests can name untrusted hosts.
    series: Arc<SeriesLimit>,
}

impl Side for GrpcClient {
    type Options = ClientOptions;

    const IS_CLIENT: bool = true;

    fn new(grpc: &GrpcOptions, options: ClientOptions) -> Self {
        let series = Arc::new(SeriesLimit::new(grpc.max_untrusted_series));
        Self { options, by_origin: BoundedCache::new(grpc.max_untrusted_series as usize), series }
    }

    fn options(&self) -> &ClientOptions {
        &self.options
    }

    fn instruments(meter: &Meter) -> GrpcInstruments {
        GrpcInstruments::client(meter)
    }

    fn methods(&self, _: &GrpcOptions) -> Methods {
        Methods::of_target(self.options.target.clone())
    }

    fn outcome(code: Code) -> Outcome {
        outcome::of_client(code)
    }

    #[inline]
    fn attaches_request_context(&self) -> bool {
        self.options.request_context
    }

    #[inline]
    fn start<B>(
        instrumentation: &Arc<GrpcInstrumentation<Self>>,
        request: &mut Request<B>,
    ) -> RequestScope<CallState<Self>> {
        start_client(instrumentation, request)
    }
}

/// The path of a call whose method the client does not know; only attributes need it.
#[derive(Debug)]
pub struct UnknownPath<'a>(Option<&'a str>);

impl ClientInstrumentation for GrpcInstrumentation<GrpcClient> {
    type Details<'a> = UnknownPath<'a>;

    #[inline(always)]
    fn observe<'a>(
        self: &'a Arc<Self>,
        head: &RequestHead<'a>,
    ) -> (CallState<GrpcClient>, UnknownPath<'a>, SpanName) {
        let (method, unknown, rank) = match self.method(head) {
            Ok(method) => (method, None, NameRank::Procedure),
            Err(unknown) => (unknown, Some(head.uri.path()), NameRank::Protocol),
        };
        let name = SpanName::new(method.span_name.clone(), rank);
        let state = CallState::new(Arc::clone(self), method, None, Deadline::from_headers(head.headers));
        (state, UnknownPath(unknown), name)
    }

    fn on_start(&self, head: &RequestHead<'_>, context: &Context) {
        if let Some(stream) = head.extensions.get::<StreamSlot>() {
            stream.fill(context);
        }
    }

    #[inline(always)]
    fn attributes(
        &self,
        state: &CallState<GrpcClient>,
        UnknownPath(unknown): &UnknownPath<'_>,
        head: &RequestHead<'_>,
        resend_count: u32,
        scope: AttributeScope,
        list: &mut Vec<KeyValue>,
    ) {
        let method = state.method();
        list.extend_from_slice(if scope == AttributeScope::All { &method.common } else { method.names() });
        if scope == AttributeScope::All && !method.has_server() {
            list.extend(attributes::target(head.uri));
        }
        list.extend(unknown.map(attributes::method_original));
        if resend_count > 0 {
            list.push(KeyValue::new(attributes::RESEND_COUNT, i64::from(resend_count)));
        }
        self.grpc.request_metadata.read(head.headers, list);
    }
}

impl GrpcInstrumentation<GrpcClient> {
    /// Returns the method of a request with the attributes of its server, or `Err` with the entry for unknown
    /// methods.
    fn method(&self, head: &RequestHead<'_>) -> Result<Arc<Method>, Arc<Method>> {
        // Generated clients attach a `GrpcMethod`, so that the method exists. Other callers may use untrusted names.
        let is_known = |name: &str| {
            head.extensions.get::<GrpcMethod<'static>>().is_some()
                || self.grpc.known_methods.as_ref().is_some_and(|known| known.contains(name))
        };
        let path = head.uri.path();
        let find = |methods: &Methods| methods.get(path, is_known).ok_or_else(|| methods.unknown());
        match head.uri.authority() {
            Some(authority) if self.side.options.target.is_empty() && !authority.as_str().contains('@') => {
                let series = &self.side.series;
                let methods = || Methods::of_origin(attributes::target(head.uri), Arc::clone(series));
                let new = || series.has_room().then(methods);
                match self.side.by_origin.get_or_insert_opt(authority.as_str(), new) {
                    Some(methods) => find(methods),
                    None => find(&self.methods),
                }
            }
            _ => find(&self.methods),
        }
    }
}

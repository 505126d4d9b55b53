//! The instrumentation that all services of a client layer share.

use std::sync::Arc;

use opentelemetry::{Context, KeyValue};
use otel_operation::{BoundedCache, LazyInstruments, Outcome, Tracer};
use otel_request::{AttributeScope, ClientInstrumentation, NameRank, Options, RequestHead, SpanName};
use tonic::{Code, GrpcMethod};

use crate::attributes;
use crate::config::{GrpcHead, GrpcOptions, scope};
use crate::deadline::Deadline;
use crate::layer::Side;
use crate::message_spans::StreamSlot;
use crate::method::{Method, Methods};
use crate::metrics::GrpcInstruments;
use crate::outcome;
use crate::state::CallState;

/// Limit of servers with their own metrics in a layer without a target; the origin of a request identifies its
/// server.
const SERVERS: usize = 64;

/// The options that only a client has.
#[derive(Clone, Debug, Default)]
pub struct ClientOptions {
    pub(super) target: Vec<KeyValue>,
    pub(super) request_context: bool,
}

/// The instrumentation of a gRPC client. Opaque; public only because it appears in type signatures.
#[derive(Debug)]
pub struct GrpcClient {
    grpc: GrpcOptions,
    options: ClientOptions,
    tracer: Tracer,
    instruments: LazyInstruments<GrpcInstruments>,
    methods: Methods,
    by_origin: BoundedCache<Methods>,
}

impl Side for GrpcClient {
    type Options = ClientOptions;

    const IS_CLIENT: bool = true;

    fn build(grpc: GrpcOptions, options: ClientOptions) -> Self {
        Self {
            tracer: grpc.common.providers.tracer(scope()),
            instruments: grpc.common.providers.instruments(scope(), GrpcInstruments::client),
            methods: Methods::new(options.target.clone(), false),
            by_origin: BoundedCache::new(SERVERS),
            grpc,
            options,
        }
    }

    fn options(&self) -> (&GrpcOptions, &ClientOptions) {
        (&self.grpc, &self.options)
    }

    #[inline]
    fn instruments(&self) -> &LazyInstruments<GrpcInstruments> {
        &self.instruments
    }

    fn methods(&self) -> &Methods {
        &self.methods
    }

    fn outcome(code: Code) -> Outcome {
        outcome::of_client(code)
    }
}

/// The path of a call whose method the client does not know; only attributes need it.
#[derive(Debug)]
pub struct UnknownPath<'a>(Option<&'a str>);

impl ClientInstrumentation for GrpcClient {
    type View = GrpcHead;
    type Observer = CallState<Self>;
    type Details<'a> = UnknownPath<'a>;

    #[inline]
    fn tracer(&self) -> &Tracer {
        &self.tracer
    }

    #[inline]
    fn options(&self) -> &Options<GrpcHead> {
        &self.grpc.common
    }

    #[inline]
    fn excludes(&self, head: &RequestHead<'_>) -> bool {
        self.grpc.excludes(head)
    }

    #[inline(always)]
    fn observe<'a>(
        self: &'a Arc<Self>,
        head: &RequestHead<'a>,
    ) -> (CallState<Self>, UnknownPath<'a>, SpanName) {
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
        state: &CallState<Self>,
        UnknownPath(unknown): &UnknownPath<'_>,
        head: &RequestHead<'_>,
        resend_count: u32,
        scope: AttributeScope,
        list: &mut Vec<KeyValue>,
    ) {
        let method = state.method();
        list.extend_from_slice(if scope == AttributeScope::All { &method.common } else { method.names() });
        list.extend(unknown.map(attributes::method_original));
        if resend_count > 0 {
            list.push(KeyValue::new(attributes::RESEND_COUNT, i64::from(resend_count)));
        }
        self.grpc.request_metadata.read(head.headers, list);
    }
}

impl GrpcClient {
    #[inline]
    pub(super) fn attaches_request_context(&self) -> bool {
        self.options.request_context
    }

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
            Some(authority) if self.options.target.is_empty() && !authority.as_str().contains('@') => {
                let methods = || Methods::new(attributes::target(head.uri), false);
                match self.by_origin.get_or_insert(authority.as_str(), methods) {
                    Some(methods) => find(&methods),
                    None => find(&self.methods),
                }
            }
            _ => find(&self.methods),
        }
    }
}

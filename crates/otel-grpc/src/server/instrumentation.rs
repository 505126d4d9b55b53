//! The instrumentation that all services of a server layer share.

use std::net::SocketAddr;
use std::sync::Arc;

use http::uri::Authority;
use opentelemetry::KeyValue;
use otel_operation::{LazyInstruments, Outcome, Tracer};
use otel_request::{
    AttributeScope, HostCache, NameRank, Options, RequestHead, ServerInstrumentation, SpanName,
};
use tonic::Code;

use crate::attributes;
use crate::config::{GrpcHead, GrpcOptions, scope};
use crate::deadline::Deadline;
use crate::layer::Side;
use crate::method::{MethodLookup, Methods};
use crate::metrics::GrpcInstruments;
use crate::outcome;
use crate::state::{CallState, Unconfirmed};

/// Limit of hosts that are cached in parsed form.
const HOSTS: usize = 64;

/// The instrumentation of a gRPC server. Opaque; public only because it appears in type signatures.
#[derive(Debug)]
pub struct GrpcServer {
    grpc: GrpcOptions,
    tracer: Tracer,
    instruments: LazyInstruments<GrpcInstruments>,
    methods: Methods,
    hosts: HostCache,
}

impl Side for GrpcServer {
    type Options = ();

    const IS_CLIENT: bool = false;

    fn build(grpc: GrpcOptions, (): ()) -> Self {
        Self {
            tracer: grpc.common.providers.tracer(scope()),
            instruments: grpc.common.providers.instruments(scope(), GrpcInstruments::server),
            methods: Methods::new(Vec::new(), grpc.known_methods.is_none()),
            hosts: HostCache::new(HOSTS),
            grpc,
        }
    }

    fn options(&self) -> (&GrpcOptions, &()) {
        (&self.grpc, &())
    }

    #[inline]
    fn instruments(&self) -> &LazyInstruments<GrpcInstruments> {
        &self.instruments
    }

    fn methods(&self) -> &Methods {
        &self.methods
    }

    fn outcome(code: Code) -> Outcome {
        outcome::of_server(code)
    }
}

impl ServerInstrumentation for GrpcServer {
    type View = GrpcHead;
    type Observer = CallState<Self>;
    type Details = ();

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
    fn observe(self: &Arc<Self>, head: &RequestHead<'_>) -> (CallState<Self>, (), SpanName) {
        let path = head.uri.path();
        let (method, unconfirmed) = match self.methods.look_up(path, self.grpc.known_methods.as_deref()) {
            MethodLookup::Known(method) => (method, None),
            MethodLookup::Unknown => self.unconfirmed(head, false),
            MethodLookup::Unconfirmed => self.unconfirmed(head, true),
        };
        let rank = if unconfirmed.is_none() { NameRank::Procedure } else { NameRank::Protocol };
        let name = SpanName::new(method.span_name.clone(), rank);
        let deadline = Deadline::from_headers(head.headers);
        (CallState::new(Arc::clone(self), method, unconfirmed, deadline), (), name)
    }

    #[inline(always)]
    fn attributes(
        &self,
        state: &CallState<Self>,
        (): &(),
        head: &RequestHead<'_>,
        scope: AttributeScope,
        list: &mut Vec<KeyValue>,
    ) {
        // Without a known method the request may be no call: the end of the call sets `rpc.*`.
        if let Some(method) = state.method_at_start() {
            list.extend_from_slice(&method.common);
            self.grpc.request_metadata.read(head.headers, list);
        }
        if scope != AttributeScope::All {
            return;
        }
        if let Some(host) = head.uri.authority().map(Authority::as_str)
            && let Some(host) = self.hosts.parse(host)
        {
            attributes::server(&host, list);
        }
        if let Some(peer) = peer(head) {
            attributes::peer(peer, list);
        }
    }
}

impl GrpcServer {
    #[cold]
    fn unconfirmed(
        &self,
        head: &RequestHead<'_>,
        can_exist: bool,
    ) -> (Arc<crate::method::Method>, Option<Box<Unconfirmed>>) {
        let mut metadata = Vec::new();
        self.grpc.request_metadata.read(head.headers, &mut metadata);
        let path = attributes::truncated_path(head.uri.path()).into();
        (self.methods.unknown(), Some(Box::new(Unconfirmed { path, can_exist, metadata })))
    }
}

fn peer(head: &RequestHead<'_>) -> Option<SocketAddr> {
    #[cfg(feature = "transport")]
    if let Some(info) = head.extensions.get::<tonic::transport::server::TcpConnectInfo>() {
        return info.remote_addr();
    }
    #[cfg(feature = "axum")]
    {
        use axum::extract::ConnectInfo;

        if let Some(ConnectInfo(address)) = head.extensions.get::<ConnectInfo<SocketAddr>>() {
            return Some(*address);
        }
    }
    let _ = head;
    None
}

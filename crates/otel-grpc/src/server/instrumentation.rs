//! The server's part of the instrumentation: the calls among its requests, and the hosts that it is called by.
//!
//! Follows [gRPC over HTTP/2](https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md), "Requests": each call is a POST.

use std::net::SocketAddr;
use std::sync::Arc;

use http::Request;
use http::uri::Authority;
use opentelemetry::KeyValue;
use opentelemetry::metrics::Meter;
use otel_operation::Outcome;
use otel_request::{
    AttributeScope, HostCache, NameRank, RequestHead, RequestScope, ServerInstrumentation, SpanName,
    start_server,
};
use tonic::Code;

use crate::attributes;
use crate::config::GrpcOptions;
use crate::deadline::Deadline;
use crate::instrumentation::{GrpcInstrumentation, Side};
use crate::method::{Method, MethodLookup, Methods};
use crate::metrics::GrpcInstruments;
use crate::outcome;
use crate::state::{CallState, Unconfirmed};

/// Limit of hosts that are cached in parsed form.
const HOSTS: usize = 64;

/// The server's side of a layer. Opaque; public only because it appears in type signatures.
#[derive(Debug)]
pub struct GrpcServer {
    hosts: HostCache,
}

impl Side for GrpcServer {
    type Options = ();

    const IS_CLIENT: bool = false;

    fn new(_: &GrpcOptions, (): ()) -> Self {
        Self { hosts: HostCache::new(HOSTS) }
    }

    fn options(&self) -> &() {
        &()
    }

    fn instruments(meter: &Meter) -> GrpcInstruments {
        GrpcInstruments::server(meter)
    }

    fn methods(&self, grpc: &GrpcOptions) -> Methods {
        Methods::of_server(grpc.known_methods.as_deref(), grpc.max_untrusted_series)
    }

    fn outcome(code: Code) -> Outcome {
        outcome::of_server(code)
    }

    #[inline]
    fn start<B>(
        instrumentation: &Arc<GrpcInstrumentation<Self>>,
        request: &mut Request<B>,
    ) -> RequestScope<CallState<Self>> {
        start_server(instrumentation, request)
    }
}

impl ServerInstrumentation for GrpcInstrumentation<GrpcServer> {
    type Details = ();

    #[inline(always)]
    fn observe(self: &Arc<Self>, head: &RequestHead<'_>) -> (CallState<GrpcServer>, (), SpanName) {
        // Other requests, such as the preflights of CORS, are calls only if the response is gRPC's.
        let lookup = if *head.method == http::Method::POST {
            self.methods.look_up(head.uri.path(), self.grpc.known_methods.as_deref())
        } else {
            MethodLookup::Unknown
        };
        let (method, unconfirmed) = match lookup {
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
        state: &CallState<GrpcServer>,
        (): &(),
        head: &RequestHead<'_>,
        scope: AttributeScope,
        list: &mut Vec<KeyValue>,
    ) {
        if list.capacity() == 0 {
            // With the host, the peer, the status and an error. A list with more room would keep it until the end of the call.
            *list = Vec::with_capacity(10);
        }
        // Without a known method the request may be no call: the end of the call sets `rpc.*`.
        if let Some(method) = state.method_at_start() {
            list.extend_from_slice(&method.common);
            self.grpc.request_metadata.read(head.headers, list);
        }
        if scope != AttributeScope::All {
            return;
        }
        if let Some(host) = head.uri.authority().map(Authority::as_str)
            && let Some(host) = self.side.hosts.parse(host)
        {
            attributes::server(&host.address, host.port, list);
        }
        if let Some(peer) = peer(head) {
            attributes::peer(peer, list);
        }
    }
}

impl GrpcInstrumentation<GrpcServer> {
    #[cold]
    fn unconfirmed(
        &self,
        head: &RequestHead<'_>,
        can_exist: bool,
    ) -> (Arc<Method>, Option<Box<Unconfirmed>>) {
        let mut metadata = Vec::new();
        self.grpc.request_metadata.read(head.headers, &mut metadata);
        let path = attributes::truncated_path(head.uri.path()).into();
        (self.methods.unknown(), Some(Box::new(Unconfirmed { path, can_exist, confirming: None, metadata })))
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

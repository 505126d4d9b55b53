//! Our servers inside their layers, axum and tonic, each with a success and a failure, and the contexts that handlers see.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use opentelemetry::baggage::BaggageExt as _;
use opentelemetry::trace::{TraceContextExt as _, TraceId};
use opentelemetry::{Context, KeyValue};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::codegen::BoxStream;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use crate::amqp::Amqp;
use crate::nats::Nats;

/// The addresses of the servers, and the contexts that their handlers have seen.
#[derive(Debug)]
pub(crate) struct Servers {
    pub(crate) http: SocketAddr,
    pub(crate) grpc: SocketAddr,
    pub(crate) nats: Option<Nats>,
    pub(crate) amqp: Option<Amqp>,
    seen: Seen,
}

/// The trace of each request, with the flag and the baggage.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen(Arc<Mutex<Vec<(TraceId, String)>>>);

impl Seen {
    /// Stores the current context, and records its baggage on the current span.
    pub(crate) fn look(&self) {
        let context = Context::current();
        let tenant = context.baggage().get("tenant").map(ToString::to_string).unwrap_or_default();
        let span = context.span();
        let sampled = span.span_context().is_sampled();
        let line = format!("our handler: sampled={sampled} tenant={tenant}\n");
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((span.span_context().trace_id(), line));
        span.set_attribute(KeyValue::new("tenant", tenant));
    }
}

impl Servers {
    pub(crate) async fn start(nats: Option<&str>, amqp: Option<&str>) -> Result<Self> {
        let seen = Seen::default();
        let nats = match nats {
            Some(url) => Some(Nats::start(url, seen.clone()).await?),
            None => None,
        };
        let amqp = match amqp {
            Some(url) => Some(Amqp::start(url, &seen).await?),
            None => None,
        };
        let (http, grpc) = (TcpListener::bind("127.0.0.1:0").await?, TcpListener::bind("127.0.0.1:0").await?);
        let (http_address, grpc_address) = (http.local_addr()?, grpc.local_addr()?);
        let servers = Self { http: http_address, grpc: grpc_address, nats, amqp, seen: seen.clone() };

        let (ok, fail) = (seen.clone(), seen.clone());
        let app = Router::new()
            .route("/ok", get(async move || ok.look()))
            .route(
                "/fail",
                get(async move || {
                    fail.look();
                    StatusCode::SERVICE_UNAVAILABLE
                }),
            )
            .layer(otel_http::ServerLayer::new());
        tokio::spawn(async { axum::serve(http, app).await });

        let layer = otel_grpc::ServerLayer::for_services(&[tonic_health::pb::FILE_DESCRIPTOR_SET])?;
        let server = tonic::transport::Server::builder().layer(layer).add_service(HealthServer::new(seen));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(grpc)));
        Ok(servers)
    }

    /// The contexts of this trace that handlers have seen, each on a line.
    pub(crate) fn seen(&self, trace: TraceId) -> String {
        let seen = self.seen.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.iter().filter(|(id, _)| *id == trace).map(|(_, line)| line.as_str()).collect()
    }
}

#[tonic::async_trait]
impl Health for Seen {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        self.look();
        match request.get_ref().service.as_str() {
            "ok" => Ok(Response::new(HealthCheckResponse { status: ServingStatus::Serving.into() })),
            _ => Err(Status::internal("a failure for the test")),
        }
    }

    type WatchStream = BoxStream<HealthCheckResponse>;

    async fn watch(&self, _: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented("only `Check` is served"))
    }
}

//! The service over gRPC, with tonic.

use axum::http::Uri;
use axum::http::uri::Scheme;
use opentelemetry_sdk::trace::SdkTracerProvider;
use otel_discovery::{Balance, Endpoint, Endpoints};
use otel_grpc::{ClientLayer, ClientService, LayerOptions, ServerLayer};
use otel_waterfall::Waterfall;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Channel, Server};
use tonic::{Request, Response, Status};
use tower::Layer;

use super::{Protocol, options};
use crate::pb::stock_client::StockClient;
use crate::pb::stock_server::{Stock, StockServer};
use crate::pb::{FILE_DESCRIPTOR_SET, GetRequest, GetResponse};
use crate::{Failure, provider};

pub(crate) struct Grpc;

impl Protocol for Grpc {
    const NAME: &'static str = "gRPC";
    const SERVICE: &'static str = "stock-grpc";
    type Client = StockClient<ClientService<Balance<Channel>>>;

    fn serve(
        listener: TcpListener,
        waterfall: &Waterfall,
        id: &'static str,
    ) -> Result<impl Future<Output = Result<(), Failure>> + Send + 'static, Failure> {
        let layer = ServerLayer::for_services(&[FILE_DESCRIPTOR_SET])?;
        let layer = layer.with_tracer_provider(&provider(waterfall, id));
        let server = Server::builder().layer(layer).add_service(StockServer::new(Instance(id)));
        Ok(async move { Ok(server.serve_with_incoming(TcpListenerStream::new(listener)).await?) })
    }

    fn client(endpoints: &Endpoints, provider: &SdkTracerProvider) -> Self::Client {
        let connect = |endpoint: &Endpoint| Channel::builder(endpoint.uri(Scheme::HTTP)).connect_lazy();
        let target = Uri::from_static("http://stock-grpc");
        let layer = ClientLayer::new().with_target(&target).with_tracer_provider(provider);
        StockClient::new(layer.layer(options().connect(endpoints, connect)))
    }

    async fn get(mut client: Self::Client, item: u32) -> Result<String, Failure> {
        Ok(client.get(GetRequest { item }).await?.into_inner().instance)
    }
}

struct Instance(&'static str);

#[tonic::async_trait]
impl Stock for Instance {
    async fn get(&self, _: Request<GetRequest>) -> Result<Response<GetResponse>, Status> {
        Ok(Response::new(GetResponse { instance: self.0.to_owned() }))
    }
}

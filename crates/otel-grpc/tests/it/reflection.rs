//! The reflection service beside an instrumented service.

use otel_testing::Recorder;
use tonic::transport::Server;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

use crate::echo::{EchoClient, EchoServer, UNARY, say};
use crate::support::{endpoint, listen, server_layer};

const SERVICE: &str = "grpc.reflection.v1.ServerReflection";

#[tokio::test]
async fn reflection_is_a_call_like_others_unless_it_is_excluded() {
    for is_excluded in [false, true] {
        let recorder = Recorder::new();
        let (address, incoming) = listen().await;
        let reflection = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .build_v1()
            .unwrap();
        let layer = server_layer(&recorder).with_excluded_services(is_excluded.then_some(SERVICE));
        let server = Server::builder().layer(layer).add_service(reflection).add_service(EchoServer);
        tokio::spawn(server.serve_with_incoming(incoming));

        let channel = endpoint(address).connect_lazy();
        let list = ServerReflectionRequest {
            host: String::new(),
            message_request: Some(MessageRequest::ListServices(String::new())),
        };
        let answers = ServerReflectionClient::new(channel.clone())
            .server_reflection_info(tokio_stream::once(list))
            .await;
        let mut answers = answers.unwrap().into_inner();
        let answer = answers.message().await.unwrap().unwrap().message_response;
        let Some(MessageResponse::ListServicesResponse(list)) = answer else { panic!("{answer:?}") };
        assert!(list.service.iter().any(|service| service.name == "grpc.health.v1.Health"), "{list:?}");
        assert_eq!(answers.message().await.unwrap(), None);

        EchoClient(channel).unary(say("hello")).await.unwrap();
        let expected = if is_excluded { 1 } else { 2 };
        recorder.wait_for_spans(expected).await;
        let named = |name: &str| recorder.spans().iter().filter(|span| span.name == name).count();
        let reflections = named(&format!("{SERVICE}/ServerReflectionInfo"));
        assert_eq!((reflections, named(UNARY)), (expected - 1, 1), "{}", recorder.tree());
        assert_eq!(recorder.metric("rpc.server.call.duration").count(), expected as u64);
        recorder.assert_clean();
    }
}

//! The check of a configuration: against this crate's server, a real collector, and what is neither.

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use otel_waterfall::{Diagnosis, Finding, Server, Step, diagnose};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{RootCertStore, ServerConfig, pki_types::PrivateKeyDer, server::WebPkiClientVerifier},
};

use crate::client::{get, start};

async fn diagnosed(variables: &[(&str, &str)]) -> Diagnosis {
    let variables: Vec<_> =
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    diagnose(move |name| {
        let known = variables.iter().find(|(known, _)| known == name);
        known
            .map(|(_, value)| value.clone())
            .or_else(|| (name == "OTEL_SERVICE_NAME").then(|| "shop".to_owned()))
    })
    .await
}

async fn at(protocol: &str, endpoint: &str) -> Diagnosis {
    diagnosed(&[("OTEL_EXPORTER_OTLP_PROTOCOL", protocol), ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)]).await
}

fn url(address: SocketAddr) -> String {
    format!("http://{address}")
}

/// Returns the cause of a failure in this step.
fn cause(diagnosis: &Diagnosis, step: Step) -> &str {
    let (failed, cause) = diagnosis.failure().expect("a step fails");
    assert_eq!(failed, step, "{diagnosis}");
    cause
}

#[tokio::test]
async fn each_protocol_is_accepted() {
    let running = start(Server::new()).await;
    for (protocol, address) in
        [("grpc", running.grpc), ("http/protobuf", running.http), ("http/json", running.http)]
    {
        let diagnosis = at(protocol, &url(address)).await;
        assert_eq!(diagnosis.failure(), None, "{diagnosis}");
        assert_eq!(diagnosis.steps().len(), 5);
        let Some((Step::Collector, Finding::Works(text))) = diagnosis.steps().last() else {
            panic!("{diagnosis}")
        };
        let id = text.strip_prefix("accepted, trace ").expect("the id of the trace");
        let trace = get(running.http, &format!("/trace/{id}")).await.json();
        assert_eq!(
            (&trace["name"], &trace["services"][0]),
            (&"otel-waterfall doctor".into(), &"shop".into())
        );
    }
}

#[tokio::test]
async fn a_real_collector_accepts_the_span() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/services/env");
    let lines = std::fs::read_to_string(file).unwrap_or_default();
    let setting = |name: &str| {
        let of_file = lines.lines().find_map(|line| {
            line.strip_prefix("export ")?
                .strip_prefix(name)?
                .strip_prefix('=')
                .map(|value| value.trim_matches('\''))
        });
        let start = "start the collector: `cargo xtask services up collector`";
        let value = std::env::var(name).ok().or(of_file.map(str::to_owned));
        value.unwrap_or_else(|| panic!("{name} is neither set nor in {file}: {start}"))
    };
    let log = setting("COLLECTOR_LOG");
    for (protocol, endpoint) in [
        ("grpc", setting("COLLECTOR_OTLP_GRPC_URL")),
        ("http/protobuf", setting("COLLECTOR_OTLP_HTTP_URL")),
        ("http/json", setting("COLLECTOR_OTLP_HTTP_URL")),
    ] {
        let diagnosis = at(protocol, &endpoint).await;
        assert_eq!(diagnosis.failure(), None, "{diagnosis}");
        let Some((_, Finding::Works(text))) = diagnosis.steps().last() else { panic!("{diagnosis}") };
        let id = text.rsplit(' ').next().unwrap();
        let printed = async {
            while !std::fs::read_to_string(&log).unwrap().contains(id) {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(30), printed)
            .await
            .expect("the collector prints the span");
    }
    let wrong = at("grpc", &setting("COLLECTOR_OTLP_HTTP_URL")).await;
    assert!(cause(&wrong, Step::Collector).ends_with("this is not a gRPC server"), "{wrong}");
}

#[tokio::test]
async fn a_port_without_a_listener() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let diagnosis = at("grpc", &url(address)).await;
    let cause = cause(&diagnosis, Step::Export);
    assert!(cause.starts_with(&format!("cannot connect to {address}: ")), "{cause}");
    assert!(
        cause.ends_with("no collector listens there: start one, or this program with --serve"),
        "{cause}"
    );
    assert_eq!(diagnosis.steps()[4].1, Finding::Skipped);
    assert!(diagnosis.to_string().ends_with("- collector    not tried\n"), "{diagnosis}");
}

#[tokio::test]
async fn a_name_that_does_not_exist() {
    let diagnosis = at("http/protobuf", "http://collector.invalid:4318").await;
    assert!(
        cause(&diagnosis, Step::Export).starts_with("the name collector.invalid is not resolved: "),
        "{diagnosis}"
    );
}

#[tokio::test]
async fn a_path_that_is_not_otlp() {
    let running = start(Server::new()).await;
    let endpoint = url(running.http);
    let diagnosis = diagnosed(&[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", &endpoint)]).await;
    let cause = cause(&diagnosis, Step::Collector);
    assert!(cause.starts_with("status 404 Not Found: ") && cause.contains("/v1/traces"), "{cause}");
}

#[tokio::test]
async fn a_peer_that_answers_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = url(listener.local_addr().unwrap());
    let variables = [("OTEL_EXPORTER_OTLP_ENDPOINT", &*endpoint), ("OTEL_EXPORTER_OTLP_TIMEOUT", "50")];
    let diagnosis = diagnosed(&variables).await;
    assert_eq!(cause(&diagnosis, Step::Export), "no answer within 50ms");
}

#[tokio::test]
async fn a_peer_of_another_protocol() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = url(listener.local_addr().unwrap());
    let peer = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n").await.unwrap();
        std::future::pending::<()>().await;
    };
    let diagnosis = tokio::select! {
        diagnosis = at("http/protobuf", &endpoint) => diagnosis,
        () = peer => unreachable!(),
    };
    assert!(
        cause(&diagnosis, Step::Export).ends_with("the peer may expect another protocol, or TLS"),
        "{diagnosis}"
    );
}

#[tokio::test]
async fn the_environment_fails_first() {
    let diagnosis =
        diagnosed(&[("OTEL_TRACES_EXPORTER", "none"), ("OTEL_TRACES_SAMPLER", "always_off")]).await;
    assert_eq!(cause(&diagnosis, Step::Environment), "OTEL_TRACES_EXPORTER=none: no span is sent by OTLP");
    assert!(matches!(diagnosis.steps()[2].1, Finding::Fails(_)));
    assert_eq!(diagnosis.steps()[3].1, Finding::Skipped);
}

/// Diagnoses a peer that answers each request with this response.
async fn answered(response: &[u8]) -> Diagnosis {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = url(listener.local_addr().unwrap());
    let peer = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut buffer = [0; 4096];
        // The request is in the buffer, or the rest of it in the socket's.
        let _ = stream.read(&mut buffer).await.unwrap();
        stream.write_all(response).await.unwrap();
        std::future::pending::<()>().await;
    };
    tokio::select! {
        diagnosis = at("http/protobuf", &endpoint) => diagnosis,
        () = peer => unreachable!(),
    }
}

#[tokio::test]
async fn the_query_of_the_endpoint_is_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("{}/in?key=1", url(listener.local_addr().unwrap()));
    let peer = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut buffer = [0; 4096];
        let length = stream.read(&mut buffer).await.unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    };
    let request = tokio::select! {
        diagnosis = at("http/protobuf", &endpoint) => panic!("{diagnosis}"),
        request = peer => request,
    };
    assert!(request.starts_with("POST /in/v1/traces?key=1 HTTP/1.1\r\n"), "{request}");
}

#[tokio::test]
async fn a_collector_that_rejects_the_span() {
    use opentelemetry_proto::tonic::collector::trace::v1::{
        ExportTracePartialSuccess, ExportTraceServiceResponse,
    };
    let partial_success =
        Some(ExportTracePartialSuccess { rejected_spans: 1, error_message: "quota is used up".to_owned() });
    let body = prost::Message::encode_to_vec(&ExportTraceServiceResponse { partial_success });
    let mut response = b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\n".to_vec();
    response.extend(format!("content-length: {}\r\n\r\n", body.len()).bytes());
    response.extend(body);
    let diagnosis = answered(&response).await;
    assert_eq!(cause(&diagnosis, Step::Collector), "the span was rejected: quota is used up");
}

#[tokio::test]
async fn a_collector_that_wants_credentials() {
    let diagnosis = answered(b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 8\r\n\r\nno token").await;
    let expected = "status 401 Unauthorized: no token; OTEL_EXPORTER_OTLP_HEADERS has the credentials";
    assert_eq!(cause(&diagnosis, Step::Collector), expected);
}

#[tokio::test]
async fn an_answer_that_ends_early() {
    let diagnosis = answered(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nnot a chunk").await;
    assert!(cause(&diagnosis, Step::Collector).starts_with("the answer ended early: "), "{diagnosis}");
}

/// Accepts TLS with a certificate of its own authority, and forwards what it decrypts. A client may have to have the same certificate.
/// Returns the address, and the files of the certificate and its key.
async fn tls_in_front_of(server: SocketAddr, asks_client: bool) -> (SocketAddr, PathBuf, PathBuf) {
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder();
    let config = if asks_client {
        let mut roots = RootCertStore::empty();
        roots.add(cert.der().clone()).unwrap();
        config.with_client_cert_verifier(WebPkiClientVerifier::builder(roots.into()).build().unwrap())
    } else {
        config.with_no_client_auth()
    };
    let mut config = config.with_single_cert(vec![cert.der().clone()], key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut decrypted) = acceptor.accept(stream).await else { return };
                let mut forwarded = TcpStream::connect(server).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut decrypted, &mut forwarded).await;
            });
        }
    });
    let file = |kind: &str, text: String| {
        let name = format!("doctor-{}-{}-{kind}.pem", std::process::id(), address.port());
        let file = std::env::temp_dir().join(name);
        std::fs::write(&file, text).unwrap();
        file
    };
    (address, file("certificate", cert.pem()), file("key", signing_key.serialize_pem()))
}

#[tokio::test]
async fn https_is_checked_with_the_certificates_of_the_environment() {
    let running = start(Server::new()).await;
    for (protocol, server) in [("grpc", running.grpc), ("http/protobuf", running.http)] {
        let (address, file, key) = tls_in_front_of(server, false).await;
        let endpoint = format!("https://localhost:{}", address.port());
        let variables =
            [("OTEL_EXPORTER_OTLP_PROTOCOL", protocol), ("OTEL_EXPORTER_OTLP_ENDPOINT", &*endpoint)];
        let diagnosis = diagnosed(&variables).await;
        let unknown = cause(&diagnosis, Step::Export);
        assert!(unknown.contains("UnknownIssuer; OTEL_EXPORTER_OTLP_CERTIFICATE names"), "{unknown}");

        let trusted = ("OTEL_EXPORTER_OTLP_CERTIFICATE", file.to_str().unwrap());
        let diagnosis = diagnosed(&[variables[0], variables[1], trusted]).await;
        assert_eq!(diagnosis.failure(), None, "{diagnosis}");
        for file in [&file, &key] {
            std::fs::remove_file(file).unwrap();
        }
        let diagnosis = diagnosed(&[variables[0], variables[1], trusted]).await;
        let missing = cause(&diagnosis, Step::Environment);
        assert!(missing.starts_with("OTEL_EXPORTER_OTLP_CERTIFICATE="), "{missing}");
    }
}

#[tokio::test]
async fn a_certificate_of_the_client_is_asked_for() {
    let running = start(Server::new()).await;
    for (protocol, server) in [("grpc", running.grpc), ("http/protobuf", running.http)] {
        let (address, certificate, key) = tls_in_front_of(server, true).await;
        let endpoint = format!("https://localhost:{}", address.port());
        let mut variables = vec![
            ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &*endpoint),
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", certificate.to_str().unwrap()),
        ];
        let diagnosis = diagnosed(&variables).await;
        let cause = cause(&diagnosis, Step::Export);
        assert!(cause.contains("; OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE and "), "{cause}");

        variables.push(("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", certificate.to_str().unwrap()));
        variables.push(("OTEL_EXPORTER_OTLP_CLIENT_KEY", key.to_str().unwrap()));
        let diagnosis = diagnosed(&variables).await;
        assert_eq!(diagnosis.failure(), None, "{diagnosis}");
        for file in [&certificate, &key] {
            std::fs::remove_file(file).unwrap();
        }
    }
}

#[tokio::test]
async fn tls_to_a_port_without_it_is_named() {
    let running = start(Server::new()).await;
    let diagnosis = at("http/protobuf", &format!("https://localhost:{}", running.http.port())).await;
    let cause = cause(&diagnosis, Step::Export);
    assert!(cause.starts_with("TLS with localhost: "), "{cause}");
    assert!(cause.ends_with("the endpoint may begin with http://"), "{cause}");
}

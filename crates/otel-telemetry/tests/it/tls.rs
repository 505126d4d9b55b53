//! Encrypted collectors, over gRPC and HTTP: the authorities that the exporter trusts, and its client certificate.
//!
//! The server is rustls and hyper, with certificates that each test generates.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use otel_telemetry::{Counts, Exporter, OtlpOptions, Protocol, Signal, TelemetryBuilder};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

use crate::support::{end_spans, quiet};

const PROTOCOLS: [Protocol; 2] = [Protocol::Grpc, Protocol::HttpProtobuf];

/// A certificate authority of a test.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its private key, as PEM.
struct Identity {
    certificate: String,
    key: String,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    fn sign(&self) -> Identity {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap().pem();
        Identity { certificate, key: key.serialize_pem() }
    }
}

/// A collector that accepts every request over TLS, and counts the requests.
struct Collector {
    address: SocketAddr,
    requests: Arc<AtomicU64>,
}

impl Collector {
    /// `clients` is the authority of client certificates, which are required if it is set.
    async fn start(authority: &Authority, clients: Option<&Authority>) -> Self {
        let identity = authority.sign();
        let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap();
        let config = match clients {
            Some(clients) => {
                let mut roots = RootCertStore::empty();
                roots.add(CertificateDer::from_pem_slice(clients.pem.as_bytes()).unwrap()).unwrap();
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
                config.with_client_cert_verifier(verifier)
            }
            None => config.with_no_client_auth(),
        };
        let chain = vec![CertificateDer::from_pem_slice(identity.certificate.as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap();
        let mut config = config.with_single_cert(chain, key).unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];

        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&requests);
        tokio::spawn(async move {
            let acceptor = TlsAcceptor::from(Arc::new(config));
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (acceptor, counted) = (acceptor.clone(), Arc::clone(&counted));
                tokio::spawn(async move {
                    // A failed handshake is asserted at the client.
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let app = axum::Router::new().fallback(move |request: Request| {
                        counted.fetch_add(1, Ordering::SeqCst);
                        answer(request)
                    });
                    let _ = auto::Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(app))
                        .await;
                });
            }
        });
        Self { address, requests }
    }

    fn options(&self, protocol: Protocol) -> OtlpOptions {
        OtlpOptions::default()
            .with_protocol(protocol)
            .with_endpoint(format!("https://localhost:{}", self.address.port()))
            .with_timeout(Duration::from_secs(20))
    }
}

/// Returns an empty response, which means success in both protocols.
async fn answer(request: Request) -> Response {
    let is_grpc = request
        .headers()
        .get(CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
    let _ = request.into_body().collect().await;
    if !is_grpc {
        return Response::new(Body::empty());
    }
    let trailers = HeaderMap::from_iter([(
        axum::http::HeaderName::from_static("grpc-status"),
        HeaderValue::from_static("0"),
    )]);
    // An uncompressed, empty message.
    let message = Full::from(&[0_u8; 5][..]).with_trailers(async move { Some(Ok(trailers)) });
    let mut response = Response::new(Body::new(message));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}

/// Ends three spans, shuts down and returns the counts.
async fn export(builder: TelemetryBuilder) -> Counts {
    let telemetry = builder.with_exporter(Signal::Traces, Exporter::Otlp).build().unwrap();
    assert!(telemetry.env_problems().is_empty(), "{:?}", telemetry.env_problems());
    end_spans(&telemetry, 3);
    telemetry.shutdown_within(Duration::from_secs(60)).await.spans
}

#[tokio::test]
async fn only_an_authority_that_is_trusted_will_do() {
    let authority = Authority::new();
    let collector = Collector::start(&authority, None).await;
    for protocol in PROTOCOLS {
        let before = collector.requests.load(Ordering::SeqCst);
        let options = collector.options(protocol);
        let refused = export(quiet().with_otlp(options.clone())).await;
        assert_eq!(refused.accepted, 0, "{protocol:?}: the system does not know this authority");
        let other = Authority::new().pem;
        let refused = export(quiet().with_otlp(options.clone().with_authorities(other))).await;
        assert_eq!(refused.accepted, 0, "{protocol:?}: another one is trusted");
        assert_eq!(collector.requests.load(Ordering::SeqCst), before, "{protocol:?}");

        let options = options.with_authorities(authority.pem.clone());
        assert_eq!(export(quiet().with_otlp(options)).await.accepted, 3, "{protocol:?}");
        assert_eq!(collector.requests.load(Ordering::SeqCst), before + 1, "{protocol:?}");
    }
}

#[tokio::test]
async fn a_client_certificate_is_shown() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let collector = Collector::start(&authority, Some(&clients)).await;
    for protocol in PROTOCOLS {
        let options = collector.options(protocol).with_authorities(authority.pem.clone());
        let refused = export(quiet().with_otlp(options.clone())).await;
        assert_eq!(refused.accepted, 0, "{protocol:?}: without a certificate");
        let Identity { certificate, key } = clients.sign();
        let options = options.with_client_certificate(certificate, key);
        assert_eq!(export(quiet().with_otlp(options)).await.accepted, 3, "{protocol:?}");
    }
}

/// The files of one test, removed when they are dropped.
struct Files(PathBuf);

impl Files {
    fn new(test: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("otel-telemetry-{}-{test}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[tokio::test]
async fn the_environment_names_the_files() {
    let (authority, clients, files) = (Authority::new(), Authority::new(), Files::new("named"));
    let collector = Collector::start(&authority, Some(&clients)).await;
    let Identity { certificate, key } = clients.sign();
    let variables = [
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", files.write("other.pem", &Authority::new().pem)),
        ("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", files.write("authority.pem", &authority.pem)),
        ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", files.write("client.pem", &certificate)),
        ("OTEL_EXPORTER_OTLP_CLIENT_KEY", files.write("client.key", &key)),
    ];
    for protocol in PROTOCOLS {
        let builder = quiet().with_env(variables.clone()).with_otlp(collector.options(protocol));
        assert_eq!(export(builder).await.accepted, 3, "{protocol:?}");
    }
}

#[test]
fn an_unusable_file_is_reported_and_ignored() {
    let files = Files::new("useless");
    let (identity, nothing) = (Authority::new().sign(), files.write("empty.pem", ""));
    let certificate = files.write("client.pem", &identity.certificate);
    let reported = |variables: Vec<(&str, String)>| {
        let telemetry = quiet().with_exporters(Exporter::Otlp).with_env(variables.clone()).build().unwrap();
        let problems = telemetry.env_problems().iter();
        problems.map(|problem| (problem.variable.clone(), problem.choices.clone())).collect::<Vec<_>>()
    };
    for path in ["/not/there".to_owned(), nothing] {
        let [(variable, choices)] = &reported(vec![("OTEL_EXPORTER_OTLP_CERTIFICATE", path)])[..] else {
            panic!("one problem")
        };
        assert_eq!(variable, "OTEL_EXPORTER_OTLP_CERTIFICATE");
        assert!(choices.contains("PEM"), "{choices}");
    }
    let [(variable, choices)] = &reported(vec![("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", certificate)])[..]
    else {
        panic!("one problem")
    };
    assert_eq!(variable, "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE");
    assert!(choices.contains("key"), "{choices}");
}

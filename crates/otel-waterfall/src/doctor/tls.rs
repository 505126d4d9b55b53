//! TLS to the collector: the certificates that the environment names, or else those of the system.
//!
//! Follows [OTLP exporter, "Configuration Options"](https://opentelemetry.io/docs/specs/otel/protocol/exporter/), for the
//! certificate file, client certificate file and client key file.

use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, RootCertStore,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    },
};

use super::environment::Protocol;

/// The client of `https`.
#[derive(Clone, Debug)]
pub(super) struct Tls(Arc<ClientConfig>);

/// A variable and the path that it has.
pub(super) type Named = Option<(String, String)>;

impl Tls {
    /// Reads the files that the variables `CERTIFICATE`, `CLIENT_CERTIFICATE` and `CLIENT_KEY` name. An error names the variable.
    pub(super) fn new(
        protocol: Protocol,
        authorities: Named,
        certificate: Named,
        key: Named,
    ) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        match authorities {
            Some(named) => {
                for authority in certificates(&named)? {
                    roots.add(authority).map_err(|error| wrong(&named, &error))?;
                }
            }
            None => {
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            }
        }
        let config = ClientConfig::builder().with_root_certificates(roots);
        let mut config = match (certificate, key) {
            (None, None) => config.with_no_client_auth(),
            (Some(certificate), Some(key)) => {
                let private = PrivateKeyDer::from_pem_file(&key.1).map_err(|error| wrong(&key, &error))?;
                let identity = config.with_client_auth_cert(certificates(&certificate)?, private);
                identity.map_err(|error| wrong(&key, &error))?
            }
            (Some((name, _)), None) | (None, Some((name, _))) => {
                return Err(format!("{name} needs both a client certificate and its key"));
            }
        };
        config.alpn_protocols =
            vec![if protocol == Protocol::Grpc { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
        Ok(Self(Arc::new(config)))
    }

    pub(super) async fn connect(
        &self,
        host: &str,
        stream: TcpStream,
    ) -> Result<TlsStream<TcpStream>, String> {
        let name = ServerName::try_from(host.to_owned()).map_err(|error| format!("{host}: {error}"))?;
        let connector = TlsConnector::from(Arc::clone(&self.0));
        connector.connect(name, stream).await.map_err(|error| {
            let text = error.to_string();
            let next = if text.contains("UnknownIssuer") {
                "; OTEL_EXPORTER_OTLP_CERTIFICATE names the file of a private authority"
            } else if text.contains("InvalidContentType") {
                "; the peer does not speak TLS: the endpoint may begin with http://"
            } else {
                ""
            };
            format!("TLS with {host}: {text}{next}")
        })
    }
}

fn certificates(named: &(String, String)) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_file_iter(&named.1).and_then(Iterator::collect);
    match certificates {
        Ok(certificates) if certificates.is_empty() => Err(wrong(named, &"it has no certificate")),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(wrong(named, &error)),
    }
}

fn wrong((name, path): &(String, String), error: &dyn std::fmt::Display) -> String {
    format!("{name}={path}: {error}")
}

//! The trusted authorities and the client certificate for an encrypted connection to a collector (feature `tls`).
//!
//! Follows the [OTLP exporter specification](https://opentelemetry.io/docs/specs/otel/protocol/exporter/)
//! (`OTEL_EXPORTER_OTLP_CERTIFICATE`, `_CLIENT_CERTIFICATE`, `_CLIENT_KEY`).

use std::fmt;
use std::io;
use std::sync::Arc;

use hyper_rustls::ConfigBuilderExt;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use tonic::transport::{Certificate, ClientTlsConfig, Identity};

use crate::config::{OtlpOptions, Signal, variables};
use crate::env::Env;

/// Certificates and a private key, as PEM.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Tls {
    /// The trusted authorities; `None` trusts the system's.
    authorities: Option<Vec<u8>>,
    /// The client certificate with its chain, and the private key.
    client: Option<[Vec<u8>; 2]>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The private key is never shown.
        f.debug_struct("Tls")
            .field("authorities", &self.authorities.is_some())
            .field("client", &self.client.is_some())
            .finish()
    }
}

impl OtlpOptions {
    /// Trusts these certificate authorities, as PEM, instead of the system's. Requires the feature `tls`. The file
    /// named by `OTEL_EXPORTER_OTLP_CERTIFICATE` overrides it.
    #[must_use]
    pub fn with_authorities(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.tls.authorities = Some(pem.into());
        self
    }

    /// Sets the client certificate and its private key, both as PEM. Requires the feature `tls`. The files named by
    /// `OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE` and `OTEL_EXPORTER_OTLP_CLIENT_KEY` override them.
    #[must_use]
    pub fn with_client_certificate(
        mut self,
        certificate_pem: impl Into<Vec<u8>>,
        key_pem: impl Into<Vec<u8>>,
    ) -> Self {
        self.tls.client = Some([certificate_pem.into(), key_pem.into()]);
        self
    }
}

impl Tls {
    /// Returns the options of a signal after the overrides from the environment.
    pub(crate) fn resolve(&self, signal: Signal, env: &mut Env) -> Self {
        const CERTIFICATES: &str = "the path of a file with certificates as PEM";
        let authorities = file(signal, "CERTIFICATE", CERTIFICATES, has_certificate, env);
        let certificate = file(signal, "CLIENT_CERTIFICATE", CERTIFICATES, has_certificate, env);
        let key = file(signal, "CLIENT_KEY", "the path of a file with a private key as PEM", has_key, env);
        let client = match (certificate, key) {
            (Some((_, certificate)), Some((_, key))) => Some([certificate, key]),
            (Some((variable, _)), None) | (None, Some((variable, _))) => {
                env.problem(&variable, "(a file)", "set where both the certificate and its key are");
                None
            }
            (None, None) => None,
        };
        Self {
            authorities: authorities.map(|(_, pem)| pem).or_else(|| self.authorities.clone()),
            client: client.or_else(|| self.client.clone()),
        }
    }

    pub(crate) fn for_grpc(&self) -> ClientTlsConfig {
        let config = match &self.authorities {
            Some(pem) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem)),
            None => ClientTlsConfig::new().with_native_roots(),
        };
        match &self.client {
            Some([certificate, key]) => config.identity(Identity::from_pem(certificate, key)),
            None => config,
        }
    }

    pub(crate) fn for_http(&self) -> io::Result<ClientConfig> {
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?;
        let config = match &self.authorities {
            Some(pem) => {
                let mut roots = RootCertStore::empty();
                for certificate in certificates(pem)? {
                    roots.add(certificate).map_err(io::Error::other)?;
                }
                config.with_root_certificates(roots)
            }
            None => config.with_native_roots()?,
        };
        match &self.client {
            Some([certificate, key]) => {
                let key = PrivateKeyDer::from_pem_slice(key).map_err(io::Error::other)?;
                config.with_client_auth_cert(certificates(certificate)?, key).map_err(io::Error::other)
            }
            None => Ok(config.with_no_client_auth()),
        }
    }
}

fn certificates(pem: &[u8]) -> io::Result<Vec<CertificateDer<'static>>> {
    CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(io::Error::other)
}

fn has_certificate(pem: &[u8]) -> bool {
    certificates(pem).is_ok_and(|found| !found.is_empty())
}

fn has_key(pem: &[u8]) -> bool {
    PrivateKeyDer::from_pem_slice(pem).is_ok()
}

/// Returns the variable that is set and the content of the file that it names; an unusable file is a problem.
fn file(
    signal: Signal,
    kind: &str,
    choices: &str,
    is_usable: fn(&[u8]) -> bool,
    env: &mut Env,
) -> Option<(String, Vec<u8>)> {
    let [own, general] = variables(signal, kind);
    let (variable, path) = env.first(&[&own, &general])?;
    match std::fs::read(&path) {
        Ok(pem) if is_usable(&pem) => Some((variable.to_owned(), pem)),
        _ => {
            env.problem(variable, &path, choices);
            None
        }
    }
}

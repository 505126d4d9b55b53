//! What an encrypted connection to a collector trusts and shows.
//!
//! Follows the [OTLP exporter specification](https://opentelemetry.io/docs/specs/otel/protocol/exporter/)
//! (`OTEL_EXPORTER_OTLP_CERTIFICATE`, `_CLIENT_CERTIFICATE`, `_CLIENT_KEY`). Only with the feature `tls`.

use std::fmt;
use std::io;
use std::sync::Arc;

use hyper_rustls::ConfigBuilderExt;
use opentelemetry_otlp::tonic_types::transport::{Certificate, ClientTlsConfig, Identity};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use crate::config::{OtlpOptions, Signal, variables};
use crate::env::Env;

/// Certificates and a key, as PEM.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Tls {
    /// The authorities that are trusted; the system's if there are none.
    authorities: Option<Vec<u8>>,
    /// The certificate, with those between it and its authority, that is shown to the collector, and its key.
    client: Option<[Vec<u8>; 2]>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Never the key.
        f.debug_struct("Tls")
            .field("authorities", &self.authorities.is_some())
            .field("client", &self.client.is_some())
            .finish()
    }
}

impl OtlpOptions {
    /// Trusts these certificate authorities, as PEM, instead of the system's. Needs the feature `tls`. The file that
    /// `OTEL_EXPORTER_OTLP_CERTIFICATE` names overrides it.
    #[must_use]
    pub fn with_authorities(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.tls.authorities = Some(pem.into());
        self
    }

    /// Shows this certificate to the collector, with its key, both as PEM. Needs the feature `tls`. The files that
    /// `OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE` and `OTEL_EXPORTER_OTLP_CLIENT_KEY` name override them.
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
    /// What counts for a signal once the environment has been asked.
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

/// The file that a variable names, and the variable; a file that is of no use is a problem.
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

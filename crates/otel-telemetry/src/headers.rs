//! The headers of an export: those that the options and the environment of the set-up name, and no others.
//!
//! The exporters read the headers of the [OTLP exporter
//! specification](https://opentelemetry.io/docs/specs/otel/protocol/exporter/) from the environment of the process a second
//! time, with a parser of their own, which sends malformed entries. So the headers are replaced where a request leaves.

use async_trait::async_trait;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, Request, Response};
use opentelemetry_http::{Bytes, HttpClient, HttpError};
use opentelemetry_otlp::tonic_types::metadata::MetadataMap;

/// A client that sends the requests of an exporter with these headers.
#[derive(Debug)]
pub(crate) struct WithHeaders<C> {
    pub(crate) client: C,
    pub(crate) headers: HeaderMap,
}

#[async_trait]
impl<C: HttpClient> HttpClient for WithHeaders<C> {
    async fn send_bytes(&self, mut request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        replace(request.headers_mut(), &self.headers);
        self.client.send_bytes(request).await
    }
}

/// Returns the interceptor that gives the requests of an exporter these headers.
pub(crate) fn interceptor(
    headers: HeaderMap,
) -> impl FnMut(tonic::Request<()>) -> Result<tonic::Request<()>, tonic::Status> + Clone {
    move |mut request| {
        let mut replaced = std::mem::take(request.metadata_mut()).into_headers();
        replace(&mut replaced, &headers);
        *request.metadata_mut() = MetadataMap::from_headers(replaced);
        Ok(request)
    }
}

/// Replaces the headers of a request, except for those that describe its body and the exporter.
fn replace(request: &mut HeaderMap, headers: &HeaderMap) {
    let mut given = std::mem::take(request);
    for name in [CONTENT_TYPE, CONTENT_ENCODING, USER_AGENT] {
        if let Some(value) = given.remove(&name) {
            request.insert(name, value);
        }
    }
    if request.get(USER_AGENT).is_some_and(|agent| !agent.as_bytes().starts_with(b"OTel-OTLP-Exporter-")) {
        request.remove(USER_AGENT);
    }
    for (name, value) in headers {
        request.insert(name, value.clone());
    }
}

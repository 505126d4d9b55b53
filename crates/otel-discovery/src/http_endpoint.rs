//! The service of one HTTP endpoint: the request goes to its address and keeps the name of the service.
//!
//! Follows [RFC 9110, section 7.2](https://www.rfc-editor.org/rfc/rfc9110#section-7.2): `Host` is the authority that the caller wants.

use std::task::{Context as TaskContext, Poll};

use http::header::HOST;
use http::uri::{Authority, Scheme};
use http::{HeaderValue, Request, Uri};
use tower_service::Service;

use crate::endpoint::Endpoint;

/// The service of one HTTP endpoint, on a client that sends a request to the authority of its URI, such as hyper's.
///
/// The authority of a request, the name of the service, becomes its `Host` header, unless it has one.
#[derive(Clone, Debug)]
pub struct HttpEndpoint<S> {
    inner: S,
    authority: Authority,
}

impl<S> HttpEndpoint<S> {
    /// Sends the requests to this endpoint.
    #[must_use]
    pub fn new(inner: S, endpoint: &Endpoint) -> Self {
        Self { inner, authority: endpoint.authority().clone() }
    }
}

impl<S, B> Service<Request<B>> for HttpEndpoint<S>
where
    S: Service<Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> S::Future {
        let mut parts = std::mem::take(request.uri_mut()).into_parts();
        let name = parts.authority.replace(self.authority.clone());
        parts.scheme.get_or_insert(Scheme::HTTP);
        if parts.path_and_query.is_none() {
            parts.path_and_query = Some(http::uri::PathAndQuery::from_static("/"));
        }
        // All parts were part of a URI before.
        *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
        if let Some(name) = name
            && let Some((_, host)) = name.as_str().rsplit_once('@').or(Some(("", name.as_str())))
            && let Ok(host) = HeaderValue::from_str(host)
        {
            request.headers_mut().entry(HOST).or_insert(host);
        }
        self.inner.call(request)
    }
}

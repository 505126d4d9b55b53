//! `ClientLayer` as a `reqwest-middleware` middleware.
//!
//! Follows the [HTTP semantic conventions](https://opentelemetry.io/docs/specs/semconv/http/http-spans/), "HTTP
//! client" and "HTTP request retries and redirects": inside a retry middleware each attempt has a span. Redirects
//! that reqwest follows itself are invisible to middleware and belong to one span.

use http::Extensions;
use otel_request::{RequestScope, ResendCounter, start_client};
use reqwest::{Body, Request, Response, ResponseBuilderExt};
use reqwest_middleware::{Middleware, Next, Result};

use crate::ClientLayer;
use crate::client::ClientState;
use crate::sizes::{CountedBody, RequestSize};

#[async_trait::async_trait]
impl Middleware for ClientLayer {
    async fn handle(
        &self,
        mut request: Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> Result<Response> {
        extensions.get_or_insert_default::<ResendCounter>();
        let mut head = http::Request::new(());
        *head.method_mut() = request.method().clone();
        *head.version_mut() = request.version();
        std::mem::swap(head.headers_mut(), request.headers_mut());
        // An invalid URI is ignored here: reqwest converts the URL itself later and reports its own error.
        *head.uri_mut() = request.url().as_str().parse().unwrap_or_default();
        // A copy: what the start adds is of this attempt alone.
        *head.extensions_mut() = extensions.clone();
        let mut scope = start_client(&self.instrumentation, &mut head);
        std::mem::swap(head.headers_mut(), request.headers_mut());
        if let Some(state) = scope.observer_mut() {
            state.observe_request(|| observe_body(&mut request));
        }
        match scope.run(next.run(request, extensions)).await {
            Ok(response) => Ok(respond(response, scope)),
            Err(error) => {
                match &error {
                    reqwest_middleware::Error::Reqwest(error) => scope.fail(error),
                    error => scope.fail(error),
                }
                Err(error)
            }
        }
    }
}

/// Counts a streamed body. One in memory stays as it is, because reqwest sends it again after a redirect.
fn observe_body(request: &mut Request) -> RequestSize {
    let Some(body) = request.body_mut() else { return RequestSize::Known(Some(0)) };
    if let Some(bytes) = body.as_bytes() {
        return RequestSize::Known(Some(bytes.len() as u64));
    }
    let (counted, size) = CountedBody::new(std::mem::take(body));
    *body = Body::wrap(counted);
    size
}

/// Ends the call with its head, or with its body where the options need it: only then is the body wrapped.
fn respond(response: Response, mut scope: RequestScope<ClientState>) -> Response {
    if !scope.observer_mut().is_some_and(|state| state.observes_body()) {
        let mut shown = http::Response::new(String::new());
        *shown.status_mut() = response.status();
        *shown.version_mut() = response.version();
        *shown.headers_mut() = response.headers().clone();
        scope.finish_at_head(&shown);
        return response;
    }
    // The conversion drops the URL, and the one back reads it from an extension.
    let url = http::Response::builder().url(response.url().clone()).body(());
    let mut response = http::Response::<Body>::from(response);
    if let Ok(url) = url {
        response.extensions_mut().extend(url.into_parts().0.extensions);
    }
    scope.respond(response).map(Body::wrap).into()
}

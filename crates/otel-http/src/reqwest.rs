//! `ClientLayer` as a `reqwest-middleware` middleware.
//!
//! Follows the [HTTP semantic conventions](https://opentelemetry.io/docs/specs/semconv/http/http-spans/), "HTTP
//! client" and "HTTP request retries and redirects": inside a retry middleware each attempt has a span. Redirects
//! that reqwest follows itself are invisible to middleware and belong to one span.

use http::Extensions;
use opentelemetry::Context;
use opentelemetry::trace::FutureExt;
use otel_request::ResendCounter;
use reqwest::{Request, Response};
use reqwest_middleware::{Error, Middleware, Next, Result};

use crate::client::{ClientRecord, UrlTemplate};
use crate::{ClientLayer, EndOn, outcome};

#[async_trait::async_trait]
impl Middleware for ClientLayer {
    async fn handle(
        &self,
        mut request: Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> Result<Response> {
        let attempts = extensions.get_or_insert_default::<ResendCounter>().clone();
        let mut head = http::Request::new(());
        *head.method_mut() = request.method().clone();
        *head.version_mut() = request.version();
        std::mem::swap(head.headers_mut(), request.headers_mut());
        // An invalid URI is ignored here: reqwest converts the URL itself later and reports its own error.
        *head.uri_mut() = request.url().as_str().parse().unwrap_or_default();
        head.extensions_mut().insert(attempts);
        if let Some(template) = extensions.get::<UrlTemplate>() {
            head.extensions_mut().insert(template.clone());
        }
        if let Some(parent) = extensions.get::<Context>() {
            head.extensions_mut().insert(parent.clone());
        }
        let operation = self.start(&mut head);
        std::mem::swap(head.headers_mut(), request.headers_mut());
        let Some(mut operation) = operation else { return next.run(request, extensions).await };
        let context = operation.context().clone();
        match next.run(request, extensions).with_context(context).await {
            Ok(response) => {
                let mut shown = http::Response::new(());
                *shown.status_mut() = response.status();
                *shown.version_mut() = response.version();
                *shown.headers_mut() = response.headers().clone();
                // reqwest's response does not expose its body, so that the end of the body cannot be observed.
                ClientRecord::respond(&mut operation, &shown, EndOn::Head);
                ClientRecord::finish(operation);
                Ok(response)
            }
            Err(error) => {
                let outcome = match &error {
                    Error::Reqwest(error) => outcome::of_error(error),
                    Error::Middleware(_) => outcome::of_error(&error),
                };
                operation.finish(&outcome);
                Err(error)
            }
        }
    }
}

//! `ClientLayer` as a `reqwest-middleware` middleware.
//!
//! Follows the [HTTP semantic conventions](https://opentelemetry.io/docs/specs/semconv/http/http-spans/), "HTTP
//! client" and "HTTP request retries and redirects": inside a retry middleware each attempt has a span. Redirects
//! that reqwest follows itself are invisible to middleware and belong to one span.

use std::future::poll_fn;
use std::pin::pin;

use http::Extensions;
use opentelemetry::Context;
use otel_request::{ResendCounter, start_client};
use reqwest::{Request, Response};
use reqwest_middleware::{Middleware, Next, Result};

use crate::ClientLayer;
use crate::client::UrlTemplate;

#[async_trait::async_trait]
impl Middleware for ClientLayer {
    async fn handle(
        &self,
        mut request: Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> Result<Response> {
        let resends = extensions.get_or_insert_default::<ResendCounter>().clone();
        let mut head = http::Request::new(());
        *head.method_mut() = request.method().clone();
        *head.version_mut() = request.version();
        std::mem::swap(head.headers_mut(), request.headers_mut());
        // An invalid URI is ignored here: reqwest converts the URL itself later and reports its own error.
        *head.uri_mut() = request.url().as_str().parse().unwrap_or_default();
        head.extensions_mut().insert(resends);
        if let Some(template) = extensions.get::<UrlTemplate>() {
            head.extensions_mut().insert(template.clone());
        }
        if let Some(parent) = extensions.get::<Context>() {
            head.extensions_mut().insert(parent.clone());
        }
        let mut scope = start_client(&self.instrumentation, &mut head);
        std::mem::swap(head.headers_mut(), request.headers_mut());
        if let Some(state) = scope.observer_mut() {
            // reqwest's response does not expose its body, so that the end of the body cannot be observed.
            state.end_at_head();
        }
        let output = {
            let mut inner = pin!(next.run(request, extensions));
            poll_fn(|cx| {
                let entered = scope.enter();
                let output = inner.as_mut().poll(cx);
                entered.exit();
                output
            })
            .await
        };
        match &output {
            Ok(response) => {
                let mut shown = http::Response::new(String::new());
                *shown.status_mut() = response.status();
                *shown.version_mut() = response.version();
                *shown.headers_mut() = response.headers().clone();
                scope.finish_at_head(&shown);
            }
            Err(reqwest_middleware::Error::Reqwest(error)) => scope.fail(error),
            Err(error) => scope.fail(error),
        }
        output
    }
}

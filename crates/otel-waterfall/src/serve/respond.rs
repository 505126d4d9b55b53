//! The server's resources: the page and its data, and OTLP.

use std::{convert::Infallible, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::body::Incoming;
use opentelemetry::trace::TraceId;

use super::{
    Shared, guard,
    receive::{Problem, Signal, receive, receive_grpc},
};
use crate::page::{document, policy};

pub(super) type Body = UnsyncBoxBody<Bytes, Infallible>;

/// Percent-encoding of gRPC messages leaves these out.
const PLAIN: std::ops::RangeInclusive<u8> = 0x20..=0x7e;

pub(super) async fn respond(
    request: Request<Incoming>,
    shared: Arc<Shared>,
) -> Result<Response<Body>, Infallible> {
    if let Some(reason) = guard::refusal(request.uri(), request.headers()) {
        return Ok(text(StatusCode::FORBIDDEN, reason));
    }
    let is_grpc = request
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|content| content.as_bytes().starts_with(b"application/grpc"));
    let path = request.uri().path().to_owned();
    if is_grpc {
        return Ok(grpc(request, &path, &shared).await);
    }
    Ok(match (request.method(), &*path) {
        (&Method::GET, "/") => page(),
        (&Method::GET, "/changes") => {
            let after = request.uri().query().and_then(|query| query.strip_prefix("after=")).unwrap_or("0");
            match after.parse() {
                Ok(after) => json(shared.store().changes(after, shared.started)),
                Err(_) => text(StatusCode::BAD_REQUEST, "`after` is not a number"),
            }
        }
        (&Method::GET, path) if path.starts_with("/trace/") => {
            let id = TraceId::from_hex(&path["/trace/".len()..]).ok();
            match id.and_then(|id| shared.store().trace(id)) {
                Some(trace) => json(trace),
                None => text(StatusCode::NOT_FOUND, "the trace is unknown or was forgotten"),
            }
        }
        (&Method::GET, "/favicon.ico") => response(StatusCode::NO_CONTENT, "text/plain", String::new()),
        (method, path) => match Signal::from_path(path) {
            Some(signal) if method == Method::POST => match receive(signal, request, &shared).await {
                Ok((content_type, body)) => with_type(StatusCode::OK, content_type, body),
                Err(problem) => text(problem.status(), &problem.to_string()),
            },
            Some(_) => text(StatusCode::METHOD_NOT_ALLOWED, "OTLP is sent by POST"),
            None => text(
                StatusCode::NOT_FOUND,
                "nothing is here; OTLP over HTTP goes to /v1/traces, /v1/logs, /v1/metrics",
            ),
        },
    })
}

/// Answers a unary call; errors are in the trailers of a response without a body.
async fn grpc(request: Request<Incoming>, path: &str, shared: &Shared) -> Response<Body> {
    let result = match Signal::from_grpc_path(path) {
        Some(signal) => receive_grpc(signal, request, shared).await,
        None => Err(Problem::UnknownMethod),
    };
    let mut response = Response::new(Body::default());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    match result {
        Ok(message) => {
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", HeaderValue::from_static("0"));
            let body = Full::new(frame(&message)).with_trailers(std::future::ready(Some(Ok(trailers))));
            *response.body_mut() = body.boxed_unsync();
        }
        Err(problem) => {
            let headers = response.headers_mut();
            headers.insert("grpc-status", HeaderValue::from(problem.grpc_status()));
            let message: String = problem
                .to_string()
                .bytes()
                .map(|b| {
                    if PLAIN.contains(&b) && b != b'%' {
                        char::from(b).to_string()
                    } else {
                        format!("%{b:02X}")
                    }
                })
                .collect();
            if let Ok(message) = HeaderValue::from_str(&message) {
                headers.insert("grpc-message", message);
            }
        }
    }
    response
}

/// A message with the prefix of gRPC: not compressed, and its length.
pub(crate) fn frame(message: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(5 + message.len());
    out.push(0);
    out.extend((message.len() as u32).to_be_bytes());
    out.extend(message);
    out.into()
}

fn page() -> Response<Body> {
    let mut response =
        response(StatusCode::OK, "text/html; charset=utf-8", document("{\"live\":true}", "'self'"));
    let policy = format!("{}; frame-ancestors 'none'", policy("'self'"));
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    response
}

fn json(body: String) -> Response<Body> {
    response(StatusCode::OK, "application/json", body)
}

fn text(status: StatusCode, message: &str) -> Response<Body> {
    response(status, "text/plain; charset=utf-8", format!("{message}\n"))
}

fn response(status: StatusCode, content_type: &'static str, body: String) -> Response<Body> {
    with_type(status, content_type, body.into())
}

fn with_type(status: StatusCode, content_type: &'static str, body: Bytes) -> Response<Body> {
    let mut response = Response::new(Full::new(body).boxed_unsync());
    *response.status_mut() = status;
    for (name, value) in [
        (header::CONTENT_TYPE, content_type),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (http::HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

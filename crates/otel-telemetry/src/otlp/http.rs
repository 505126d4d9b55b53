//! OTLP over HTTP, with binary Protobuf.
//!
//! Follows [OTLP/HTTP](https://opentelemetry.io/docs/specs/otlp/#otlphttp) of the OTLP specification.

use std::io::Write;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use flate2::write::GzEncoder;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri};
use hyper_util::client::legacy::connect::HttpConnector;
use opentelemetry_http::hyper::HyperClient;
use opentelemetry_http::{HttpClient, ResponseBodyTooLarge};
use prost::Message;

use super::backoff::Retry;
use super::sender::{Attempt, Rejection, Transport, one_line};
use crate::config::{Otlp, Signal};
use crate::error::SetupError;
use crate::status::chain;
use crate::telemetry::LONGEST;

struct Http {
    client: Box<dyn HttpClient>,
    endpoint: Uri,
    headers: HeaderMap,
    gzip: bool,
}

pub(super) fn transport(
    otlp: &Otlp,
    signal: Signal,
    mut headers: HeaderMap,
) -> Result<Box<dyn Transport>, SetupError> {
    let endpoint =
        otlp.endpoint.parse().map_err(|error| SetupError::Exporter { signal, source: Box::new(error) })?;
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
    if otlp.gzip {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    Ok(Box::new(Http { client: client(otlp)?, endpoint, headers, gzip: otlp.gzip }))
}

/// Returns a client without a timeout, because the caller limits each attempt.
fn client(otlp: &Otlp) -> Result<Box<dyn HttpClient>, SetupError> {
    if !otlp.is_encrypted() {
        return Ok(Box::new(HyperClient::new(HttpConnector::new(), LONGEST, None)));
    }
    #[cfg(feature = "tls")]
    {
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_tls_config(otlp.tls.for_http().map_err(SetupError::Tls)?)
            .https_only()
            .enable_http1()
            .build();
        Ok(Box::new(HyperClient::new(connector, LONGEST, None)))
    }
    #[cfg(not(feature = "tls"))]
    Err(SetupError::Tls(std::io::Error::new(
        std::io::ErrorKind::Unsupported,
        "an https endpoint needs the feature `tls`",
    )))
}

impl Transport for Http {
    fn attempt(&self, body: Bytes) -> Attempt<'_> {
        Box::pin(async move {
            let body = if self.gzip { compressed(&body).map_err(|error| never(&error))? } else { body };
            let mut request = Request::new(body);
            *request.method_mut() = http::Method::POST;
            *request.uri_mut() = self.endpoint.clone();
            *request.headers_mut() = self.headers.clone();
            let response = self.client.send_bytes(request).await.map_err(|error| {
                let is_too_large = error.is::<ResponseBodyTooLarge>();
                let retry = if is_too_large { Retry::Never } else { Retry::Backoff };
                Rejection { cause: chain(&*error), retry }
            })?;
            if response.status().is_success() {
                return Ok(response.into_body());
            }
            Err(rejection(&response))
        })
    }
}

fn compressed(body: &[u8]) -> std::io::Result<Bytes> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 4), flate2::Compression::default());
    encoder.write_all(body)?;
    Ok(encoder.finish()?.into())
}

fn never(error: &std::io::Error) -> Rejection {
    Rejection { cause: format!("compression failed: {error}"), retry: Retry::Never }
}

fn rejection(response: &Response<Bytes>) -> Rejection {
    let status = response.status();
    let retry = match status {
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            let delay = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
            delay.and_then(|delay| retry_after(delay, SystemTime::now())).map_or(Retry::Backoff, Retry::After)
        }
        StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT => Retry::Backoff,
        _ => Retry::Never,
    };
    let mut cause = format!("HTTP status {status}");
    let message = message(response);
    if !message.is_empty() {
        cause = format!("{cause}: {message}");
    }
    Rejection { cause, retry }
}

/// Returns the delay of a `Retry-After` header: seconds or a date.
fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

/// Returns the collector's message: that of the `google.rpc.Status` in the body, else the body if it is text.
fn message(response: &Response<Bytes>) -> String {
    let is_protobuf = response
        .headers()
        .get(CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/x-protobuf"));
    let text = if is_protobuf {
        tonic_types::Status::decode(response.body().clone()).map(|status| status.message).unwrap_or_default()
    } else {
        String::from_utf8(response.body().to_vec()).unwrap_or_default()
    };
    one_line(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, headers: &[(&'static str, &str)], body: impl Into<Bytes>) -> Rejection {
        let mut response = Response::new(body.into());
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        for (name, value) in headers {
            response.headers_mut().insert(*name, value.parse().unwrap());
        }
        rejection(&response)
    }

    /// The table "Retryable Response Codes" of the OTLP specification.
    #[test]
    fn retryable_status_codes() {
        let retryable: Vec<_> =
            (300..600).filter(|status| answer(*status, &[], "").retry != Retry::Never).collect();
        assert_eq!(retryable, [429, 502, 503, 504]);
        let seconds = [("retry-after", "7")];
        assert_eq!(answer(503, &seconds, "").retry, Retry::After(Duration::from_secs(7)));
        assert_eq!(answer(429, &seconds, "").retry, Retry::After(Duration::from_secs(7)));
        assert_eq!(answer(502, &seconds, "").retry, Retry::Backoff);
        assert_eq!(answer(400, &seconds, "").retry, Retry::Never);
        assert_eq!(answer(503, &[("retry-after", "soon")], "").retry, Retry::Backoff);
    }

    #[test]
    fn a_date_is_a_delay_from_now() {
        let now = httpdate::parse_http_date("Fri, 31 Dec 1999 23:59:00 GMT").unwrap();
        let delay = |text| retry_after(text, now);
        assert_eq!(delay("Fri, 31 Dec 1999 23:59:30 GMT"), Some(Duration::from_secs(30)));
        assert_eq!(delay("Fri, 31 Dec 1999 23:58:00 GMT"), Some(Duration::ZERO));
        assert_eq!(delay(" 12 "), Some(Duration::from_secs(12)));
        assert_eq!(delay("-1"), None);
    }

    #[test]
    fn the_message_is_read_from_protobuf_and_from_text_and_is_bounded() {
        let status = tonic_types::Status { code: 3, message: "no such tenant".into(), details: Vec::new() };
        let protobuf = [("content-type", "application/x-protobuf")];
        let rejection = answer(400, &protobuf, status.encode_to_vec());
        assert_eq!(rejection.cause, "HTTP status 400 Bad Request: no such tenant");
        assert_eq!(
            answer(404, &[], "404 page\nnot found\n").cause,
            "HTTP status 404 Not Found: 404 page not found"
        );
        assert_eq!(answer(500, &[], vec![0xff]).cause, "HTTP status 500 Internal Server Error");
        let long = answer(500, &[], "é".repeat(1000)).cause;
        assert!(long.len() < 350, "{}", long.len());
        assert_eq!(
            answer(400, &[], "\u{1b}[31mred\u{7}bell").cause,
            "HTTP status 400 Bad Request: [31mred bell"
        );
    }
}

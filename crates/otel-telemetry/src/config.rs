//! The options of signals and exporters: settings in code, and their overrides from the environment.
//!
//! Follows the [OTLP exporter specification](https://opentelemetry.io/docs/specs/otel/protocol/exporter/) and the
//! specification of [environment
//! variables](https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/), with one exception:
//! the environment takes precedence over code, because operators decide after authors.

mod limits;

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use http::Uri;
use serde::Serialize;

use crate::batch::BatchOptions;
pub(crate) use crate::config::limits::span_limits;
use crate::env::{Env, timeout};
#[cfg(feature = "tls")]
use crate::tls::Tls;

/// One of the three kinds of telemetry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Signal {
    /// Spans.
    Traces,
    /// Metrics.
    Metrics,
    /// Log records.
    Logs,
}

impl Signal {
    pub(crate) const ALL: [Self; 3] = [Self::Metrics, Self::Traces, Self::Logs];

    /// Returns the name as used in environment variables.
    fn upper(self) -> &'static str {
        match self {
            Self::Traces => "TRACES",
            Self::Metrics => "METRICS",
            Self::Logs => "LOGS",
        }
    }

    /// Returns the name as used in paths and messages.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Traces => "traces",
            Self::Metrics => "metrics",
            Self::Logs => "logs",
        }
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The destination of a signal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Exporter {
    /// A collector, over OTLP. The value of the environment variable is `otlp`.
    #[default]
    Otlp,
    /// A collector if one of the endpoint variables of the environment is set, else none; for development.
    OtlpIfConfigured,
    /// The standard output, for development; its format may change. The value of the environment variable is
    /// `console`.
    Stdout,
    /// No destination. The value of the environment variable is `none`.
    None,
}

/// The transport of OTLP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Protocol {
    /// `grpc`; port 4317 by default.
    Grpc,
    /// `http/protobuf`; port 4318 by default.
    #[default]
    HttpProtobuf,
}

/// OTLP options for all signals. The environment can override each value, for all signals or for one.
#[derive(Clone)]
#[non_exhaustive]
pub struct OtlpOptions {
    protocol: Protocol,
    endpoint: Option<String>,
    headers: Vec<(String, String)>,
    timeout: Duration,
    retry_for: Duration,
    gzip: bool,
    #[cfg(feature = "tls")]
    pub(crate) tls: Tls,
}

impl fmt::Debug for OtlpOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // No header values and no endpoint: headers carry credentials, and the URL may.
        f.debug_struct("OtlpOptions")
            .field("protocol", &self.protocol)
            .field("headers", &self.headers.iter().map(|(name, _)| name).collect::<Vec<_>>())
            .field("timeout", &self.timeout)
            .field("retry_for", &self.retry_for)
            .field("gzip", &self.gzip)
            .finish_non_exhaustive()
    }
}

impl Default for OtlpOptions {
    /// Returns `http/protobuf` to the local host, no headers, no compression, 10 seconds an attempt, retries for one
    /// minute.
    fn default() -> Self {
        Self {
            protocol: Protocol::default(),
            endpoint: None,
            headers: Vec::new(),
            timeout: Duration::from_secs(10),
            retry_for: Duration::from_secs(60),
            gzip: false,
            #[cfg(feature = "tls")]
            tls: Tls::default(),
        }
    }
}

impl OtlpOptions {
    /// Sets the transport. `OTEL_EXPORTER_OTLP_PROTOCOL` overrides it.
    #[must_use]
    pub fn with_protocol(mut self, protocol: Protocol) -> Self {
        self.protocol = protocol;
        self
    }

    /// Sets the base URL of the collector, such as `http://collector:4318`; over HTTP, the path of the signal
    /// (`/v1/traces`, `/v1/metrics`, `/v1/logs`) is appended. `https` requires the feature `tls`. Over gRPC it can be a
    /// bare `host:port`, which is not encrypted. `OTEL_EXPORTER_OTLP_ENDPOINT` overrides it.
    #[must_use]
    pub fn with_endpoint(mut self, url: impl Into<String>) -> Self {
        self.endpoint = Some(url.into());
        self
    }

    /// Adds a header, or gRPC metadata entry, to each request. A header with the same name in
    /// `OTEL_EXPORTER_OTLP_HEADERS` overrides it.
    #[must_use]
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Sets the timeout of one attempt to send a request; zero is indefinite. Default: 10 seconds.
    /// `OTEL_EXPORTER_OTLP_TIMEOUT` overrides it.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets the time for which a batch that failed is sent again, with [exponential
    /// back-off](https://opentelemetry.io/docs/specs/otel/protocol/exporter/#retry) or as the collector asks. Default:
    /// one minute. Zero disables retries. Only transient failures are retried, such as a lost connection, HTTP status
    /// 503 and gRPC status UNAVAILABLE. A batch that waits for a retry is dropped earlier if the queue becomes full,
    /// because it is the oldest. Metrics are retried within the timeout of their export.
    #[must_use]
    pub fn with_retry_for(mut self, time: Duration) -> Self {
        self.retry_for = time;
        self
    }

    /// Enables compression of requests. `OTEL_EXPORTER_OTLP_COMPRESSION` overrides it.
    #[must_use]
    pub fn with_gzip(mut self, gzip: bool) -> Self {
        self.gzip = gzip;
        self
    }

    /// Returns the options of a signal after the overrides from the environment.
    ///
    /// # Errors
    ///
    /// Returns the reason why the signal is not exported: the environment's endpoint is invalid. No other endpoint
    /// replaces it, because the data may not be meant for that one.
    pub(crate) fn resolve(&self, signal: Signal, env: &mut Env) -> Result<Otlp, String> {
        let [own, general] = variables(signal, "PROTOCOL");
        let protocols = [("grpc", Protocol::Grpc), ("http/protobuf", Protocol::HttpProtobuf)];
        let protocol = env
            .choice(&own, &protocols)
            .or_else(|| env.choice(&general, &protocols))
            .unwrap_or(self.protocol);
        let endpoint = self.endpoint(signal, protocol, env);
        let [own, general] = variables(signal, "HEADERS");
        let mut headers: HashMap<_, _> =
            self.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone())).collect();
        headers.extend(env.headers(&[&own, &general]));
        let [own, general] = variables(signal, "TIMEOUT");
        let in_env = env.timeout(&own).or_else(|| env.timeout(&general));
        let [own, general] = variables(signal, "COMPRESSION");
        let compressions = [("gzip", true), ("none", false)];
        let gzip = env.choice(&own, &compressions).or_else(|| env.choice(&general, &compressions));
        #[cfg(feature = "tls")]
        let tls = self.tls.resolve(signal, env);
        let (endpoint, is_in_env) = endpoint?;
        Ok(Otlp {
            protocol,
            endpoint,
            headers,
            timeout: in_env.unwrap_or_else(|| timeout(self.timeout)),
            retry_for: self.retry_for,
            gzip: gzip.unwrap_or(self.gzip),
            is_in_env,
            #[cfg(feature = "tls")]
            tls,
        })
    }

    /// Returns the endpoint, and true if it comes from the environment.
    fn endpoint(&self, signal: Signal, protocol: Protocol, env: &mut Env) -> Result<(String, bool), String> {
        let [own, general] = variables(signal, "INSECURE");
        let insecure = env.flag(&own).or_else(|| env.flag(&general)).unwrap_or(true);
        let with_scheme = |url: String| match protocol {
            // Over gRPC an endpoint may be a bare `host:port`, which is not encrypted, as the default endpoint is not,
            // unless the `INSECURE` variable is set to false.
            Protocol::Grpc if !url.contains("://") && !url.starts_with("unix:") => {
                format!("{}://{url}", if insecure { "http" } else { "https" })
            }
            _ => url,
        };
        let [own, general] = variables(signal, "ENDPOINT");
        let in_env = env.first(&[&own, &general]).map(|(variable, url)| (variable, with_scheme(url)));
        let is_in_env = in_env.is_some();
        let base = match in_env {
            Some((variable, url)) if is_usable(&url, protocol) => {
                if variable == own {
                    return Ok((url, true));
                }
                Some(url)
            }
            Some((variable, url)) => {
                // The part before an `@` is credentials, and a query can have some.
                let shown = if url.contains(['@', '?']) { "(not shown)" } else { &url };
                env.problem_with_effect(variable, shown, URLS, "the export is off");
                return Err(format!("not exported, because {variable} is not a valid endpoint"));
            }
            None => self.endpoint.clone().map(with_scheme),
        };
        let endpoint = match protocol {
            Protocol::Grpc => base.unwrap_or_else(|| "http://localhost:4317".into()),
            Protocol::HttpProtobuf => {
                let base = base.unwrap_or_else(|| "http://localhost:4318".into());
                let (base, _fragment) = base.split_once('#').unwrap_or((&base, ""));
                let query = base.find('?').unwrap_or(base.len());
                let (path, query) = base.split_at(query);
                format!("{}/v1/{}{query}", path.trim_end_matches('/'), signal.name())
            }
        };
        Ok((endpoint, is_in_env))
    }
}

/// The description of valid endpoints, for errors.
pub(crate) const URLS: &str = if cfg!(feature = "tls") {
    "a URL like http://collector:4318 or https://collector:4318"
} else {
    "a URL like http://collector:4318; https needs the feature `tls` of otel-telemetry"
};

/// Returns true for an endpoint to which the signal can be sent.
pub(crate) fn is_usable(url: &str, protocol: Protocol) -> bool {
    // `Uri` cannot parse the path of a Unix socket.
    if protocol == Protocol::Grpc && url.starts_with("unix:") {
        return true;
    }
    let Ok(url) = url.parse::<Uri>() else { return false };
    let is_scheme =
        url.scheme_str() == Some("http") || cfg!(feature = "tls") && url.scheme_str() == Some("https");
    is_scheme
        && url.authority().is_some_and(|authority| {
            let host = authority.host();
            // A port above 65,535 is text of the authority, and would silently count as the default of the scheme.
            !host.is_empty() && (authority.as_str().ends_with(host) || authority.port_u16().is_some())
        })
}

/// Returns the signal's own variable of a kind, and the one for all signals.
pub(crate) fn variables(signal: Signal, kind: &str) -> [String; 2] {
    [format!("OTEL_EXPORTER_OTLP_{}_{kind}", signal.upper()), format!("OTEL_EXPORTER_OTLP_{kind}")]
}

/// The resolved OTLP options of one signal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Otlp {
    pub(crate) protocol: Protocol,
    pub(crate) endpoint: String,
    pub(crate) headers: HashMap<String, String>,
    pub(crate) timeout: Duration,
    pub(crate) retry_for: Duration,
    pub(crate) gzip: bool,
    /// True if the environment sets the endpoint.
    pub(crate) is_in_env: bool,
    #[cfg(feature = "tls")]
    pub(crate) tls: Tls,
}

impl Otlp {
    /// Returns the endpoint without credentials, query and fragment.
    pub(crate) fn shown_endpoint(&self) -> String {
        let (scheme, rest) = self.endpoint.split_once("://").unwrap_or(("", &self.endpoint));
        let rest = rest.split(['?', '#']).next().unwrap_or_default();
        let authority = rest.find('/').unwrap_or(rest.len());
        let rest = rest[..authority].rfind('@').map_or(rest, |at| &rest[at + 1..]);
        if scheme.is_empty() { rest.to_owned() } else { format!("{scheme}://{rest}") }
    }

    pub(crate) fn is_encrypted(&self) -> bool {
        self.endpoint.parse::<Uri>().is_ok_and(|url| url.scheme_str() == Some("https"))
    }
}

impl Exporter {
    /// Returns the exporter that the environment selects.
    pub(crate) fn in_env(signal: Signal, env: &mut Env) -> Option<Self> {
        let variable = format!("OTEL_{}_EXPORTER", signal.upper());
        env.choice(&variable, &[("otlp", Self::Otlp), ("console", Self::Stdout), ("none", Self::None)])
    }
}

/// Returns a queue's options after the overrides from `OTEL_BSP_*` or `OTEL_BLRP_*`.
pub(crate) fn resolve_batch(options: BatchOptions, prefix: &str, env: &mut Env) -> BatchOptions {
    let mut options = options;
    if let Some(records) = env.integer(&format!("{prefix}_MAX_QUEUE_SIZE"), 1) {
        options.max_queue_size = records as usize;
    }
    let variable = format!("{prefix}_MAX_EXPORT_BATCH_SIZE");
    match env.integer(&variable, 1) {
        Some(records) if records as usize > options.max_queue_size => {
            let choices =
                format!("a whole number from 1 to the size of the queue, {}", options.max_queue_size);
            env.problem(&variable, &records.to_string(), &choices);
        }
        Some(records) => options.max_batch_size = records as usize,
        None => {}
    }
    if let Some(delay) = env.interval(&format!("{prefix}_SCHEDULE_DELAY")) {
        options.schedule_delay = delay;
    }
    let in_env = env.timeout(&format!("{prefix}_EXPORT_TIMEOUT"));
    options.export_timeout = in_env.unwrap_or_else(|| timeout(options.export_timeout));
    options.bounded()
}

/// Returns the interval and the timeout of metric exports after the overrides from the environment.
pub(crate) fn resolve_metric_export(in_code: (Duration, Duration), env: &mut Env) -> (Duration, Duration) {
    let interval = env.interval("OTEL_METRIC_EXPORT_INTERVAL").unwrap_or(in_code.0);
    let in_env = env.timeout("OTEL_METRIC_EXPORT_TIMEOUT");
    (interval, in_env.unwrap_or_else(|| timeout(in_code.1)))
}

#[cfg(test)]
mod tests;

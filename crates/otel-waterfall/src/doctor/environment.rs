//! The variables of the OTLP exporter of traces.
//!
//! Follows [OTLP exporter, "Configuration Options"](https://opentelemetry.io/docs/specs/otel/protocol/exporter/).

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Uri};

use super::{Finding, tls::Tls};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Grpc,
    HttpProtobuf,
    HttpJson,
}

impl Protocol {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Grpc => "grpc",
            Self::HttpProtobuf => "http/protobuf",
            Self::HttpJson => "http/json",
        }
    }
}

/// The destination of the span.
#[derive(Clone, Debug)]
pub(super) struct Configuration {
    pub(super) protocol: Protocol,
    pub(super) endpoint: Uri,
    pub(super) headers: HeaderMap,
    pub(super) timeout: Duration,
    pub(super) service: String,
    /// The client of an `https` endpoint.
    pub(super) tls: Option<Tls>,
}

impl Configuration {
    pub(super) fn host(&self) -> &str {
        self.endpoint.host().unwrap_or_default()
    }

    pub(super) fn port(&self) -> u16 {
        self.endpoint.port_u16().unwrap_or(if self.tls.is_some() { 443 } else { 80 })
    }
}

/// Checks the variables. The configuration is absent if no span can be exported with them.
pub(super) fn check(variable: &impl Fn(&str) -> Option<String>) -> (Finding, Option<Configuration>) {
    match read(variable) {
        Err(cause) => (Finding::Fails(cause), None),
        Ok((configuration, doubts)) => {
            let text = format!(
                "{} to {}, service {}",
                configuration.protocol.name(),
                // The method of gRPC is the same everywhere.
                shown(&configuration.endpoint.to_string()).trim_end_matches(GRPC_PATH),
                configuration.service
            );
            let finding = if doubts.is_empty() {
                Finding::Works(text)
            } else {
                Finding::Doubtful(format!("{text}; {}", doubts.join("; ")))
            };
            (finding, Some(configuration))
        }
    }
}

fn read(variable: &impl Fn(&str) -> Option<String>) -> Result<(Configuration, Vec<String>), String> {
    let mut doubts = Vec::new();
    match variable("OTEL_SDK_DISABLED") {
        Some(value) if value.eq_ignore_ascii_case("true") => {
            return Err("OTEL_SDK_DISABLED=true: nothing is recorded".to_owned());
        }
        Some(value) if !value.eq_ignore_ascii_case("false") => {
            doubts.push(format!("OTEL_SDK_DISABLED={value} is neither true nor false and is ignored"));
        }
        _ => {}
    }
    let exporters = variable("OTEL_TRACES_EXPORTER").unwrap_or_else(|| "otlp".to_owned());
    if !exporters.split(',').any(|exporter| exporter.trim() == "otlp") {
        return Err(format!("OTEL_TRACES_EXPORTER={exporters}: no span is sent by OTLP"));
    }

    // A variable for traces overrides the one for all signals.
    let either = |end: &str| {
        let names = [format!("OTEL_EXPORTER_OTLP_TRACES_{end}"), format!("OTEL_EXPORTER_OTLP_{end}")];
        names.into_iter().find_map(|name| variable(&name).map(|value| (name, value)))
    };
    let protocol = match either("PROTOCOL") {
        None => Protocol::HttpProtobuf,
        Some((name, value)) => match value.to_ascii_lowercase().as_str() {
            "grpc" => Protocol::Grpc,
            "http/protobuf" => Protocol::HttpProtobuf,
            "http/json" => Protocol::HttpJson,
            _ => return Err(format!("{name}={value}: known are grpc, http/protobuf and http/json")),
        },
    };
    // As otel-telemetry and the exporters of OpenTelemetry for Rust read it; by the specification it is secure if unset.
    let is_secure = either("INSECURE").is_some_and(|(_, value)| !value.trim().eq_ignore_ascii_case("true"));
    let endpoint = endpoint(protocol, either("ENDPOINT"), is_secure)?;
    let timeout = match either("TIMEOUT") {
        None => Duration::from_secs(10),
        Some((name, value)) => match value.trim().parse() {
            // Without a limit, as the specification says; a week is as good.
            Ok(0) => Duration::from_secs(7 * 24 * 60 * 60),
            Ok(milliseconds) => Duration::from_millis(milliseconds),
            _ => return Err(format!("{name}={value} is not a number of milliseconds")),
        },
    };
    if let Some((name, value)) = either("COMPRESSION")
        && !["gzip", "none"].iter().any(|known| value.eq_ignore_ascii_case(known))
    {
        doubts.push(format!("{name}={value} is unknown and is ignored; known are gzip and none"));
    }
    let headers = match either("HEADERS") {
        None => HeaderMap::new(),
        Some((name, value)) => {
            headers(&value).ok_or_else(|| format!("{name} is not a list of key=value pairs"))?
        }
    };
    let service = service(variable, &mut doubts);
    if service == UNKNOWN {
        doubts.push("OTEL_SERVICE_NAME is not set".to_owned());
    }
    let tls = if endpoint.scheme_str() == Some("https") {
        Some(Tls::new(protocol, either("CERTIFICATE"), either("CLIENT_CERTIFICATE"), either("CLIENT_KEY"))?)
    } else {
        None
    };
    Ok((Configuration { protocol, endpoint, headers, timeout, service, tls }, doubts))
}

/// The path of OTLP over HTTP, and the method of OTLP over gRPC.
const HTTP_PATH: &str = "/v1/traces";
const GRPC_PATH: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// Returns the URL without what can be secret: user, password, query and fragment.
fn shown(url: &str) -> String {
    if url.parse::<Uri>().is_err() && url.contains(['@', '?']) {
        return "(not shown)".to_owned();
    }
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    // A password can have a slash, with which it is no URL.
    let rest = rest.rfind('@').map_or(rest, |at| &rest[at + 1..]);
    if scheme.is_empty() { rest.to_owned() } else { format!("{scheme}://{rest}") }
}

/// Returns the URL to which spans are sent. An endpoint of gRPC needs no scheme: it is `https` if `is_secure`, else `http`.
fn endpoint(protocol: Protocol, given: Option<(String, String)>, is_secure: bool) -> Result<Uri, String> {
    let default = if protocol == Protocol::Grpc { "http://localhost:4317" } else { "http://localhost:4318" };
    let (name, value) = given.unwrap_or_else(|| ("the default endpoint".to_owned(), default.to_owned()));
    let wrong = |why: &str| format!("{name}={} {why}", shown(&value));
    let trimmed = value.trim();
    let uri: Uri = if protocol == Protocol::Grpc && !trimmed.contains("://") {
        let scheme = if is_secure { "https" } else { "http" };
        format!("{scheme}://{trimmed}").parse().map_err(|_| wrong("is not a URL"))?
    } else {
        trimmed.parse().map_err(|_| wrong("is not a URL"))?
    };
    let scheme = match uri.scheme_str() {
        Some("http") => "http",
        Some("https") => "https",
        _ => return Err(wrong("is not a URL: it begins with http:// or https://")),
    };
    // The endpoint of one signal over HTTP is used as it is; that of all signals is the base of the path.
    let path = match protocol {
        Protocol::Grpc => GRPC_PATH.to_owned(),
        _ if name.contains("TRACES") => {
            uri.path_and_query().map_or_else(|| "/".to_owned(), |path| path.as_str().to_owned())
        }
        _ => {
            let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
            format!("{}{HTTP_PATH}{query}", uri.path().trim_end_matches('/'))
        }
    };
    let authority = uri.authority().map_or("", |authority| authority.as_str()).to_owned();
    Uri::builder()
        .scheme(scheme)
        .authority(authority)
        .path_and_query(path)
        .build()
        .map_err(|_| wrong("is not a URL"))
}

/// Parses `key1=value1,key2=value2` with percent-encoded values, the format of W3C Baggage.
fn headers(list: &str) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    for pair in list.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=')?;
        let name = HeaderName::from_bytes(key.trim().as_bytes()).ok()?;
        headers.append(name, HeaderValue::from_bytes(&decoded(value.trim())?).ok()?);
    }
    Some(headers)
}

fn decoded(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let mut digit = || char::from(bytes.next()?).to_digit(16);
            let (high, low) = (digit()?, digit()?);
            out.push((high * 16 + low) as u8);
        } else {
            out.push(byte);
        }
    }
    Some(out)
}

/// The name of a service that has none, as the [SDK
/// environment](https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/) defines it.
const UNKNOWN: &str = "unknown_service";

fn service(variable: &impl Fn(&str) -> Option<String>, doubts: &mut Vec<String>) -> String {
    let mut service = None;
    for pair in
        variable("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default().split(',').filter(|pair| !pair.is_empty())
    {
        match pair.split_once('=') {
            Some((key, value)) if key.trim() == "service.name" => service = Some(value.trim().to_owned()),
            Some(_) => {}
            None => doubts.push(format!("OTEL_RESOURCE_ATTRIBUTES is ignored: {pair} is not key=value")),
        }
    }
    variable("OTEL_SERVICE_NAME").or(service).unwrap_or_else(|| UNKNOWN.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(pairs: &[(&str, &str)]) -> (Finding, Option<Configuration>) {
        let pairs: Vec<_> =
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        check(&|name: &str| pairs.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone()))
    }

    #[test]
    fn https_has_its_port_and_its_certificates() {
        let endpoint = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://c/v1/traces");
        let configuration = checked(&[endpoint]).1.expect("a configuration");
        assert_eq!((configuration.port(), configuration.tls.is_some()), (443, true));
        assert_eq!(configuration.endpoint, "https://c/v1/traces");
        for (variable, text) in [
            ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "needs both a client certificate and its key"),
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/no/such/file: "),
        ] {
            let (finding, configuration) = checked(&[endpoint, (variable, "/no/such/file")]);
            assert!(configuration.is_none());
            let Finding::Fails(cause) = finding else { panic!("{finding:?}") };
            assert!(cause.starts_with(variable) && cause.contains(text), "{cause}");
        }
    }

    fn endpoint_of(pairs: &[(&str, &str)]) -> String {
        checked(pairs).1.expect("a configuration").endpoint.to_string()
    }

    #[test]
    fn the_defaults() {
        let (finding, configuration) = checked(&[("OTEL_SERVICE_NAME", "shop")]);
        assert_eq!(
            finding,
            Finding::Works("http/protobuf to http://localhost:4318/v1/traces, service shop".to_owned())
        );
        let configuration = configuration.expect("a configuration");
        assert_eq!((configuration.host(), configuration.port()), ("localhost", 4318));
        assert!(configuration.tls.is_none());
        assert_eq!(configuration.timeout, Duration::from_secs(10));
    }

    #[test]
    fn endpoints_follow_the_specification() {
        let base = "OTEL_EXPORTER_OTLP_ENDPOINT";
        let own = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
        assert_eq!(endpoint_of(&[(base, "http://c:1/x/")]), "http://c:1/x/v1/traces");
        assert_eq!(endpoint_of(&[(own, "http://c:1/x"), (base, "http://d:2")]), "http://c:1/x");
        assert_eq!(endpoint_of(&[(own, "http://c:1/x?key=1")]), "http://c:1/x?key=1");
        assert_eq!(endpoint_of(&[(base, "http://c:1/?key=1")]), "http://c:1/v1/traces?key=1");
        let protocol = ("OTEL_EXPORTER_OTLP_PROTOCOL", "GRPC");
        assert_eq!(endpoint_of(&[protocol]), format!("http://localhost:4317{GRPC_PATH}"));
        assert_eq!(endpoint_of(&[protocol, (base, "c:1")]), format!("http://c:1{GRPC_PATH}"));
        for (value, scheme) in [("false", "https"), ("0 ", "https"), ("True", "http")] {
            let insecure = ("OTEL_EXPORTER_OTLP_INSECURE", value);
            let expected = format!("{scheme}://c:1{GRPC_PATH}");
            assert_eq!(endpoint_of(&[protocol, (base, "c:1"), insecure]), expected);
        }
    }

    #[test]
    fn no_finding_has_credentials() {
        for (protocol, endpoint) in [
            ("grpc", "http://user:secret@c:1"),
            ("http/protobuf", "http://user:secret@c:1/x"),
            ("http/json", "a:secret@c"),
            ("http/json", "http://c/x?key=secret"),
            ("http/json", "http://user:se/secret@c"),
            ("grpc", "user:secret@c:1"),
        ] {
            let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint);
            let (finding, _) = checked(&[("OTEL_EXPORTER_OTLP_PROTOCOL", protocol), endpoint]);
            let text = format!("{finding:?}");
            assert!(!text.contains("secret"), "{text}");
        }
    }

    #[test]
    fn a_timeout_of_zero_is_none() {
        let zero = ("OTEL_EXPORTER_OTLP_TIMEOUT", "0");
        assert!(checked(&[zero]).1.expect("a configuration").timeout > Duration::from_secs(3600));
    }

    #[test]
    fn each_failure_names_its_variable() {
        for (name, value, cause) in [
            ("OTEL_SDK_DISABLED", "TRUE", "OTEL_SDK_DISABLED=true: nothing is recorded"),
            ("OTEL_TRACES_EXPORTER", "none", "OTEL_TRACES_EXPORTER=none: no span is sent by OTLP"),
            (
                "OTEL_EXPORTER_OTLP_PROTOCOL",
                "http",
                "OTEL_EXPORTER_OTLP_PROTOCOL=http: known are grpc, http/protobuf and http/json",
            ),
            (
                "OTEL_EXPORTER_OTLP_ENDPOINT",
                "localhost:4318",
                "OTEL_EXPORTER_OTLP_ENDPOINT=localhost:4318 is not a URL: it begins with http:// or https://",
            ),
            (
                "OTEL_EXPORTER_OTLP_TIMEOUT",
                "10s",
                "OTEL_EXPORTER_OTLP_TIMEOUT=10s is not a number of milliseconds",
            ),
            (
                "OTEL_EXPORTER_OTLP_HEADERS",
                "a",
                "OTEL_EXPORTER_OTLP_HEADERS is not a list of key=value pairs",
            ),
        ] {
            let (finding, configuration) = checked(&[(name, value)]);
            assert_eq!(finding, Finding::Fails(cause.to_owned()));
            assert!(configuration.is_none());
        }
    }

    #[test]
    fn what_is_ignored_is_doubtful() {
        let (finding, _) = checked(&[
            ("OTEL_SDK_DISABLED", "yes"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd"),
            ("OTEL_RESOURCE_ATTRIBUTES", "a=b,c"),
        ]);
        let expected = "http/protobuf to http://localhost:4318/v1/traces, service unknown_service; \
                        OTEL_SDK_DISABLED=yes is neither true nor false and is ignored; \
                        OTEL_EXPORTER_OTLP_COMPRESSION=zstd is unknown and is ignored; known are gzip and none; \
                        OTEL_RESOURCE_ATTRIBUTES is ignored: c is not key=value; OTEL_SERVICE_NAME is not set";
        assert_eq!(finding, Finding::Doubtful(expected.to_owned()));
    }

    #[test]
    fn headers_are_decoded() {
        let headers = headers("api-key = a%20b , x=1=2").expect("headers");
        assert_eq!((&headers["api-key"], &headers["x"]), (&"a b".parse().unwrap(), &"1=2".parse().unwrap()));
        assert!(super::headers("x=%zz").is_none() && super::headers("x y=1").is_none());
    }
}

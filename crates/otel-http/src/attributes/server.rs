//! Span attributes of server requests.
//!
//! Follows the [HTTP semantic conventions](https://opentelemetry.io/docs/specs/semconv/http/http-spans/), "HTTP
//! server".

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;

use http::{Uri, header};
use opentelemetry::KeyValue;
use otel_operation::BoundedCache;
use otel_request::{AttributeScope, Host, HostCache, RequestHead, format_ip};

use super::url;
use crate::forwarded::Forwarded;
use crate::method::KnownMethod;

/// Length in bytes at which a user agent is truncated.
const LONGEST_USER_AGENT: usize = 512;

/// The facts about a request that are not in its head, and the cache of parsed hosts.
#[derive(Debug)]
pub(crate) struct RequestParts<'a> {
    pub(crate) method: &'a KnownMethod,
    pub(crate) https: bool,
    pub(crate) route: Option<&'a Arc<str>>,
    pub(crate) peer: Option<SocketAddr>,
    pub(crate) forwarded: Option<&'a Forwarded>,
    pub(crate) hosts: &'a HostCache,
    /// The user agents that have called before.
    pub(crate) agents: &'a BoundedCache<Arc<str>>,
}

/// Returns `true` if `url.scheme` is `https`: by a trusted proxy's header, by the URI's scheme, else `otherwise`.
///
/// `:scheme` is untrusted input: values other than `http` and `https` are ignored.
pub(crate) fn is_https(uri: &Uri, forwarded: Option<&Forwarded>, otherwise: bool) -> bool {
    match forwarded.and_then(|forwarded| forwarded.scheme).or(uri.scheme_str()) {
        Some("https") => true,
        Some("http") => false,
        _ => otherwise,
    }
}

/// Returns `server.address` and `server.port`: from a trusted proxy's header, else `:authority`, else `Host`.
fn server<'a>(head: &RequestHead<'_>, received: &RequestParts<'a>) -> Option<Cow<'a, Host>> {
    let authority = match received.forwarded.and_then(|forwarded| forwarded.host.as_deref()) {
        Some(host) => host,
        None => match head.uri.authority() {
            Some(authority) => authority.as_str(),
            None => head.headers.get(header::HOST)?.to_str().ok()?,
        },
    };
    received.hosts.parse(authority)
}

/// Appends the attributes that a server span starts with, or those that HTTP adds to the span of another protocol.
#[inline]
pub(crate) fn attributes(
    head: &RequestHead<'_>,
    received: &RequestParts<'_>,
    scope: AttributeScope,
    attributes: &mut Vec<KeyValue>,
) {
    let is_owner = scope == AttributeScope::All;
    // The status code is added later. A list with more room would keep it until the end of the response.
    let optional = usize::from(head.uri.query().is_some()) + if received.peer.is_some() { 4 } else { 0 };
    if attributes.capacity() == 0 {
        *attributes = Vec::with_capacity(9 + optional);
    }
    super::method(received.method, head.method, attributes);
    attributes.push(KeyValue::new(super::URL_SCHEME, super::scheme(received.https)));
    attributes.push(KeyValue::new(super::URL_PATH, url::bounded(head.uri.path(), url::LONGEST).to_owned()));
    if let Some(query) = head.uri.query() {
        attributes.push(KeyValue::new(super::URL_QUERY, url::query(query).into_owned()));
    }
    if let Some(route) = received.route {
        attributes.push(KeyValue::new(super::ROUTE, Arc::clone(route)));
    }
    if is_owner && let Some(host) = server(head, received) {
        attributes.push(KeyValue::new(super::SERVER_ADDRESS, Arc::clone(&host.address)));
        if let Some(port) = host.port {
            attributes.push(KeyValue::new(super::SERVER_PORT, i64::from(port)));
        }
    }
    if let Some(agent) = head.headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok()) {
        let agent = url::bounded(agent, LONGEST_USER_AGENT);
        // Most servers are called by few programs. A full cache keeps no further ones, because the header is untrusted.
        attributes.push(match received.agents.get_or_insert(agent, || Arc::<str>::from(agent)) {
            Some(cached) => KeyValue::new(super::USER_AGENT, Arc::<str>::clone(cached)),
            None => KeyValue::new(super::USER_AGENT, agent.to_owned()),
        });
    }
    attributes.push(KeyValue::new(
        super::PROTOCOL_VERSION,
        super::ProtocolVersion::from_version(head.version).as_str(),
    ));
    if is_owner {
        addresses(received, attributes);
    }
}

fn addresses(received: &RequestParts<'_>, attributes: &mut Vec<KeyValue>) {
    let behind_proxy =
        received.forwarded.and_then(|forwarded| Some((forwarded.client?, forwarded.client_port)));
    let client = behind_proxy.or_else(|| received.peer.map(|peer| (peer.ip(), Some(peer.port()))));
    if let Some((address, port)) = client {
        let address = format_ip(address);
        if let Some(peer) = received.peer {
            let same = behind_proxy.is_none();
            let peer_address = if same { Arc::clone(&address) } else { format_ip(peer.ip()) };
            attributes.push(KeyValue::new(super::PEER_ADDRESS, peer_address));
            attributes.push(KeyValue::new(super::PEER_PORT, i64::from(peer.port())));
        }
        attributes.push(KeyValue::new(super::CLIENT_ADDRESS, address));
        if let Some(port) = port {
            attributes.push(KeyValue::new(super::CLIENT_PORT, i64::from(port)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::method::KnownMethods;
    use http::Request;

    fn texts(request: &Request<()>, peer: Option<&str>, forwarded: Option<&Forwarded>) -> Vec<String> {
        let known = KnownMethods::new(["GET"]);
        let method = known.look_up(request.method());
        let received = RequestParts {
            method: &method,
            https: is_https(request.uri(), forwarded, false),
            route: None,
            peer: peer.map(|peer| peer.parse().unwrap()),
            forwarded,
            hosts: &HostCache::new(4),
            agents: &BoundedCache::new(1),
        };
        let mut list = Vec::new();
        attributes(&RequestHead::new(request), &received, AttributeScope::All, &mut list);
        list.into_iter().map(|kv| format!("{}={}", kv.key, kv.value)).collect()
    }

    #[test]
    fn a_plain_request() {
        let request = Request::get("/a%20b?x=1&sig=s")
            .header("host", "shop.example:8080")
            .header("user-agent", "curl/8")
            .body(())
            .unwrap();
        assert_eq!(
            texts(&request, Some("[::ffff:192.0.2.9]:5000"), None),
            [
                "http.request.method=GET",
                "url.scheme=http",
                "url.path=/a%20b",
                "url.query=x=1&sig=REDACTED",
                "server.address=shop.example",
                "server.port=8080",
                "user_agent.original=curl/8",
                "network.protocol.version=1.1",
                "network.peer.address=192.0.2.9",
                "network.peer.port=5000",
                "client.address=192.0.2.9",
                "client.port=5000",
            ]
        );
    }

    #[test]
    fn user_agents_beyond_the_cache_are_recorded_as_well() {
        let agents = BoundedCache::new(1);
        let known = KnownMethods::new(["GET"]);
        for agent in ["curl/8", "wget/1", "curl/8"] {
            let request = Request::get("/").header("user-agent", agent).body(()).unwrap();
            let received = RequestParts {
                method: &known.look_up(request.method()),
                https: false,
                route: None,
                peer: None,
                forwarded: None,
                hosts: &HostCache::new(4),
                agents: &agents,
            };
            let mut list = Vec::new();
            attributes(&RequestHead::new(&request), &received, AttributeScope::All, &mut list);
            assert!(list.contains(&KeyValue::new(super::super::USER_AGENT, agent)), "{list:?}");
        }
        assert_eq!(format!("{agents:?}"), "BoundedCache { used: 1, of: 1 }");
    }

    #[test]
    fn http_2_names_its_authority_and_a_strange_method_is_kept_apart() {
        let request = Request::builder()
            .method("BREW")
            .uri("https://tea.example/pot")
            .version(http::Version::HTTP_2)
            .header("host", "other.example")
            .body(())
            .unwrap();
        assert_eq!(
            texts(&request, None, None),
            [
                "http.request.method=_OTHER",
                "http.request.method_original=BREW",
                "url.scheme=https",
                "url.path=/pot",
                "server.address=tea.example",
                "network.protocol.version=2",
            ]
        );
    }

    #[test]
    fn behind_a_trusted_proxy() {
        let forwarded = Forwarded {
            client: Some("192.0.2.7".parse().unwrap()),
            client_port: None,
            host: Some("shop.example".into()),
            scheme: Some("https"),
        };
        let request = Request::get("/").header("host", "10.0.0.2:80").body(()).unwrap();
        let list = texts(&request, Some("10.0.0.1:999"), Some(&forwarded));
        for wanted in [
            "url.scheme=https",
            "server.address=shop.example",
            "client.address=192.0.2.7",
            "network.peer.address=10.0.0.1",
        ] {
            assert!(list.iter().any(|attribute| attribute == wanted), "{wanted} in {list:?}");
        }
        assert!(!list.iter().any(|attribute| attribute.starts_with("client.port")));
    }

    #[test]
    fn hosts_and_schemes_that_make_no_sense_are_left_out() {
        let mut request = Request::get("/").header("host", "<nonsense>").body(()).unwrap();
        assert!(!texts(&request, None, None).iter().any(|attribute| attribute.starts_with("server.")));
        *request.uri_mut() = "gopher://x/".parse().unwrap();
        assert!(texts(&request, None, None).contains(&"url.scheme=http".to_owned()));
    }
}

//! Tests of forwarding headers from trusted proxies and from attackers.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::ForwardingHeaders::{self, Forwarded as Standard, XForwarded};
use super::{Forwarded, TrustedProxies, node, read};

fn headers(list: &[(&'static str, &str)]) -> HeaderMap {
    list.iter()
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()))
        .fold(HeaderMap::new(), |mut map, (name, value)| {
            map.append(name, value);
            map
        })
}

fn trusted(headers: ForwardingHeaders) -> TrustedProxies {
    TrustedProxies { headers, networks: ["10.0.0.0/8".parse().unwrap()].into() }
}

fn from_proxy(kind: ForwardingHeaders, list: &[(&'static str, &str)]) -> Option<Forwarded> {
    read(&headers(list), Some("10.0.0.1".parse().unwrap()), &trusted(kind))
}

#[test]
fn strangers_are_not_believed() {
    let forged = headers(&[("x-forwarded-for", "1.2.3.4"), ("forwarded", "for=1.2.3.4")]);
    for kind in [Standard, XForwarded] {
        let trusted = trusted(kind);
        assert_eq!(read(&forged, Some("192.0.2.1".parse().unwrap()), &trusted), None);
        assert_eq!(read(&forged, None, &trusted), None, "an unknown peer is not trusted");
    }
}

#[test]
fn a_mapped_address_is_the_address_that_it_maps() {
    let list = headers(&[("x-forwarded-for", "192.0.2.7")]);
    let peer = Some("::ffff:10.0.0.1".parse().unwrap());
    let found = read(&list, peer, &trusted(XForwarded)).unwrap();
    assert_eq!(found.client, Some("192.0.2.7".parse().unwrap()));
}

#[test]
fn only_the_header_that_the_proxies_write_is_read() {
    let both = [
        ("forwarded", "for=\"[2001:db8::17]:4711\";proto=https;host=shop.example"),
        ("x-forwarded-for", "9.9.9.9"),
    ];
    let other = Forwarded { client: Some("9.9.9.9".parse().unwrap()), ..Forwarded::default() };
    assert_eq!(from_proxy(XForwarded, &both), Some(other));
    assert_eq!(from_proxy(Standard, &both[1..]), Some(Forwarded::default()));
    let found = from_proxy(Standard, &both).unwrap();
    assert_eq!(found.client, Some("2001:db8::17".parse().unwrap()));
    assert_eq!(found.client_port, Some(4711));
    assert_eq!(found.host.as_deref(), Some("shop.example"));
    assert_eq!(found.scheme, Some("https"));
}

#[test]
fn the_client_is_the_last_address_that_is_no_trusted_proxy() {
    let found =
        from_proxy(XForwarded, &[("x-forwarded-for", "6.6.6.6, 192.0.2.7, 10.0.0.9, 10.0.0.8")]).unwrap();
    assert_eq!(found.client, Some("192.0.2.7".parse().unwrap()), "6.6.6.6 was written by the client itself");
}

#[test]
fn lists_over_several_headers_and_of_several_lengths_are_aligned_at_the_end() {
    let found = from_proxy(
        XForwarded,
        &[
            ("x-forwarded-for", "6.6.6.6"),
            ("x-forwarded-for", "192.0.2.7"),
            ("x-forwarded-proto", "HTTPS"),
            ("x-forwarded-host", "evil.example, shop.example"),
        ],
    )
    .unwrap();
    assert_eq!(found.client, Some("192.0.2.7".parse().unwrap()));
    assert_eq!((found.host.as_deref(), found.scheme), (Some("shop.example"), Some("https")));
}

#[test]
fn what_is_obfuscated_or_nonsense_ends_the_walk() {
    let found =
        from_proxy(Standard, &[("forwarded", "for=1.1.1.1, for=_hidden;proto=gopher;host=\"<x>\"")]).unwrap();
    assert_eq!(found, Forwarded::default());
    assert_eq!(from_proxy(Standard, &[("forwarded", ";;=,,for")]), Some(Forwarded::default()));
}

#[test]
fn an_address_with_an_obfuscated_port_is_an_address() {
    let address = |text: &str| node(text).map(|(address, port)| (address.to_string(), port));
    for (given, expected) in [
        ("192.0.2.43:_http", Some(("192.0.2.43", None))),
        ("[2001:db8::17]:_x", Some(("2001:db8::17", None))),
        ("[2001:db8::17]:80", Some(("2001:db8::17", Some(80)))),
        ("[2001:db8::17]", Some(("2001:db8::17", None))),
        ("2001:db8::17", Some(("2001:db8::17", None))),
        ("192.0.2.43:99999", None),
        ("192.0.2.43:", None),
        ("[192.0.2.43]:1", None),
        ("[2001:db8::17]x", None),
        ("unknown:80", None),
        ("_hidden", None),
    ] {
        assert_eq!(address(given), expected.map(|(address, port)| (address.to_owned(), port)), "{given}");
    }
}

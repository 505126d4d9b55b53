//! Redaction and truncation of URLs for attributes.
//!
//! Follows the [semantic conventions for URL
//! attributes](https://opentelemetry.io/docs/specs/semconv/registry/attributes/url/), `url.full` and `url.query`:
//! credentials become `REDACTED:REDACTED`, and the values of the listed signature parameters `REDACTED`.

use std::borrow::Cow;

use http::Uri;

use super::client::Target;

/// Length in bytes at which paths and queries are truncated, because they are untrusted input.
pub(crate) const LONGEST: usize = 4096;

/// Limit in bytes of a host, as of `server.address`.
const LONGEST_HOST: usize = 255;

/// Query parameters whose values are redacted. Their names are case-sensitive, as the conventions require.
const SIGNATURES: [&str; 7] = [
    "X-Amz-Signature",
    "X-Amz-Credential",
    "X-Amz-Security-Token",
    "AWSAccessKeyId",
    "Signature",
    "sig",
    "X-Goog-Signature",
];

/// Truncates `text` to at most `most` bytes, at a character boundary.
pub(crate) fn bounded(text: &str, most: usize) -> &str {
    if text.len() <= most {
        return text;
    }
    let mut end = most;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Returns a query with redacted signatures, truncated.
pub(crate) fn query(query: &str) -> Cow<'_, str> {
    let is_signature = |pair: &str| {
        let name = pair.split_once('=').map(|(name, _)| name);
        name.is_some_and(|name| SIGNATURES.contains(&name))
    };
    // Only queries with a parameter that starts like a signature's are split, which few do.
    let mut before = b'&';
    let mut begins =
        |byte| std::mem::replace(&mut before, byte) == b'&' && matches!(byte, b'X' | b'A' | b'S' | b's');
    // Truncated after redaction: a truncated query could end in an unredacted part of a signature.
    if !query.bytes().any(&mut begins) || !query.split('&').any(is_signature) {
        return Cow::Borrowed(bounded(query, LONGEST));
    }
    let mut redacted = String::with_capacity(query.len());
    for (i, pair) in query.split('&').enumerate() {
        if i > 0 {
            redacted.push('&');
        }
        match pair.split_once('=') {
            Some((name, _)) if SIGNATURES.contains(&name) => {
                redacted.push_str(name);
                redacted.push_str("=REDACTED");
            }
            _ => redacted.push_str(pair),
        }
    }
    redacted.truncate(bounded(&redacted, LONGEST).len());
    Cow::Owned(redacted)
}

/// Returns `url.full` of a client request, redacted. It is absolute if the URI or its target names a host; the scheme of
/// one that names none is that of the target, `http` if that is unknown as well. A host that is too long is left out.
pub(crate) fn full(uri: &Uri, target: Option<&Target<'_>>) -> String {
    let mut url = String::with_capacity(uri.path().len() + 64);
    let authority = match uri.authority() {
        Some(authority) => Some(authority.as_str()).filter(|_| authority.host().len() <= LONGEST_HOST),
        None => target.map(|target| target.authority),
    };
    if let Some(authority) = authority {
        let https = target.and_then(|target| target.https).unwrap_or(false);
        url.push_str(uri.scheme_str().unwrap_or(super::scheme(https)));
        url.push_str("://");
        match authority.rsplit_once('@') {
            Some((credentials, host)) => {
                url.push_str(if credentials.contains(':') { "REDACTED:REDACTED@" } else { "REDACTED@" });
                url.push_str(host);
            }
            None => url.push_str(authority),
        }
    }
    url.push_str(bounded(uri.path(), LONGEST));
    if let Some(text) = uri.query() {
        url.push('?');
        url.push_str(&query(text));
    }
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_and_signatures_are_taken_out() {
        for (given, wanted) in [
            ("https://user:secret@host:8443/a?b=c", "https://REDACTED:REDACTED@host:8443/a?b=c"),
            ("https://token@host/", "https://REDACTED@host/"),
            ("http://host/?sig=abc&x=1", "http://host/?sig=REDACTED&x=1"),
            (
                "http://host/?X-Amz-Signature=1&X-Amz-Credential=2",
                "http://host/?X-Amz-Signature=REDACTED&X-Amz-Credential=REDACTED",
            ),
            ("http://host/?SIG=abc", "http://host/?SIG=abc"),
            (
                "http://host/?signature=abc&Signature=d&sig",
                "http://host/?signature=abc&Signature=REDACTED&sig",
            ),
            ("/only/path?sig=", "/only/path?sig=REDACTED"),
        ] {
            assert_eq!(full(&given.parse().unwrap(), None), wanted);
        }
        let long = format!("http://{}/a", "x".repeat(LONGEST_HOST + 1));
        assert_eq!(full(&long.parse().unwrap(), None), "/a");
    }

    #[test]
    fn a_url_in_origin_form_gets_the_host_and_the_scheme_of_its_target() {
        for (host, tls, wanted) in [
            ("api.example:8080", None, "http://api.example:8080/x?sig=REDACTED"),
            ("api.example", Some(true), "https://api.example/x?sig=REDACTED"),
            ("[2001:db8::1]:81", Some(false), "http://[2001:db8::1]:81/x?sig=REDACTED"),
            ("user:secret@api.example", None, "http://REDACTED:REDACTED@api.example/x?sig=REDACTED"),
            ("no host", None, "/x?sig=REDACTED"),
        ] {
            let request = http::Request::get("/x?sig=1").header("host", host).body(()).unwrap();
            let target = Target::new(request.uri(), request.headers(), tls);
            let target = target.filter(|target| target.address().is_some());
            assert_eq!(full(request.uri(), target.as_ref()), wanted, "{host}");
        }
    }

    #[test]
    fn every_signature_parameter_of_the_conventions_is_known() {
        for name in SIGNATURES {
            assert_eq!(query(&format!("a=1&{name}=secret&b=2")), format!("a=1&{name}=REDACTED&b=2"));
        }
    }

    #[test]
    fn long_text_is_cut_at_a_character_after_redaction() {
        assert_eq!(bounded("aé", 2), "a");
        let long = format!("{}&sig=secret", "x".repeat(LONGEST));
        assert_eq!(query(&long).len(), LONGEST);
        let across = format!("{}&sig=secret", "x".repeat(LONGEST - 6));
        assert!(!query(&across).contains("sec"), "a cut must not leave a part of a signature");
    }
}

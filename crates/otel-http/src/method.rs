//! Request methods: which are known, and so may stand in span names and metrics.
//!
//! Follows the [HTTP semantic conventions](https://opentelemetry.io/docs/specs/semconv/http/http-spans/),
//! `http.request.method`: RFC 9110, PATCH and QUERY, and the environment variable that replaces the list.

use std::borrow::Cow;

use http::Method;

const DEFAULT: [&str; 10] =
    ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "CONNECT", "TRACE", "QUERY"];

/// More methods than any list needs; the rest of a longer list is unknown.
const MOST: usize = 32;

/// How a known method is counted; the last number stands for all that are not.
pub(crate) const OTHER: u8 = MOST as u8;

/// The methods that an instrumentation knows.
#[derive(Clone, Debug)]
pub(crate) struct KnownMethods(Vec<Cow<'static, str>>);

/// A request's method, as telemetry sees it.
#[derive(Clone, Debug)]
pub(crate) struct KnownMethod {
    /// Its place in the list, or [`OTHER`].
    pub(crate) index: u8,
    /// `http.request.method`.
    pub(crate) name: Cow<'static, str>,
}

impl KnownMethod {
    /// What a span is called after it.
    pub(crate) fn in_span_name(&self) -> Cow<'static, str> {
        if self.index == OTHER { Cow::Borrowed("HTTP") } else { self.name.clone() }
    }
}

impl KnownMethods {
    /// The list of `OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS` where it is set, else the default.
    pub(crate) fn from_env() -> Self {
        match std::env::var("OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS") {
            Ok(list) if !list.trim().is_empty() => Self::new(list.split(',')),
            _ => Self(DEFAULT.map(Cow::Borrowed).into()),
        }
    }

    pub(crate) fn new<'a>(methods: impl IntoIterator<Item = &'a str>) -> Self {
        let names = methods.into_iter().map(str::trim).filter(|name| !name.is_empty());
        Self(names.take(MOST).map(otel_operation::intern).collect())
    }

    pub(crate) fn of(&self, method: &Method) -> KnownMethod {
        let text = method.as_str();
        // The list is short, and its order is that of use.
        match self.0.iter().position(|known| known == text) {
            Some(index) => KnownMethod { index: index as u8, name: self.0[index].clone() },
            None => KnownMethod { index: OTHER, name: Cow::Borrowed("_OTHER") },
        }
    }

    /// The method of this place in the list.
    pub(crate) fn name(&self, index: u8) -> Cow<'static, str> {
        self.0.get(usize::from(index)).cloned().unwrap_or(Cow::Borrowed("_OTHER"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_are_known_by_their_exact_name() {
        let known = KnownMethods(DEFAULT.map(Cow::Borrowed).into());
        assert_eq!(known.of(&Method::PATCH).name, "PATCH");
        for unknown in ["get", "PURGE", "X"] {
            let method = known.of(&Method::from_bytes(unknown.as_bytes()).unwrap());
            assert_eq!((method.name.as_ref(), method.in_span_name().as_ref()), ("_OTHER", "HTTP"));
        }
        assert_eq!(known.name(OTHER), "_OTHER");
    }

    #[test]
    fn a_list_replaces_the_whole_default() {
        let known = KnownMethods::new("PURGE, GET ,,".split(','));
        assert_eq!(known.of(&Method::from_bytes(b"PURGE").unwrap()).name, "PURGE");
        assert_eq!(known.of(&Method::POST).name, "_OTHER");
        assert_eq!(known.name(1), "GET");
    }
}

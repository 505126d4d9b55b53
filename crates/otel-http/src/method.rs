//! The list of known request methods, which alone appear in span names and metrics.
//!
//! Follows the [HTTP semantic conventions](https://opentelemetry.io/docs/specs/semconv/http/http-spans/),
//! `http.request.method`: the methods of RFC 9110, PATCH and QUERY, and the environment variable that replaces them.

use std::borrow::Cow;

use http::Method;

const DEFAULT: [&str; 10] =
    ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "CONNECT", "TRACE", "QUERY"];

/// Limit of known methods. Further entries of a list are ignored.
const MOST: usize = 32;

/// The index of unknown methods, after those of all known ones.
pub(crate) const OTHER: u8 = MOST as u8;

/// The known methods of a layer.
#[derive(Clone, Debug)]
pub(crate) struct KnownMethods {
    names: Vec<Cow<'static, str>>,
    /// The index of `GET`, which most requests have, so that it is found without comparing text.
    get: Option<u8>,
}

/// A request method as it is recorded.
#[derive(Clone, Debug)]
pub(crate) struct KnownMethod {
    /// The index in [`KnownMethods`], or [`OTHER`].
    pub(crate) index: u8,
    /// The value of `http.request.method`.
    pub(crate) name: Cow<'static, str>,
}

impl KnownMethod {
    /// Returns the method's part of a span name.
    pub(crate) fn in_span_name(&self) -> Cow<'static, str> {
        if self.index == OTHER { Cow::Borrowed("HTTP") } else { self.name.clone() }
    }
}

impl KnownMethods {
    /// Reads the list from `OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS`. Default: `DEFAULT`.
    pub(crate) fn from_env() -> Self {
        match std::env::var("OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS") {
            Ok(list) if !list.trim().is_empty() => Self::new(list.split(',')),
            _ => Self::from_names(DEFAULT.map(Cow::Borrowed).into()),
        }
    }

    pub(crate) fn new<'a>(methods: impl IntoIterator<Item = &'a str>) -> Self {
        let names = methods.into_iter().map(str::trim).filter(|name| !name.is_empty());
        Self::from_names(names.take(MOST).map(otel_operation::intern).collect())
    }

    fn from_names(names: Vec<Cow<'static, str>>) -> Self {
        let get = names.iter().position(|name| name == "GET").map(|index| index as u8);
        Self { names, get }
    }

    #[inline]
    pub(crate) fn look_up(&self, method: &Method) -> KnownMethod {
        match self.get {
            Some(index) if *method == Method::GET => KnownMethod { index, name: Cow::Borrowed("GET") },
            _ => self.look_up_text(method.as_str()),
        }
    }

    fn look_up_text(&self, text: &str) -> KnownMethod {
        // A linear scan: the list is short, and the default begins with the most frequent methods.
        match self.names.iter().position(|known| known == text) {
            Some(index) => KnownMethod { index: index as u8, name: self.names[index].clone() },
            None => KnownMethod { index: OTHER, name: Cow::Borrowed("_OTHER") },
        }
    }

    /// Returns the method at `index`, or `_OTHER`.
    pub(crate) fn name(&self, index: u8) -> Cow<'static, str> {
        self.names.get(usize::from(index)).cloned().unwrap_or(Cow::Borrowed("_OTHER"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_are_known_by_their_exact_name() {
        let known = KnownMethods::from_names(DEFAULT.map(Cow::Borrowed).into());
        assert_eq!(known.look_up(&Method::PATCH).name, "PATCH");
        for unknown in ["get", "PURGE", "X"] {
            let method = known.look_up(&Method::from_bytes(unknown.as_bytes()).unwrap());
            assert_eq!((method.name.as_ref(), method.in_span_name().as_ref()), ("_OTHER", "HTTP"));
        }
        assert_eq!(known.name(OTHER), "_OTHER");
    }

    #[test]
    fn a_list_replaces_the_whole_default() {
        let known = KnownMethods::new("PURGE, GET ,,".split(','));
        assert_eq!(known.look_up(&Method::from_bytes(b"PURGE").unwrap()).name, "PURGE");
        assert_eq!(known.look_up(&Method::POST).name, "_OTHER");
        assert_eq!(known.name(1), "GET");
    }
}

//! Routes of a server: the names and metrics that are cached for each, and the extension by which a router reports one.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use opentelemetry::KeyValue;
use otel_operation::{SmallOnceMap, intern};

use crate::attributes::{self, ROUTE};
use crate::method::KnownMethod;
use crate::metrics::Series;

/// The cached span names and metrics of a route.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) route: Option<Arc<str>>,
    /// The same text, which layers inside compare with theirs; `None` if too many routes are interned.
    pub(super) interned: Option<&'static str>,
    pub(super) series: Series,
    names: SmallOnceMap<u8, Cow<'static, str>, 16>,
}

impl Route {
    pub(super) fn new(route: Option<&str>) -> Self {
        let interned = route.and_then(|route| match intern(route) {
            Cow::Borrowed(route) => Some(route),
            Cow::Owned(_) => None,
        });
        let route: Option<Arc<str>> = route.map(Into::into);
        let common = route.iter().map(|route| KeyValue::new(ROUTE, Arc::clone(route))).collect();
        Self { route, interned, series: Series::for_route(common), names: SmallOnceMap::new() }
    }

    pub(super) fn name(&self, method: &KnownMethod) -> Cow<'static, str> {
        self.names.get_or_init_with(
            method.index,
            || attributes::span_name(method, self.route.as_deref()),
            Cow::clone,
        )
    }
}

/// A request extension through which a router inside the layer, other than axum's, reports the route.
///
/// [`ServerLayer::with_late_route`](crate::ServerLayer::with_late_route) inserts one into each request. The first route that
/// is known becomes `http.route` of the span and of the metrics, and part of the span's name.
///
/// ```
/// # let mut request = http::Request::new(());
/// # request.extensions_mut().insert(otel_http::LateRoute::default());
/// if let Some(route) = request.extensions().get::<otel_http::LateRoute>() {
///     route.set("/users/{id}");
/// }
/// ```
#[derive(Clone, Debug, Default)]
pub struct LateRoute(Arc<OnceLock<Box<str>>>);

impl LateRoute {
    /// Sets the route: its template, never a path. Only the first call has an effect.
    pub fn set(&self, route: impl Into<Box<str>>) {
        let _ = self.0.set(route.into());
    }

    pub(super) fn get(&self) -> Option<&str> {
        self.0.get().map(AsRef::as_ref)
    }
}

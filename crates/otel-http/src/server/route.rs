//! Routes of a server: the names and metrics that are cached for each, and the extension by which a router reports one.

use std::borrow::Cow;
#[cfg(feature = "tracing")]
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use opentelemetry::KeyValue;
use otel_operation::{BoundedCache, SmallOnceMap, intern};

use crate::attributes::{self, ROUTE};
use crate::instrumentation::Shared;
use crate::method::KnownMethod;
use crate::metrics::Series;

/// The cached span names and metrics of a route.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) route: Option<Arc<str>>,
    /// The same text, which layers inside compare with theirs; `None` if too many routes are interned.
    pub(super) interned: Option<&'static str>,
    pub(super) series: Series,
    /// The series of requests in flight, which have no route.
    pub(super) in_flight: Arc<Series>,
    /// The known routes, for a request whose route is not known at its start; `None` in a route.
    pub(super) routes: Option<Arc<Routes>>,
    names: SmallOnceMap<u8, Cow<'static, str>, 16>,
}

impl Route {
    /// Creates the state of requests whose route is not known.
    pub(super) fn unknown(routes: &Arc<Routes>) -> Self {
        Self { routes: Some(Arc::clone(routes)), ..Self::new(None, &routes.in_flight) }
    }

    fn new(route: Option<&str>, in_flight: &Arc<Series>) -> Self {
        let interned = route.and_then(|route| match intern(route) {
            Cow::Borrowed(route) => Some(route),
            Cow::Owned(_) => None,
        });
        let route: Option<Arc<str>> = route.map(Into::into);
        let common = route.iter().map(|route| KeyValue::new(ROUTE, Arc::clone(route))).collect();
        Self {
            route,
            interned,
            series: Series::for_route(&in_flight.shared, common),
            in_flight: Arc::clone(in_flight),
            routes: None,
            names: SmallOnceMap::new(),
        }
    }

    pub(super) fn name(&self, method: &KnownMethod) -> Cow<'static, str> {
        self.names.get_or_init_with(
            method.index,
            || attributes::span_name(method, self.route.as_deref()),
            Cow::clone,
        )
    }
}

/// The routes of a layer.
#[derive(Debug)]
pub(super) struct Routes {
    known: BoundedCache<Route>,
    in_flight: Arc<Series>,
    #[cfg(feature = "tracing")]
    max: usize,
    #[cfg(feature = "tracing")]
    has_warned: AtomicBool,
}

impl Routes {
    /// Creates an empty list, in which at most `max` routes are cached.
    pub(super) fn new(max: usize, shared: &Arc<Shared>) -> Self {
        Self {
            known: BoundedCache::new(max),
            in_flight: Arc::new(Series::for_route(shared, Vec::new())),
            #[cfg(feature = "tracing")]
            max,
            #[cfg(feature = "tracing")]
            has_warned: AtomicBool::new(false),
        }
    }

    /// Returns the route of this template.
    #[inline]
    pub(super) fn get(&self, template: &str) -> Arc<Route> {
        let route = || Route::new(Some(template), &self.in_flight);
        match self.known.get_or_insert(template, route) {
            Some(route) => Arc::clone(route),
            None => {
                #[cfg(feature = "tracing")]
                self.warn(template);
                Arc::new(route())
            }
        }
    }

    /// Warns once: an application with so many routes probably reports paths.
    #[cfg(feature = "tracing")]
    #[cold]
    fn warn(&self, route: &str) {
        if !self.has_warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                name: "routes.limit",
                route,
                "more than {} routes: names and metrics of further ones are created for each request; \
                 a route has to be a template, not a path",
                self.max,
            );
        }
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

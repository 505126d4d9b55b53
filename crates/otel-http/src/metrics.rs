//! HTTP server and client metrics: the instruments, and the cached attribute sets per route or target.
//!
//! Follows the [HTTP semantic conventions](https://opentelemetry.io/docs/specs/semconv/http/http-metrics/), "HTTP
//! metrics": the durations are Stable, active requests and body sizes are in Development.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use http::StatusCode;
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Histogram, Meter, UpDownCounter};
use otel_operation::{
    AttributedHistogram, AttributedUpDownCounter, DURATION_BOUNDARIES, ERROR_TYPE, Outcome, SmallOnceMap,
};
use otel_request::SeriesLimit;

use crate::attributes::{METHOD, PROTOCOL_VERSION, ProtocolVersion, STATUS_CODE, URL_SCHEME, scheme};
use crate::instrumentation::Shared;

/// The number of attribute sets per route or target that are found without a lock.
const SETS: usize = 8;

/// The instruments of a server or of a client.
#[derive(Debug)]
pub struct HttpInstruments {
    duration: Histogram<f64>,
    active: UpDownCounter<i64>,
    request_size: Histogram<u64>,
    response_size: Histogram<u64>,
}

impl HttpInstruments {
    pub(crate) fn server(meter: &Meter) -> Self {
        Self::new(meter, "server", "Number of active HTTP server requests.")
    }

    pub(crate) fn client(meter: &Meter) -> Self {
        Self::new(meter, "client", "Number of active HTTP requests.")
    }

    /// The descriptions are the registry's, to the letter.
    fn new(meter: &Meter, side: &str, active: &'static str) -> Self {
        let name = |name: &str| format!("http.{side}.{name}");
        Self {
            duration: meter
                .f64_histogram(name("request.duration"))
                .with_unit("s")
                .with_description(format!("Duration of HTTP {side} requests."))
                .with_boundaries(DURATION_BOUNDARIES.to_vec())
                .build(),
            active: meter
                .i64_up_down_counter(name("active_requests"))
                .with_unit("{request}")
                .with_description(active)
                .build(),
            request_size: meter
                .u64_histogram(name("request.body.size"))
                .with_unit("By")
                .with_description(format!("Size of HTTP {side} request bodies."))
                .build(),
            response_size: meter
                .u64_histogram(name("response.body.size"))
                .with_unit("By")
                .with_description(format!("Size of HTTP {side} response bodies."))
                .build(),
        }
    }
}

/// The key of a cached attribute set within one route or target. Small, because each measurement compares it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) method: u8,
    pub(crate) https: bool,
    pub(crate) version: Option<ProtocolVersion>,
    pub(crate) status: Option<StatusCode>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct FullKey {
    key: Key,
    error: Option<&'static str>,
}

impl FullKey {
    /// Returns `None` for an error type that was not interned. It is rare, so its attributes are not cached.
    #[inline]
    fn new(key: Key, outcome: &Outcome) -> Option<Self> {
        match outcome.error_type() {
            None => Some(Self { key, error: None }),
            Some(Cow::Borrowed(error)) => Some(Self { key, error: Some(error) }),
            Some(Cow::Owned(_)) => None,
        }
    }
}

/// The sizes in bytes of the bodies of a finished request, as far as they are known.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    pub(crate) request: Option<u64>,
    pub(crate) response: Option<u64>,
}

/// The metric series of one route (server) or target (client).
#[derive(Debug)]
pub(crate) struct Series {
    pub(crate) shared: Arc<Shared>,
    /// The attributes of all series: the route, or the server's address and port.
    common: Vec<KeyValue>,
    /// `true` if `url.scheme` is an attribute: required on servers, opt-in on clients.
    scheme: bool,
    durations: SmallOnceMap<FullKey, AttributedHistogram<f64>, SETS>,
    sizes: SmallOnceMap<FullKey, (AttributedHistogram<u64>, AttributedHistogram<u64>), SETS>,
    active: SmallOnceMap<(u8, bool), AttributedUpDownCounter, SETS>,
    /// The limit of the layer to which new attribute sets add, and the number of those.
    limit: Option<Arc<SeriesLimit>>,
    sets: AtomicU32,
}

impl Series {
    /// Creates the series of a route.
    pub(crate) fn for_route(shared: &Arc<Shared>, common: Vec<KeyValue>) -> Self {
        Self::new(shared, common, true, None)
    }

    /// Creates the series of a host that is called, of which the first counts at once.
    pub(crate) fn for_host(
        shared: &Arc<Shared>,
        common: Vec<KeyValue>,
        limit: Option<Arc<SeriesLimit>>,
    ) -> Self {
        if let Some(limit) = &limit {
            limit.add();
        }
        Self::new(shared, common, false, limit)
    }

    fn new(
        shared: &Arc<Shared>,
        common: Vec<KeyValue>,
        scheme: bool,
        limit: Option<Arc<SeriesLimit>>,
    ) -> Self {
        Self {
            shared: Arc::clone(shared),
            common,
            scheme,
            durations: SmallOnceMap::new(),
            sizes: SmallOnceMap::new(),
            active: SmallOnceMap::new(),
            limit,
            sets: AtomicU32::new(0),
        }
    }

    /// Counts a new attribute set.
    #[cold]
    fn count_set(&self) {
        if let Some(limit) = &self.limit
            && self.sets.fetch_add(1, Ordering::Relaxed) > 0
        {
            limit.add();
        }
    }

    /// Adds to the number of active requests; returns false if no instruments are known yet. Only attributes known at the start
    /// are used, because the increment and the decrement must have the same ones.
    #[inline]
    pub(crate) fn in_flight(&self, key: &Key, delta: i64) -> bool {
        let Some(instruments) = self.shared.instruments.get() else { return false };
        let attributes = || {
            let mut attributes = self.common.clone();
            attributes.push(KeyValue::new(METHOD, self.shared.http.known_methods.name(key.method)));
            if self.scheme {
                attributes.push(KeyValue::new(URL_SCHEME, scheme(key.https)));
            }
            attributes
        };
        self.active.get_or_init_with(
            (key.method, key.https),
            || AttributedUpDownCounter::new(&instruments.active, attributes()),
            |series| series.add(delta),
        );
        true
    }

    #[inline]
    pub(crate) fn record_duration(&self, key: Key, outcome: &Outcome, elapsed: Duration) {
        let Some(instruments) = self.shared.instruments.get() else { return };
        let attributes = || self.attributes(&key, outcome.error_type());
        let seconds = elapsed.as_secs_f64();
        let Some(key) = FullKey::new(key, outcome) else {
            return instruments.duration.record(seconds, &attributes());
        };
        let make = || {
            self.count_set();
            AttributedHistogram::new(&instruments.duration, attributes())
        };
        self.durations.get_or_init_with(key, make, |series| series.record(seconds));
    }

    pub(crate) fn record_sizes(&self, key: Key, outcome: &Outcome, sizes: Sizes) {
        let Some(instruments) = self.shared.instruments.get() else { return };
        if sizes.request.is_none() && sizes.response.is_none() {
            return;
        }
        let make = || {
            let attributes = self.attributes(&key, outcome.error_type());
            (
                AttributedHistogram::new(&instruments.request_size, attributes.clone()),
                AttributedHistogram::new(&instruments.response_size, attributes),
            )
        };
        let record = |(request, response): &(AttributedHistogram<u64>, AttributedHistogram<u64>)| {
            if let Some(bytes) = sizes.request {
                request.record(bytes);
            }
            if let Some(bytes) = sizes.response {
                response.record(bytes);
            }
        };
        match FullKey::new(key, outcome) {
            Some(key) => self.sizes.get_or_init_with(key, make, record),
            None => record(&make()),
        }
    }

    fn attributes(&self, key: &Key, error: Option<&Cow<'static, str>>) -> Vec<KeyValue> {
        let mut attributes = self.common.clone();
        attributes.push(KeyValue::new(METHOD, self.shared.http.known_methods.name(key.method)));
        if self.scheme {
            attributes.push(KeyValue::new(URL_SCHEME, scheme(key.https)));
        }
        if let Some(version) = key.version {
            attributes.push(KeyValue::new(PROTOCOL_VERSION, version.as_str()));
        }
        if let Some(status) = key.status {
            attributes.push(KeyValue::new(STATUS_CODE, i64::from(status.as_u16())));
        }
        if let Some(error) = error {
            attributes.push(KeyValue::new(ERROR_TYPE, error.clone()));
        }
        attributes
    }
}

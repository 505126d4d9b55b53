//! The instrumentation: tracer, instruments, and the series of each name. One is global.
//!
//! Follows the [library guidelines of the OpenTelemetry
//! specification](https://opentelemetry.io/docs/specs/otel/library-guidelines/).

use std::sync::{Arc, LazyLock};

use opentelemetry::InstrumentationScope;
use otel_operation::{BoundedCache, LazyInstruments, Tracer};

use crate::metrics::{TaskInstruments, TaskSeries};
use crate::options::Options;

/// The names of tasks, and of channels, that have metrics of their own. Those beyond it share the name `_OTHER`.
const MAX_NAMES: usize = 512;

/// The name on the metrics of tasks and channels beyond the limit.
const OTHER: &str = "_OTHER";

/// The instrumentation of tasks and channels with [`Options`]. Cloning is cheap. Functions and types that are given none use
/// a global one, with the default options.
#[derive(Clone, Debug)]
pub struct TaskInstrumentation(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    tracer: Tracer,
    options: Options,
    instruments: Arc<LazyInstruments<TaskInstruments>>,
    series: BoundedCache<TaskSeries>,
    other_series: Arc<TaskSeries>,
}

impl TaskInstrumentation {
    /// Creates an instrumentation.
    #[must_use]
    pub fn new(options: Options) -> Self {
        let scope = InstrumentationScope::builder(env!("CARGO_PKG_NAME"))
            .with_version(env!("CARGO_PKG_VERSION"))
            .build();
        let instruments = Arc::new(options.providers.instruments(scope.clone(), TaskInstruments::new));
        Self(Arc::new(Inner {
            tracer: options.providers.tracer(scope),
            other_series: Arc::new(TaskSeries::new(&instruments, OTHER)),
            series: BoundedCache::new(MAX_NAMES),
            instruments,
            options,
        }))
    }

    /// Returns the instrumentation with the global providers.
    #[must_use]
    pub fn global() -> &'static Self {
        static GLOBAL: LazyLock<TaskInstrumentation> =
            LazyLock::new(|| TaskInstrumentation::new(Options::new()));
        &GLOBAL
    }

    pub(crate) fn tracer(&self) -> &Tracer {
        &self.0.tracer
    }

    pub(crate) fn options(&self) -> &Options {
        &self.0.options
    }

    /// Returns the metrics of the tasks of this name.
    pub(crate) fn task_series(&self, name: &str) -> Arc<TaskSeries> {
        let Inner { instruments, series, other_series, .. } = &*self.0;
        series
            .get_or_insert(name, || TaskSeries::new(instruments, name))
            .unwrap_or_else(|| Arc::clone(other_series))
    }
}

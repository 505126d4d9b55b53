//! The instrumentation: tracer, instruments, and the series of each name. One is global.
//!
//! Follows the [library guidelines of the OpenTelemetry
//! specification](https://opentelemetry.io/docs/specs/otel/library-guidelines/).

use std::sync::{Arc, LazyLock};

use opentelemetry::InstrumentationScope;
use otel_operation::{BoundedCache, LazyInstruments, Tracer};

use crate::metrics::{
    ChannelInstruments, ChannelSeries, LockInstruments, LockSeries, TaskInstruments, TaskSeries,
};
use crate::options::Options;

/// The names of tasks, of channels and of locks that have metrics of their own. Those beyond it share the name `_OTHER`.
const MAX_NAMES: usize = 512;

/// The name on the metrics of tasks, channels and locks beyond the limit.
const OTHER: &str = "_OTHER";

/// The instrumentation of tasks and channels with [`Options`]. Cloning is cheap. Functions and types that are given none use
/// a global one, with the default options.
#[derive(Clone, Debug)]
pub struct TaskInstrumentation(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    tracer: Tracer,
    options: Options,
    task_instruments: Arc<LazyInstruments<TaskInstruments>>,
    tasks: BoundedCache<TaskSeries>,
    other_tasks: Arc<TaskSeries>,
    channel_instruments: Arc<LazyInstruments<ChannelInstruments>>,
    channels: BoundedCache<ChannelSeries>,
    other_channels: Arc<ChannelSeries>,
    lock_instruments: Arc<LazyInstruments<LockInstruments>>,
    locks: BoundedCache<LockSeries>,
    other_locks: Arc<LockSeries>,
}

impl TaskInstrumentation {
    /// Creates an instrumentation.
    #[must_use]
    pub fn new(options: Options) -> Self {
        let scope = InstrumentationScope::builder(env!("CARGO_PKG_NAME"))
            .with_version(env!("CARGO_PKG_VERSION"))
            .build();
        let task_instruments = Arc::new(options.providers.instruments(scope.clone(), TaskInstruments::new));
        let channel_instruments =
            Arc::new(options.providers.instruments(scope.clone(), ChannelInstruments::new));
        let lock_instruments = Arc::new(options.providers.instruments(scope.clone(), LockInstruments::new));
        Self(Arc::new(Inner {
            tracer: options.providers.tracer(scope),
            tasks: BoundedCache::new(MAX_NAMES),
            other_tasks: Arc::new(TaskSeries::new(&task_instruments, OTHER)),
            task_instruments,
            channels: BoundedCache::new(MAX_NAMES),
            other_channels: Arc::new(ChannelSeries::new(&channel_instruments, OTHER)),
            channel_instruments,
            locks: BoundedCache::new(MAX_NAMES),
            other_locks: Arc::new(LockSeries::new(&lock_instruments, OTHER)),
            lock_instruments,
            options,
        }))
    }

    /// Returns the instrumentation with the global providers. A meter provider that is set later is noticed at the next
    /// operation, as is a tracer provider that [`otel_operation::set_tracer_provider`] sets. A tracer provider that is set in
    /// another way, without a meter provider, is noticed within 32 operations.
    #[must_use]
    pub fn global() -> &'static Self {
        static GLOBAL: LazyLock<TaskInstrumentation> =
            LazyLock::new(|| TaskInstrumentation::new(Options::new()));
        &GLOBAL
    }

    pub(crate) fn tracer(&self) -> &Tracer {
        &self.0.tracer
    }

    /// Returns true while neither a meter nor a tracer provider is installed, so that nothing is recorded.
    #[inline]
    pub(crate) fn is_noop(&self) -> bool {
        self.0.task_instruments.get().is_none() && self.0.tracer.is_noop()
    }

    pub(crate) fn options(&self) -> &Options {
        &self.0.options
    }

    /// Returns the metrics of the tasks of this name.
    pub(crate) fn task_series(&self, name: &str) -> Arc<TaskSeries> {
        let Inner { task_instruments, tasks, other_tasks, .. } = &*self.0;
        let series = tasks.get_or_insert(name, || TaskSeries::new(task_instruments, name));
        Arc::clone(series.unwrap_or(other_tasks))
    }

    /// Returns the metrics of the channels of this name.
    pub(crate) fn channel_series(&self, name: &str) -> Arc<ChannelSeries> {
        let Inner { channel_instruments, channels, other_channels, .. } = &*self.0;
        let series = channels.get_or_insert(name, || ChannelSeries::new(channel_instruments, name));
        Arc::clone(series.unwrap_or(other_channels))
    }

    /// Returns the metric of the locks of this name.
    pub(crate) fn lock_series(&self, name: &str) -> Arc<LockSeries> {
        let Inner { lock_instruments, locks, other_locks, .. } = &*self.0;
        let series = locks.get_or_insert(name, || LockSeries::new(lock_instruments, name));
        Arc::clone(series.unwrap_or(other_locks))
    }
}

//! The options that the instrumentations of all databases share.
//!
//! Follows the [database semantic conventions](https://opentelemetry.io/docs/specs/semconv/db/database-spans/): an
//! attribute that they make opt-in is an option here.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry::propagation::TextMapPropagator;
use otel_operation::{Providers, SamplerAttributes};
use otel_propagation::PropagatorHandle;

type Filter = Arc<dyn Fn(&str) -> bool + Send + Sync>;
type Summarize = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// The default limit of statements per client that are prepared once.
const STATEMENTS: usize = 1024;

/// The default limit of a recorded query text, in bytes.
const QUERY_TEXT: usize = 4096;

/// The default wait for a connection beyond which a span has an event of it.
const CONNECTION_WAIT: Duration = Duration::from_millis(10);

/// The form in which query texts are recorded on spans.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum QueryText {
    /// Not at all.
    Omitted,
    /// Without comments, and with `?` for each literal.
    #[default]
    Sanitized,
    /// As it is, with the literals that the application put into it.
    Verbatim,
}

/// The options of a client's instrumentation, the same for all databases. Default: the global providers and propagator,
/// which are looked up at first use and can therefore be set later.
#[derive(Clone)]
pub struct Options {
    pub(crate) is_recording: bool,
    pub(crate) propagation: PropagatorHandle,
    pub(crate) providers: Providers,
    pub(crate) sampler_attributes: SamplerAttributes,
    pub(crate) filter: Option<Filter>,
    pub(crate) summarize: Option<Summarize>,
    pub(crate) query_text: QueryText,
    pub(crate) max_query_text: usize,
    pub(crate) max_statements: usize,
    pub(crate) returned_rows: bool,
    pub(crate) connection_wait_limit: Duration,
    pub(crate) query_comments: bool,
    pub(crate) server: Option<(Arc<str>, Option<u16>)>,
    pub(crate) namespace: Option<Arc<str>>,
    pub(crate) pool_name: Option<Arc<str>>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            is_recording: true,
            propagation: PropagatorHandle::default(),
            providers: Providers::default(),
            sampler_attributes: SamplerAttributes::default(),
            filter: None,
            summarize: None,
            query_text: QueryText::default(),
            max_query_text: QUERY_TEXT,
            max_statements: STATEMENTS,
            returned_rows: false,
            connection_wait_limit: CONNECTION_WAIT,
            query_comments: false,
            server: None,
            namespace: None,
            pool_name: None,
        }
    }
}

impl Options {
    /// Returns the default options.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns options by which nothing is recorded, neither spans nor metrics, for a library that may be given an
    /// instrumented client, and was given a bare one.
    #[must_use]
    pub fn without_recording() -> Self {
        Self { is_recording: false, ..Self::default() }
    }

    otel_operation::with_providers!();

    /// Writes context into query comments with this propagator instead of the global one; see
    /// [`with_query_comments`](Self::with_query_comments).
    #[must_use]
    pub fn with_propagator<P>(mut self, propagator: P) -> Self
    where
        P: TextMapPropagator + Send + Sync + 'static,
    {
        self.propagation = PropagatorHandle::new(propagator);
        self
    }

    /// Sets when samplers receive attributes. Default: [`SamplerAttributes::IfParentAllows`], which omits them under an
    /// unsampled parent.
    #[must_use]
    pub fn with_sampler_attributes(mut self, input: SamplerAttributes) -> Self {
        self.sampler_attributes = input;
        self
    }

    /// Records only operations for whose span name (`SELECT users`, `GET`) `filter` returns true. The others run in the
    /// current context. `filter` must be deterministic because its result is cached.
    #[must_use]
    pub fn with_filter<F>(mut self, filter: F) -> Self
    where
        F: Fn(&str) -> bool + Send + Sync + 'static,
    {
        self.filter = Some(Arc::new(filter));
        self
    }

    /// Derives the summary of a query from its text, or `None` for the one that this crate finds. Spans are named after it,
    /// and it is on metrics, so that it must have a low cardinality. `summarize` must be deterministic because its result is
    /// cached.
    #[must_use]
    pub fn with_query_summary<F>(mut self, summarize: F) -> Self
    where
        F: Fn(&str) -> Option<String> + Send + Sync + 'static,
    {
        self.summarize = Some(Arc::new(summarize));
        self
    }

    /// Sets the form in which query texts are recorded. Default: [`QueryText::Sanitized`].
    #[must_use]
    pub fn with_query_text(mut self, text: QueryText) -> Self {
        self.query_text = text;
        self
    }

    /// Sets the maximum length of a recorded query text, in bytes. Default: 4,096. The rest is left out.
    #[must_use]
    pub fn with_max_query_text(mut self, limit: usize) -> Self {
        self.max_query_text = limit;
        self
    }

    /// Sets the limit of statements per client that are analyzed once and have their own span names and metrics. Default:
    /// 1,024. One beyond it is analyzed at each use, which costs some microseconds; its span is named after the database or the server, else
    /// after the system, and its metrics lack the summary.
    #[must_use]
    pub fn with_max_statements(mut self, limit: usize) -> Self {
        self.max_statements = limit;
        self
    }

    /// Records the number of rows on spans, `db.response.returned_rows`. Default: false. The histogram
    /// `db.client.response.returned_rows` has it in either case.
    #[must_use]
    pub fn with_returned_rows(mut self, record: bool) -> Self {
        self.returned_rows = record;
        self
    }

    /// Sets the wait for a connection from which on the span of the operation has an event of it. Default: 10 ms. The
    /// histogram `db.client.connection.wait_time` has each wait.
    #[must_use]
    pub fn with_connection_wait_limit(mut self, limit: Duration) -> Self {
        self.connection_wait_limit = limit;
        self
    }

    /// Appends the context to the text of each query as a comment in the format of
    /// [SQLCommenter](https://google.github.io/sqlcommenter/spec/), for the log of the server. Default: false, because
    /// each text is then a different one, so that neither the client nor the server can reuse a prepared statement.
    #[must_use]
    pub fn with_query_comments(mut self, append: bool) -> Self {
        self.query_comments = append;
        self
    }

    /// Sets the server's address and its port (`None` for the default port of the system), recorded on spans and metrics as
    /// `server.address` and `server.port`. Default: those in the client's configuration.
    #[must_use]
    pub fn with_server(mut self, address: impl Into<Arc<str>>, port: Option<u16>) -> Self {
        self.server = Some((address.into(), port));
        self
    }

    /// Sets the name of the database, `db.namespace`. Default: the one in the client's configuration.
    #[must_use]
    pub fn with_namespace(mut self, namespace: impl Into<Arc<str>>) -> Self {
        self.namespace = Some(namespace.into());
        self
    }

    /// Sets the name of the pool on its metrics. Default: the address of the server and the name of the database.
    #[must_use]
    pub fn with_pool_name(mut self, name: impl Into<Arc<str>>) -> Self {
        self.pool_name = Some(name.into());
        self
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("is_recording", &self.is_recording)
            .field("propagation", &self.propagation)
            .field("providers", &self.providers)
            .field("sampler_attributes", &self.sampler_attributes)
            .field("query_text", &self.query_text)
            .field("max_query_text", &self.max_query_text)
            .field("max_statements", &self.max_statements)
            .field("returned_rows", &self.returned_rows)
            .field("connection_wait_limit", &self.connection_wait_limit)
            .field("query_comments", &self.query_comments)
            .field("server", &self.server)
            .field("namespace", &self.namespace)
            .field("pool_name", &self.pool_name)
            .finish_non_exhaustive()
    }
}

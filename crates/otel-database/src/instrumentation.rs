//! The instrumentation of one client, and the cache of its statements.
//!
//! Follows the [database semantic conventions](https://opentelemetry.io/docs/specs/semconv/db/database-spans/). What all
//! operations of a statement share is built once.

use std::sync::Arc;

use opentelemetry::InstrumentationScope;
use opentelemetry::metrics::Meter;
use otel_operation::BoundedCache;

use crate::client::{ClientFacts, ClientState};
use crate::command::CommandDescription;
use crate::options::{Options, QueryText};
use crate::pool::PoolMetrics;
use crate::prepared::{AllSeries, PreparedStatement};
use crate::sql::Dialect;
use crate::statement::Statement;

/// The longest query text that is kept in the cache, in bytes. Longer ones are analyzed at each use.
const MAX_KEY: usize = 8 << 10;

/// The instrumentation of one client of a database: a pool or a connection. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct DatabaseInstrumentation(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    client: Arc<ClientState>,
    queries: BoundedCache<PreparedStatement>,
    commands: BoundedCache<PreparedStatement>,
    series: AllSeries,
}

/// The builder of a [`DatabaseInstrumentation`], with the facts of the client's configuration. They stand on all that is
/// recorded; the user's [`Options`] take precedence.
#[derive(Clone, Debug)]
pub struct InstrumentationBuilder {
    system: &'static str,
    scope: InstrumentationScope,
    facts: ClientFacts,
}

impl InstrumentationBuilder {
    /// Sets the server's address, `server.address`, and its port, `server.port`, which is `None` for the default port of the
    /// system.
    #[must_use]
    pub fn with_server(mut self, server: Option<(&str, Option<u16>)>) -> Self {
        self.facts.server = server.map(|(address, port)| (address.into(), port));
        self
    }

    /// Sets the name of the database, `db.namespace`.
    #[must_use]
    pub fn with_namespace(mut self, namespace: Option<&str>) -> Self {
        self.facts.namespace = namespace.map(Into::into);
        self
    }

    /// Leaves the name of the database out of span names, for systems that number their databases.
    #[must_use]
    pub fn without_namespace_in_names(mut self) -> Self {
        self.facts.is_namespace_in_names = false;
        self
    }

    /// Sets the rules for quotes and comments in query texts. Default: [`Dialect::Generic`].
    #[must_use]
    pub fn with_dialect(mut self, dialect: Dialect) -> Self {
        self.facts.dialect = dialect;
        self
    }

    /// Creates the instrumentation.
    #[must_use]
    pub fn build(self, options: Options) -> DatabaseInstrumentation {
        let limit = options.max_statements;
        let client = Arc::new(ClientState::new(self.system, self.scope, self.facts, options));
        DatabaseInstrumentation(Arc::new(Inner {
            queries: BoundedCache::new(limit),
            commands: BoundedCache::new(limit),
            series: AllSeries::new(&client),
            client,
        }))
    }
}

impl DatabaseInstrumentation {
    /// Builds the instrumentation of a client. `system` is the value of `db.system.name`. `scope` is the client crate's own
    /// instrumentation scope, with its name, version and [`attributes::SCHEMA_URL`](crate::attributes::SCHEMA_URL).
    #[must_use]
    pub fn builder(system: &'static str, scope: InstrumentationScope) -> InstrumentationBuilder {
        let facts = ClientFacts { is_namespace_in_names: true, ..ClientFacts::default() };
        InstrumentationBuilder { system, scope, facts }
    }

    /// Returns the statement of a query text, which is analyzed at its first use.
    ///
    /// A client keeps [`Options::with_max_statements`] texts of up to 8 KiB. Others are analyzed at each use.
    #[must_use]
    #[inline]
    pub fn query(&self, text: &str) -> Statement {
        let Inner { client, queries, series, .. } = &*self.0;
        let prepare = || PreparedStatement::from_query(client, series, text);
        let kept = if text.len() <= MAX_KEY { queries.get_or_insert(text, prepare) } else { None };
        Statement(kept.map_or_else(|| Arc::new(prepare()), Arc::clone))
    }

    /// Returns the statement of a command, which is prepared at its first use. A client keeps
    /// [`Options::with_max_statements`] commands; spans and metrics of others lack their names.
    #[must_use]
    #[inline]
    pub fn command(&self, command: &CommandDescription<'_>) -> Statement {
        let Inner { client, commands, series, .. } = &*self.0;
        let key = command.key();
        let prepare = || PreparedStatement::from_command(client, series, &key, command);
        let kept = commands.get_or_insert(&key, prepare);
        Statement(kept.map_or_else(|| Arc::new(prepare()), Arc::clone))
    }

    /// Returns true while nothing of OpenTelemetry is installed, neither a provider nor, for query comments, a propagator.
    /// Operations then record nothing, so that a client may leave them out. A tracer provider that is installed alone is
    /// noticed within 32 calls ([`Tracer::is_noop`](otel_operation::Tracer::is_noop)).
    #[must_use]
    #[inline]
    pub fn is_idle(&self) -> bool {
        let client = &self.0.client;
        client.records_nothing() && (!client.options.query_comments || client.options.propagation.is_noop())
    }

    /// Returns true if queries get a comment of their context ([`Options::with_query_comments`]).
    #[must_use]
    #[inline]
    pub fn appends_query_comments(&self) -> bool {
        self.0.client.options.query_comments
    }

    /// Returns the form in which query texts are recorded, and their maximum length in bytes, for a client that describes
    /// each operation by a text of its own.
    #[must_use]
    pub fn query_text(&self) -> (QueryText, usize) {
        let options = &self.0.client.options;
        (options.query_text, options.max_query_text)
    }

    /// Returns the meter for instruments that the conventions do not define, or `None` as long as no meter provider is
    /// installed.
    #[must_use]
    pub fn meter(&self) -> Option<&Meter> {
        self.0.client.meter()
    }

    /// Creates the metrics of the client's pool of connections.
    #[must_use]
    pub fn pool_metrics(&self) -> PoolMetrics {
        PoolMetrics::new(Arc::clone(&self.0.client))
    }
}

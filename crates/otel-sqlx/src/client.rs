//! The instrumentation that a pool, its connections and their transactions share.
//!
//! Follows the [database semantic conventions](https://opentelemetry.io/docs/specs/semconv/db/sql/) for SQL databases.

use opentelemetry::{Context, InstrumentationScope};
use otel_database::attributes::SCHEMA_URL;
use otel_database::{DatabaseInstrumentation, DatabaseOperation, Options, PoolMetrics};

use crate::database::{ClientFacts, InstrumentedDatabase, OptionsOf};
use crate::query::OwnedQuery;

/// The instrumentation of one pool or connection. Cloning is cheap.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    database: DatabaseInstrumentation,
}

impl Client {
    pub(crate) fn new<DB: InstrumentedDatabase>(connect: &OptionsOf<DB>, options: Options) -> Self {
        let ClientFacts { address, port, namespace } = DB::facts(connect);
        let scope = InstrumentationScope::builder(env!("CARGO_PKG_NAME"))
            .with_version(env!("CARGO_PKG_VERSION"))
            .with_schema_url(SCHEMA_URL)
            .build();
        let database = DatabaseInstrumentation::builder(DB::SYSTEM, scope)
            .with_server(address.as_deref().map(|address| (address, port)))
            .with_namespace(namespace.as_deref())
            .with_dialect(DB::DIALECT)
            .build(options);
        Self { database }
    }

    pub(crate) fn pool_metrics(&self) -> PoolMetrics {
        self.database.pool_metrics()
    }

    #[inline]
    pub(crate) fn is_idle(&self) -> bool {
        self.database.is_idle()
    }

    /// Starts the operation of a query.
    #[inline]
    pub(crate) fn start<DB: InstrumentedDatabase>(&self, query: &mut OwnedQuery<DB>) -> DatabaseOperation {
        let statement = self.database.query(query.text());
        let current = Context::current();
        if !self.database.appends_query_comments() {
            return statement.start(&current);
        }
        let operation = statement.operation();
        let (operation, commented) = operation.start_commented(&current, query.text(), |_| {});
        if let Some(text) = commented {
            query.set_commented(text);
        }
        operation
    }

    /// Starts the operation of a command of sqlx, such as `BEGIN`.
    pub(crate) fn start_command(&self, text: &str, parent: &Context) -> DatabaseOperation {
        self.database.query(text).start(parent)
    }

    /// Starts the preparation of a statement.
    pub(crate) fn start_prepare(&self, text: &str) -> DatabaseOperation {
        self.database.query(&format!("PREPARE {text}")).start(&Context::current())
    }
}

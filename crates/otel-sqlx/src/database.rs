//! The facts of a client's configuration, by database.
//!
//! Follows the [database semantic conventions](https://opentelemetry.io/docs/specs/semconv/db/sql/) for SQL databases:
//! `db.system.name`, `db.namespace`, `server.address` and `server.port`. Nothing of it has credentials.

use otel_database::Dialect;
use sqlx::Database;

/// A database whose client this crate instruments: `Postgres`, `MySql` and `Sqlite`, with the feature of each.
pub trait InstrumentedDatabase: Database + sealed::Facts {}

pub(crate) mod sealed {
    use super::{ClientFacts, Dialect, OptionsOf};

    /// The facts that the instrumentation of a client states.
    pub trait Facts: sqlx::Database {
        /// The value of `db.system.name`.
        const SYSTEM: &'static str;
        const DIALECT: Dialect;

        fn facts(options: &OptionsOf<Self>) -> ClientFacts;

        /// Returns the database's own code of an error, if that is not its SQLSTATE.
        fn error_code(error: &(dyn sqlx::error::DatabaseError + 'static)) -> Option<String> {
            let _ = error;
            None
        }
    }
}

/// The connect options of a database.
pub(crate) type OptionsOf<DB> = <<DB as Database>::Connection as sqlx::Connection>::Options;

#[derive(Debug)]
pub struct ClientFacts {
    pub(crate) address: Option<String>,
    /// `None` for the default port.
    pub(crate) port: Option<u16>,
    pub(crate) namespace: Option<String>,
}

#[cfg(feature = "postgres")]
mod postgres {
    use super::{ClientFacts, Dialect, InstrumentedDatabase, OptionsOf, sealed::Facts};
    use sqlx::Postgres;

    impl InstrumentedDatabase for Postgres {}

    impl Facts for Postgres {
        const SYSTEM: &'static str = "postgresql";
        const DIALECT: Dialect = Dialect::PostgreSql;

        fn facts(options: &OptionsOf<Self>) -> ClientFacts {
            let socket = options.get_socket().map(|path| path.display().to_string());
            let port = Some(options.get_port()).filter(|port| *port != 5432 && socket.is_none());
            ClientFacts {
                address: Some(socket.unwrap_or_else(|| options.get_host().to_owned())),
                port,
                // The server's default is the name of the user.
                namespace: Some(options.get_database().unwrap_or(options.get_username()).to_owned()),
            }
        }
    }

    /// An instrumented pool of PostgreSQL.
    pub type PgPool = crate::Pool<Postgres>;
    /// An instrumented connection to PostgreSQL.
    pub type PgConnection = crate::Connection<Postgres>;
    /// An instrumented transaction of PostgreSQL.
    pub type PgTransaction<'c> = crate::Transaction<'c, Postgres>;
}

#[cfg(feature = "mysql")]
mod mysql {
    use super::{ClientFacts, Dialect, InstrumentedDatabase, OptionsOf, sealed::Facts};
    use sqlx::MySql;
    use sqlx::mysql::MySqlDatabaseError;

    impl InstrumentedDatabase for MySql {}

    impl Facts for MySql {
        const SYSTEM: &'static str = "mysql";
        const DIALECT: Dialect = Dialect::MySql;

        fn facts(options: &OptionsOf<Self>) -> ClientFacts {
            let socket = options.get_socket().map(|path| path.display().to_string());
            let port = Some(options.get_port()).filter(|port| *port != 3306 && socket.is_none());
            ClientFacts {
                address: Some(socket.unwrap_or_else(|| options.get_host().to_owned())),
                port,
                namespace: options.get_database().map(str::to_owned),
            }
        }

        fn error_code(error: &(dyn sqlx::error::DatabaseError + 'static)) -> Option<String> {
            error.try_downcast_ref::<MySqlDatabaseError>().map(|error| error.number().to_string())
        }
    }

    /// An instrumented pool of MySQL or MariaDB.
    pub type MySqlPool = crate::Pool<MySql>;
    /// An instrumented connection to MySQL or MariaDB.
    pub type MySqlConnection = crate::Connection<MySql>;
    /// An instrumented transaction of MySQL or MariaDB.
    pub type MySqlTransaction<'c> = crate::Transaction<'c, MySql>;
}

#[cfg(feature = "sqlite")]
mod sqlite {
    use super::{ClientFacts, Dialect, InstrumentedDatabase, OptionsOf, sealed::Facts};
    use sqlx::Sqlite;

    /// The prefix of the names that sqlx gives to databases in memory, before their number.
    const IN_MEMORY: &str = "file:sqlx-in-memory-";

    impl InstrumentedDatabase for Sqlite {}

    impl Facts for Sqlite {
        const SYSTEM: &'static str = "sqlite";
        const DIALECT: Dialect = Dialect::Sqlite;

        fn facts(options: &OptionsOf<Self>) -> ClientFacts {
            let file = options.get_filename();
            let is_in_memory = file.to_string_lossy().starts_with(IN_MEMORY);
            let name = file.file_name().map(|name| name.to_string_lossy().into_owned());
            let namespace = if is_in_memory { Some(":memory:".to_owned()) } else { name };
            ClientFacts { address: None, port: None, namespace }
        }
    }

    /// An instrumented pool of SQLite.
    pub type SqlitePool = crate::Pool<Sqlite>;
    /// An instrumented connection to SQLite.
    pub type SqliteConnection = crate::Connection<Sqlite>;
    /// An instrumented transaction of SQLite.
    pub type SqliteTransaction<'c> = crate::Transaction<'c, Sqlite>;
}

#[cfg(feature = "mysql")]
pub use mysql::{MySqlConnection, MySqlPool, MySqlTransaction};
#[cfg(feature = "postgres")]
pub use postgres::{PgConnection, PgPool, PgTransaction};
#[cfg(feature = "sqlite")]
pub use sqlite::{SqliteConnection, SqlitePool, SqliteTransaction};

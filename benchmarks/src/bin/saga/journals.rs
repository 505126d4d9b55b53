//! The measured journals. Files are in the target folder, because the system's temporary folder may be in memory.

use std::path::PathBuf;
use std::sync::Arc;

use benchmarks::process;
use otel_saga::journal::{Journal, MemoryJournal, RedbJournal};

use crate::cell::Kind;

/// The variable with the URL of a Postgres server.
#[cfg(feature = "comparison")]
pub(crate) const POSTGRES_URL: &str = "POSTGRES_URL";

/// An open journal and its location.
pub(crate) struct Opened {
    pub(crate) journal: Arc<dyn Journal>,
    /// Returns the number of syncs, if known.
    pub(crate) syncs: Box<dyn Fn() -> u64 + Send + Sync>,
    place: Place,
}

enum Place {
    Memory,
    File(PathBuf),
    /// A Postgres schema.
    #[cfg(feature = "comparison")]
    Schema(String),
}

/// Creates an empty journal.
pub(crate) async fn open(kind: Kind) -> Opened {
    match kind {
        Kind::Memory => {
            let journal = Arc::new(MemoryJournal::new());
            Opened { journal, syncs: Box::new(|| 0), place: Place::Memory }
        }
        Kind::Redb => {
            let folder = process::target().expect("the binary is in a target folder").join("saga");
            std::fs::create_dir_all(&folder).expect("a folder in the target folder can be created");
            let path = folder.join(format!("{}.redb", std::process::id()));
            let _ = std::fs::remove_file(&path);
            file(path)
        }
        #[cfg(feature = "comparison")]
        Kind::Postgres => {
            let schema = format!("bench_{}", std::process::id());
            postgres::options(&schema).migrate().await.expect("the tables can be created");
            postgres::connect(schema).await
        }
        #[cfg(not(feature = "comparison"))]
        Kind::Postgres => panic!("this build lacks the feature `comparison`"),
    }
}

fn file(path: PathBuf) -> Opened {
    let journal = Arc::new(RedbJournal::open(&path).expect("the file can be opened"));
    let counting = Arc::clone(&journal);
    Opened { journal, syncs: Box::new(move || counting.syncs()), place: Place::File(path) }
}

impl Opened {
    /// Closes and reopens the journal, as a restarted process does.
    pub(crate) async fn reopen(self) -> Self {
        match self.place {
            Place::Memory => self,
            Place::File(path) => {
                drop((self.journal, self.syncs));
                file(path)
            }
            #[cfg(feature = "comparison")]
            Place::Schema(schema) => {
                drop(self.journal);
                postgres::connect(schema).await
            }
        }
    }

    /// Removes the journal's data.
    pub(crate) async fn remove(self) {
        drop((self.journal, self.syncs));
        match self.place {
            Place::Memory => {}
            Place::File(path) => std::fs::remove_file(path).expect("the file exists"),
            #[cfg(feature = "comparison")]
            Place::Schema(schema) => postgres::remove(&schema).await,
        }
    }
}

#[cfg(feature = "comparison")]
mod postgres {
    use std::sync::Arc;

    use otel_saga::journal::PostgresOptions;
    use sqlx::{Connection as _, Executor as _, PgConnection};

    use super::{Opened, POSTGRES_URL, Place};

    fn url() -> String {
        std::env::var(POSTGRES_URL).expect("POSTGRES_URL is set")
    }

    pub(super) fn options(schema: &str) -> PostgresOptions {
        PostgresOptions::new(&url()).expect("POSTGRES_URL is a URL").with_schema(schema)
    }

    pub(super) async fn connect(schema: String) -> Opened {
        let journal = options(&schema).connect().await.expect("Postgres is reachable");
        Opened { journal: Arc::new(journal), syncs: Box::new(|| 0), place: Place::Schema(schema) }
    }

    pub(super) async fn remove(schema: &str) {
        let mut connection = PgConnection::connect(&url()).await.expect("Postgres is reachable");
        let drop = sqlx::AssertSqlSafe(format!("DROP SCHEMA {schema} CASCADE"));
        connection.execute(sqlx::query(drop)).await.expect("the schema exists");
    }
}

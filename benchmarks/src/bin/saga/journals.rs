//! The journals that are measured. Files lie in the target folder: a folder for temporary files may be in memory.

use std::path::PathBuf;
use std::sync::Arc;

use benchmarks::process;
use otel_saga::journal::{Journal, MemoryJournal, RedbJournal};

use crate::cell::Kind;

/// Where Postgres is.
#[cfg(feature = "comparison")]
pub(crate) const POSTGRES_URL: &str = "POSTGRES_URL";

/// A journal, and where it is.
pub(crate) struct Opened {
    pub(crate) journal: Arc<dyn Journal>,
    /// How often it has synced, where that is known.
    pub(crate) syncs: Box<dyn Fn() -> u64 + Send + Sync>,
    place: Place,
}

enum Place {
    Memory,
    File(PathBuf),
    /// The name of a schema.
    #[cfg(feature = "comparison")]
    Schema(String),
}

/// An empty journal.
pub(crate) async fn open(kind: Kind) -> Opened {
    match kind {
        Kind::Memory => {
            let journal = Arc::new(MemoryJournal::new());
            Opened { journal, syncs: Box::new(|| 0), place: Place::Memory }
        }
        Kind::Redb => {
            let folder = process::target().expect("there is a target folder").join("saga");
            std::fs::create_dir_all(&folder).expect("a folder can be made in the target folder");
            let path = folder.join(format!("{}.redb", std::process::id()));
            let _ = std::fs::remove_file(&path);
            file(path)
        }
        #[cfg(feature = "comparison")]
        Kind::Postgres => {
            let schema = format!("bench_{}", std::process::id());
            postgres::options(&schema).migrate().await.expect("the tables are made");
            postgres::connect(schema).await
        }
        #[cfg(not(feature = "comparison"))]
        Kind::Postgres => panic!("this build is without the feature `comparison`"),
    }
}

fn file(path: PathBuf) -> Opened {
    let journal = Arc::new(RedbJournal::open(&path).expect("the file can be opened"));
    let counting = Arc::clone(&journal);
    Opened { journal, syncs: Box::new(move || counting.syncs()), place: Place::File(path) }
}

impl Opened {
    /// Closes the journal and opens it again, as the next process does.
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

    /// Leaves nothing behind.
    pub(crate) async fn remove(self) {
        drop((self.journal, self.syncs));
        match self.place {
            Place::Memory => {}
            Place::File(path) => std::fs::remove_file(path).expect("the file is there"),
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
        let journal = options(&schema).connect().await.expect("Postgres is there");
        Opened { journal: Arc::new(journal), syncs: Box::new(|| 0), place: Place::Schema(schema) }
    }

    pub(super) async fn remove(schema: &str) {
        let mut connection = PgConnection::connect(&url()).await.expect("Postgres is there");
        let drop = sqlx::AssertSqlSafe(format!("DROP SCHEMA {schema} CASCADE"));
        connection.execute(sqlx::query(drop)).await.expect("the schema is there");
    }
}

//! A shop on otel-sqlx.

use futures_util::TryStreamExt;
use otel_sqlx::{SqliteConnection, SqlitePool, Transaction};
use sqlx::{Error, Sqlite, SqliteExecutor};

struct Shop {
    pool: SqlitePool,
}

impl Shop {
    async fn open(url: &str) -> Result<Self, Error> {
        Ok(Self { pool: SqlitePool::connect(url).await? })
    }

    async fn names(&self) -> Result<Vec<String>, Error> {
        sqlx::query_scalar("SELECT name FROM products").fetch(&self.pool).try_collect().await
    }

    async fn sell(&self, product: i64) -> Result<(), Error> {
        let mut transaction = self.pool.begin().await?;
        take(&mut transaction, product).await?;
        log(&mut *transaction, product).await?;
        pay(transaction, product).await
    }
}

async fn take(connection: &mut SqliteConnection, product: i64) -> Result<(), Error> {
    let query = sqlx::query("UPDATE products SET stock = stock - 1 WHERE id = $1").bind(product);
    query.execute(connection).await.map(drop)
}

async fn log<'e>(executor: impl SqliteExecutor<'e>, product: i64) -> Result<(), Error> {
    sqlx::query("INSERT INTO log VALUES ($1)").bind(product).execute(executor).await.map(drop)
}

async fn pay(mut transaction: Transaction<'_, Sqlite>, product: i64) -> Result<(), Error> {
    let query = sqlx::query("INSERT INTO sales VALUES ($1)").bind(product);
    query.execute(&mut *transaction).await?;
    transaction.commit().await
}

//! A server with the default settings, which prepares no transactions and so cannot take part in two-phase commits.

use otel_saga::two_phase::{PostgresParticipant, PostgresParticipantError};
use sqlx::postgres::{PgConnection, PgPool};
use sqlx::{AssertSqlSafe, Connection as _};

use crate::server::Server;

/// Opens a pool once the server accepts sessions; it listens before it does.
async fn pool(server: &Server) -> PgPool {
    let url = format!("{}/postgres", server.url());
    while PgConnection::connect(&url).await.is_err() {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    PgPool::connect(&url).await.unwrap()
}

async fn setting(pool: &PgPool) -> String {
    sqlx::query_scalar("SHOW max_prepared_transactions").fetch_one(pool).await.unwrap()
}

#[tokio::test]
async fn a_server_that_prepares_nothing_is_refused_until_it_is_told_to() {
    let mut server = Server::start();
    let refusing = pool(&server).await;
    assert_eq!(setting(&refusing).await, "0", "the default has changed");
    let refused = PostgresParticipant::connect("bank", refusing.clone()).await.unwrap_err();
    assert!(matches!(refused, PostgresParticipantError::NotPrepared), "{refused:?}");
    let text = refused.to_string();
    assert!(text.contains("`max_prepared_transactions` is 0") && text.contains("restart"), "{text}");
    let table: Option<String> =
        sqlx::query_scalar("SELECT to_regclass('twopc_branch')::text").fetch_one(&refusing).await.unwrap();
    assert_eq!(table, None, "nothing is made where nothing can take part");

    // The remedy that the error names.
    let set = AssertSqlSafe("ALTER SYSTEM SET max_prepared_transactions = 5".to_owned());
    sqlx::raw_sql(set).execute(&refusing).await.unwrap();
    refusing.close().await;
    server.crash();
    server.start_again();
    let preparing = pool(&server).await;
    assert_eq!(setting(&preparing).await, "5");
    PostgresParticipant::connect("bank", preparing).await.unwrap();
}

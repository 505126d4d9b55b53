//! Participants whose replies are lost: the server carries a statement out, and the connection is cut before the reply
//! arrives.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use otel_saga::two_phase::{Outcome, PostgresParticipant};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions, PgSslMode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::support::{BEGIN, Banks, LONG, url};

/// The text of the statement whose reply is lost; `None` once it was.
type Cut = Arc<Mutex<Option<&'static str>>>;

/// Forwards one connection until a statement with the text is replied to.
async fn forward(mut client: TcpStream, mut server: TcpStream, cut: Cut) -> std::io::Result<()> {
    let (mut request, mut reply) = (vec![0; 65_536], vec![0; 65_536]);
    loop {
        tokio::select! {
            read = client.read(&mut request) => {
                let Some(bytes) = request.get(..read?).filter(|bytes| !bytes.is_empty()) else { return Ok(()) };
                let is_lost = |text: &mut &str| bytes.windows(text.len()).any(|part| part == text.as_bytes());
                let is_lost = cut.lock().unwrap().take_if(is_lost).is_some();
                server.write_all(bytes).await?;
                if is_lost {
                    assert!(server.read(&mut reply).await? > 0, "the server has not replied");
                    return Ok(());
                }
            }
            read = server.read(&mut reply) => {
                let Some(bytes) = reply.get(..read?).filter(|bytes| !bytes.is_empty()) else { return Ok(()) };
                client.write_all(bytes).await?;
            }
        }
    }
}

/// Returns two databases whose participants are connected through a proxy that can lose a reply.
async fn banks() -> (Banks, Cut) {
    let mut banks = Banks::new().await;
    let cut = Cut::default();
    let mut participants = Vec::new();
    for (name, database) in ["a", "b"].into_iter().zip(&banks.names) {
        let options: PgConnectOptions = url(database).parse().unwrap();
        let server = (options.get_host().to_owned(), options.get_port());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let cut = Arc::clone(&cut);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(server.clone()).await.unwrap();
                tokio::spawn(forward(client, server, Arc::clone(&cut)));
            }
        });
        // The proxy reads the statements.
        let options = options.host("127.0.0.1").port(port).ssl_mode(PgSslMode::Disable);
        let pool = PgPoolOptions::new().max_connections(4).acquire_timeout(LONG).connect_with(options).await;
        participants.push(PostgresParticipant::connect(name, pool.unwrap()).await.unwrap());
    }
    banks.participants = participants.try_into().unwrap();
    (banks, cut)
}

/// Transfers 300, or too much, and loses the reply to the statement with this text. Returns the outcome after all
/// participants have acknowledged.
async fn transfer(text: &'static str, is_possible: bool) -> Outcome {
    let (banks, cut) = banks().await;
    let coordinator = banks.coordinator().await;
    let begun = coordinator.begin("transfer", "1").unwrap();
    let debit = banks.branch(0, &begun, -300).await;
    let mut credit = banks.branch(1, &begun, 300).await;
    if !is_possible {
        let overdraw = sqlx::query("UPDATE account SET cents = -1").execute(credit.connection()).await;
        assert!(overdraw.is_err());
    }
    *cut.lock().unwrap() = Some(text);
    begun.with(debit).with(credit).commit().await.unwrap();
    let outcome = timeout(LONG, coordinator.wait("transfer/1")).await.unwrap().unwrap();
    assert_eq!(*cut.lock().unwrap(), None, "no reply was lost: it is no test");
    assert!(outcome.is_consistent() && outcome.heuristics.is_empty(), "{outcome:?}");
    let expected = if outcome.is_committed() { [BEGIN - 300, BEGIN + 300] } else { [BEGIN, BEGIN] };
    assert_eq!(banks.cents().await, expected, "{outcome:?}");
    assert!(coordinator.shutdown(Duration::from_secs(60)).await);
    banks.drop().await;
    outcome
}

/// Changes one account, and loses the reply to the statement with this text.
async fn alone(text: &'static str) -> Outcome {
    let (banks, cut) = banks().await;
    let coordinator = banks.coordinator().await;
    let begun = coordinator.begin("transfer", "1").unwrap();
    let debit = banks.branch(0, &begun, -300).await;
    *cut.lock().unwrap() = Some(text);
    let outcome = begun.with(debit).commit().await.unwrap();
    assert_eq!(timeout(LONG, coordinator.wait("transfer/1")).await.unwrap().unwrap(), outcome);
    assert_eq!(*cut.lock().unwrap(), None, "no reply was lost: it is no test");
    let expected = if outcome.is_committed() { [BEGIN - 300, BEGIN] } else { [BEGIN, BEGIN] };
    assert_eq!(banks.cents().await, expected, "{outcome:?}");
    assert!(coordinator.shutdown(Duration::from_secs(60)).await);
    banks.drop().await;
    outcome
}

#[tokio::test]
async fn a_prepare_whose_reply_is_lost_is_rolled_back() {
    let outcome = transfer("PREPARE TRANSACTION", true).await;
    assert!(!outcome.is_committed() && outcome.reason.is_some(), "{outcome:?}");
}

#[tokio::test]
async fn a_check_of_the_prepare_whose_reply_is_lost_rolls_back() {
    assert!(!transfer("FROM pg_prepared_xacts WHERE gid", true).await.is_committed());
}

#[tokio::test]
async fn a_commit_whose_reply_is_lost_is_repeated_and_is_no_heuristic() {
    assert!(transfer("COMMIT PREPARED", true).await.is_committed());
}

#[tokio::test]
async fn a_rollback_whose_reply_is_lost_is_repeated_and_is_no_heuristic() {
    assert!(!transfer("ROLLBACK PREPARED", false).await.is_committed());
}

#[tokio::test]
async fn a_commit_in_one_phase_whose_reply_is_lost_is_found_committed() {
    assert!(alone("COMMIT").await.is_committed());
}

#[tokio::test]
async fn a_connection_that_is_lost_before_the_commit_in_one_phase_rolls_back() {
    assert!(!alone("INSERT INTO twopc_branch").await.is_committed());
}

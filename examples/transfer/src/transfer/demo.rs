//! The transfers: one that is committed, one that is aborted, and one whose coordinator is killed.

use std::path::Path;
use std::time::Duration;

use otel_saga::two_phase::Outcome;
use tokio::time::timeout;
use tonic::transport::Endpoint;

use super::databases::{Databases, connect};
use super::savings::Savings;
use super::server::URL;
use super::{Place, Transfers};
use crate::stage::Stage;
use crate::victim::{Death, kill};
use crate::{Failure, PATIENCE};

/// The coordinator that makes the first transfers, and the one that is killed.
const FIRST: &str = "first";
const KILLED: &str = "killed";

pub(crate) async fn play(stage: &mut Stage, folder: &Path, url: &str) -> Result<(), Failure> {
    let databases = Databases::create(url).await?;
    let played = with_databases(stage, folder, url, &databases).await;
    databases.drop().await;
    played
}

async fn with_databases(
    stage: &mut Stage,
    folder: &Path,
    url: &str,
    databases: &Databases,
) -> Result<(), Failure> {
    let savings = Savings::serve(stage, databases.savings.pool.clone()).await?;
    let played = with_service(stage, folder, url, databases, &savings).await;
    played.and(savings.stop().await)
}

async fn with_service(
    stage: &mut Stage,
    folder: &Path,
    url: &str,
    databases: &Databases,
    savings: &Savings,
) -> Result<(), Failure> {
    let (checking, endpoint) = (&databases.checking, endpoint(&savings.address)?);
    let first = place(folder, FIRST);
    let transfers = Transfers::open(stage, &first, checking.pool.clone(), &endpoint, None).await?;
    let made = make(stage, &transfers, databases).await;
    transfers.close().await;
    made?;

    println!("The coordinator is killed when it has decided to commit, and before it has told anybody.");
    let [checking_name, address] = [checking.name.as_ref(), savings.address.as_ref()];
    let arguments = ["--transfer-victim".as_ref(), folder.as_os_str(), checking_name, address];
    // Not among the arguments, which everybody on the machine can read: a URL may have a password.
    kill(&arguments, &[(URL, url)]).await?;
    let (_, [in_checking, in_savings]) = databases.look().await?;
    println!("  in doubt: {in_checking} in checking, {in_savings} in savings");
    println!("Another one reads the decision in the journal, and tells both.");
    let killed = place(folder, KILLED);
    let transfers = Transfers::open(stage, &killed, checking.pool.clone(), &endpoint, None).await?;
    let ended = timeout(PATIENCE, transfers.coordinator().wait("transfer/3")).await;
    say(&ended.map_err(|_| "transfer/3 does not end")??, databases).await?;
    transfers.close().await;
    stage.draw().await
}

async fn make(stage: &mut Stage, transfers: &Transfers, databases: &Databases) -> Result<(), Failure> {
    println!("A transfer between two databases, one of them another service's: both prepare, both commit.");
    println!("  ada moves 20.00 to her savings");
    say(&transfers.transfer("1", "ada", "ada", 2000).await?, databases).await?;
    stage.draw().await?;

    println!("An account that is not there: the savings bank cannot prepare, and both roll back.");
    println!("  ada moves 20.00 to bob's savings");
    let outcome = transfers.transfer("2", "ada", "bob", 2000).await?;
    say(&outcome, databases).await?;
    stage.draw().await
}

async fn say(outcome: &Outcome, databases: &Databases) -> Result<(), Failure> {
    let (cents, in_doubt) = databases.look().await?;
    let [checking, savings] = cents.map(|cents| cents as f64 / 100.0);
    let how = if outcome.is_committed() { "committed" } else { "aborted" };
    println!("  {} is {how}: ada has {checking:.2} in checking and {savings:.2} in savings", outcome.id);
    if in_doubt != [0, 0] || !outcome.is_consistent() {
        return Err(format!("{in_doubt:?} are in doubt after {outcome:?}").into());
    }
    Ok(())
}

fn endpoint(address: &str) -> Result<Endpoint, Failure> {
    Ok(Endpoint::from_shared(address.to_owned())?.connect_timeout(Duration::from_secs(10)))
}

/// The same in all processes of this run, and in no other run.
fn place(folder: &Path, which: &str) -> Place {
    let run = folder.file_name().unwrap_or_default().to_string_lossy();
    Place { journal: folder.join(format!("{which}-transactions")), name: format!("{run}-{which}") }
}

/// The process that is killed: a coordinator, with the service `savings` in the process that has started it.
pub(crate) async fn victim(folder: &Path, checking: &str, savings: &str) -> Result<(), Failure> {
    let url = std::env::var(URL)?;
    let checking = connect(url.parse::<sqlx::postgres::PgConnectOptions>()?.database(checking)).await?;
    let mut stage = Stage::new(folder);
    let killed = place(folder, KILLED);
    let transfers = Transfers::open(&mut stage, &killed, checking, &endpoint(savings)?, Some(Death)).await?;
    println!("  ada moves 20.00 to her savings");
    let outcome = transfers.transfer("3", "ada", "ada", 2000).await?;
    Err(format!("the coordinator lives, and {outcome:?}").into())
}

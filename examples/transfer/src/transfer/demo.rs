//! The transfers: one is committed, one is aborted, and the coordinator of one is killed.

use std::path::Path;
use std::time::Duration;

use otel_saga::two_phase::Outcome;
use tokio::time::timeout;
use tonic::transport::Endpoint;

use super::databases::{Databases, connect};
use super::savings::Savings;
use super::server::URL;
use super::{Identity, Transfers};
use crate::stage::Stage;
use crate::victim::{KillPoint, kill};
use crate::{Failure, PATIENCE};

/// The coordinator of the first two transfers, and the one that is killed.
const FIRST: &str = "first";
const KILLED: &str = "killed";

pub(crate) async fn run(stage: &mut Stage, folder: &Path, url: &str) -> Result<(), Failure> {
    let databases = Databases::create(url).await?;
    let result = with_databases(stage, folder, url, &databases).await;
    databases.drop().await;
    result
}

async fn with_databases(
    stage: &mut Stage,
    folder: &Path,
    url: &str,
    databases: &Databases,
) -> Result<(), Failure> {
    let savings = Savings::serve(stage, databases.savings.pool.clone()).await?;
    let result = with_service(stage, folder, url, databases, &savings).await;
    result.and(savings.stop().await)
}

async fn with_service(
    stage: &mut Stage,
    folder: &Path,
    url: &str,
    databases: &Databases,
    savings: &Savings,
) -> Result<(), Failure> {
    let (checking, endpoint) = (&databases.checking, endpoint(&savings.address)?);
    let first = identity(folder, FIRST);
    let transfers = Transfers::open(stage, &first, checking.pool.clone(), &endpoint, None).await?;
    let result = make_transfers(stage, &transfers, databases).await;
    transfers.close().await;
    result?;

    println!("The coordinator is killed after its decision to commit, before it has sent the decision.");
    let [checking_name, address] = [checking.name.as_ref(), savings.address.as_ref()];
    let arguments = ["--transfer-victim".as_ref(), folder.as_os_str(), checking_name, address];
    // Passed by a variable, because a URL may have a password and arguments are readable by all users of the machine.
    kill(&arguments, &[(URL, url)]).await?;
    let (_, [in_checking, in_savings]) = databases.read_state().await?;
    println!("  in doubt: {in_checking} in checking, {in_savings} in savings");
    println!("Another coordinator reads the decision from the journal and sends it to both.");
    let killed = identity(folder, KILLED);
    let transfers = Transfers::open(stage, &killed, checking.pool.clone(), &endpoint, None).await?;
    let outcome = timeout(PATIENCE, transfers.coordinator().wait("transfer/3")).await;
    print_outcome(&outcome.map_err(|_| "transfer/3 did not end in time")??, databases).await?;
    transfers.close().await;
    stage.draw().await
}

async fn make_transfers(
    stage: &mut Stage,
    transfers: &Transfers,
    databases: &Databases,
) -> Result<(), Failure> {
    println!(
        "A transfer between two databases, one of them owned by another service: both prepare, both commit."
    );
    println!("  ada moves 20.00 to her savings");
    print_outcome(&transfers.transfer("1", "ada", "ada", 2000).await?, databases).await?;
    stage.draw().await?;

    println!("The account does not exist: the savings bank cannot prepare, and both roll back.");
    println!("  ada moves 20.00 to bob's savings");
    let outcome = transfers.transfer("2", "ada", "bob", 2000).await?;
    print_outcome(&outcome, databases).await?;
    stage.draw().await
}

/// Prints the outcome and the balances; fails if a transaction is in doubt.
async fn print_outcome(outcome: &Outcome, databases: &Databases) -> Result<(), Failure> {
    let (cents, in_doubt) = databases.read_state().await?;
    let [checking, savings] = cents.map(|cents| cents as f64 / 100.0);
    let decision = if outcome.is_committed() { "committed" } else { "aborted" };
    println!("  {} is {decision}: ada has {checking:.2} in checking and {savings:.2} in savings", outcome.id);
    if in_doubt != [0, 0] || !outcome.is_consistent() {
        return Err(format!("transactions in doubt: {in_doubt:?} after {outcome:?}").into());
    }
    Ok(())
}

fn endpoint(address: &str) -> Result<Endpoint, Failure> {
    Ok(Endpoint::from_shared(address.to_owned())?.connect_timeout(Duration::from_secs(10)))
}

/// Returns the identity of a coordinator, which is the same in all processes of this run and unique to the run.
fn identity(folder: &Path, coordinator: &str) -> Identity {
    let run = folder.file_name().unwrap_or_default().to_string_lossy();
    Identity {
        journal: folder.join(format!("{coordinator}-transactions")),
        name: format!("{run}-{coordinator}"),
    }
}

/// Runs in the child process that is killed: a coordinator that uses the service `savings` of the parent process.
pub(crate) async fn victim(folder: &Path, checking: &str, savings: &str) -> Result<(), Failure> {
    let url = std::env::var(URL)?;
    let checking = connect(url.parse::<sqlx::postgres::PgConnectOptions>()?.database(checking)).await?;
    let mut stage = Stage::new(folder);
    let killed = identity(folder, KILLED);
    let transfers =
        Transfers::open(&mut stage, &killed, checking, &endpoint(savings)?, Some(KillPoint)).await?;
    println!("  ada moves 20.00 to her savings");
    let outcome = transfers.transfer("3", "ada", "ada", 2000).await?;
    Err(format!("the coordinator was not killed; {outcome:?}").into())
}

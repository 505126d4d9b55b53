//! The checks at the end: every transfer has ended, the money is where the ends say, and every span has its parent.

use std::error::Error;

use otel_saga::journal::{Journal, Query, Status};
use soak::{Report, equal};
use sqlx::PgPool;

use crate::bank::{ACCOUNTS, BALANCE, Transfer};
use crate::spans;
use crate::worker::Worker;

/// Checks the journal, the accounts and the spans after `transfers` transfers.
pub(crate) async fn check(
    report: &mut Report,
    worker: &Worker,
    journal: &dyn Journal,
    pool: &PgPool,
    transfers: u64,
) -> Result<(), Box<dyn Error>> {
    let name = worker.kind.name();
    let accounts = usize::try_from(ACCOUNTS)?;
    let mut balances = [vec![BALANCE; accounts], vec![0; accounts]].concat();
    let mut notified = vec![0; balances.len()];
    let (mut completed, mut compensated, mut others) = (0, 0, Vec::new());
    let mut query = Query::default();
    loop {
        let page = journal.list(&query).await?;
        let Some(last) = page.last() else { break };
        query.after = Some(last.id.clone());
        for summary in page {
            let number = summary.id.strip_prefix("transfer/").and_then(|number| number.parse().ok());
            let transfer = Transfer::new(number.ok_or("another saga is in the journal")?);
            let (from, to) = (usize::try_from(transfer.from)?, usize::try_from(transfer.to)?);
            match (summary.status, &transfer.refused_by) {
                (Status::Completed, None) => {
                    completed += 1;
                    balances[from] -= transfer.cents;
                    balances[to] += transfer.cents;
                    notified[to] += 1;
                }
                (Status::Compensated, Some(_)) => compensated += 1,
                (status, _) => others.push(format!("{} {}", summary.id, status.as_str())),
            }
        }
    }
    report.check(equal(
        &format!("{name}: transfers that ended as they should"),
        transfers,
        completed + compensated,
    ));
    report.check(equal(&format!("{name}: others: {others:?}"), 0, others.len() as u64));
    let kept: Vec<(i64, i64)> =
        sqlx::query_as("SELECT cents, notified FROM account ORDER BY id").fetch_all(pool).await?;
    let sum: i64 = kept.iter().map(|(cents, _)| cents).sum();
    report.check(equal(&format!("{name}: cents in all accounts"), (ACCOUNTS * BALANCE) as u64, sum as u64));
    let expected: Vec<(i64, i64)> = balances.into_iter().zip(notified).collect();
    let wrong = kept.iter().zip(&expected).filter(|(kept, expected)| kept != expected).count();
    report.check(equal(&format!("{name}: accounts with a missing or repeated effect"), 0, wrong as u64));
    let (spans, orphans) = spans::orphans(&worker.folder)?;
    let shown: Vec<&String> = orphans.iter().take(3).collect();
    report.check(equal(&format!("{name}: orphans of {spans} spans {shown:?}"), 0, orphans.len() as u64));
    let enough = spans as u64 >= 5 * completed;
    let text = format!("{name}: {completed} completed, {compensated} compensated, {spans} spans");
    report.check(if enough { Ok(text) } else { Err(text) });
    Ok(())
}

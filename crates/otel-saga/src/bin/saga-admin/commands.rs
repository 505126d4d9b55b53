//! The commands and their output, as tables or as JSON.
//!
//! Inputs and outputs of steps are printed only on request, because they are the application's data.

use std::io::{ErrorKind, Write as _};

use otel_saga::flow::{Record, Resolution};
use otel_saga::journal::{InstanceSummary, Query, now};
use otel_saga::two_phase::StoredTransaction;
use otel_saga::{Instance, InstanceError, SagaAdmin, TimelineEntry, format_utc};
use serde_json::{Value, json};

use crate::args::{Args, Command, StatusArg};
use crate::selection;
use crate::table::{plain, table};
use crate::{BoxError, complain};

/// Maximum number of instances that one prune request deletes.
const PRUNED: usize = 1000;

/// Runs the command. Returns false if it failed for one of several ids; the errors are already printed.
pub(crate) async fn run(admin: &SagaAdmin, args: &Args) -> Result<bool, BoxError> {
    match &args.command {
        Command::List { saga, status, reason_contains, after, limit } => {
            let mut query = Query::default();
            query.saga.clone_from(saga);
            query.status = status.map(Into::into);
            query.after.clone_from(after);
            query.limit = usize::try_from(*limit)?;
            let listed = selection::list(admin, query, None, reason_contains.as_deref()).await?;
            let with_reason = |(summary, reason): &(InstanceSummary, Option<String>)| {
                let mut value = serde_json::to_value(summary)?;
                if let (Some(fields), Some(reason)) = (value.as_object_mut(), reason) {
                    fields.insert("reason".to_owned(), reason.as_str().into());
                }
                Ok(value)
            };
            print(if args.json { lines(listed.iter().map(with_reason))? } else { rows(&listed) })?;
        }
        Command::Show { id, payloads } => {
            let text = match admin.status(id).await {
                Err(InstanceError::Transaction { .. }) => {
                    transaction(&admin.transaction(id).await?, args.json)?
                }
                instance if args.json => as_json(&instance?, *payloads)?,
                instance => shown(&instance?, *payloads),
            };
            print(text)?;
        }
        Command::Counts => counts(admin, args.json).await?,
        Command::Prune { older_than } => {
            let before = now().saturating_sub(u64::try_from(older_than.as_millis()).unwrap_or(u64::MAX));
            let mut pruned = 0;
            loop {
                let some = admin.prune(before, PRUNED).await?;
                pruned += some;
                if some < PRUNED as u64 {
                    break;
                }
            }
            let text =
                if args.json { json!({ "pruned": pruned }).to_string() } else { format!("pruned {pruned}") };
            print(text + "\n")?;
        }
        Command::Migrate => {}
        Command::Retry { selection } => {
            let ids = selection::ids(admin, selection, StatusArg::Running).await?;
            return each(&ids, args.json, "retried", async |id| admin.retry(id).await).await;
        }
        Command::Park { selection, reason } => {
            let ids = selection::ids(admin, selection, StatusArg::Running).await?;
            let park = async |id: &str| admin.park(id, reason).await;
            return each(&ids, args.json, "asked to park", park).await;
        }
        Command::Unpark { selection } => {
            let ids = selection::ids(admin, selection, StatusArg::Parked).await?;
            return each(&ids, args.json, "unparked", async |id| admin.unpark(id).await).await;
        }
        Command::Cancel { selection } => {
            let ids = selection::ids(admin, selection, StatusArg::Running).await?;
            return each(&ids, args.json, "asked to cancel", async |id| admin.cancel(id).await).await;
        }
        Command::Resolve { id, step, resolution, who, why } => {
            let resolve = async |id: &str| admin.resolve(id, step, resolution.resolution(), who, why).await;
            return each(std::slice::from_ref(id), args.json, "resolved", resolve).await;
        }
    }
    Ok(true)
}

/// Applies the request to one id after the other. A failure is printed, and the remaining ids are still processed.
async fn each(
    ids: &[String],
    json: bool,
    done: &str,
    ask: impl AsyncFn(&str) -> Result<(), InstanceError>,
) -> Result<bool, BoxError> {
    let mut all = true;
    for id in ids {
        match ask(id).await {
            Ok(()) if json => print(json!({ "id": id, "done": done }).to_string() + "\n")?,
            Ok(()) => print(format!("{done} {}\n", plain(id)))?,
            Err(error) => {
                complain(&error);
                all = false;
            }
        }
    }
    Ok(all)
}

fn rows(listed: &[(InstanceSummary, Option<String>)]) -> String {
    let row = |(summary, reason): &(InstanceSummary, Option<String>)| {
        vec![
            summary.id.clone(),
            format!("{} {}", summary.saga, summary.version),
            summary.status.label_for(&summary.saga).to_owned(),
            format_utc(summary.created),
            format_utc(summary.changed),
            summary.owner.clone().unwrap_or_default(),
            summary.head.to_string(),
            reason.clone().unwrap_or_default(),
        ]
    };
    let rows: Vec<_> = listed.iter().map(row).collect();
    table(&["ID", "SAGA", "STATUS", "CREATED", "CHANGED", "WORKER", "RECORDS", "REASON"], &rows)
}

fn shown(instance: &Instance, payloads: bool) -> String {
    let reason = instance.state.parked.as_ref().or(instance.state.park_requested.as_ref());
    tables(&instance.summary, reason.cloned(), "STEP", &instance.timeline(payloads))
}

fn transaction(transaction: &StoredTransaction, json: bool) -> Result<String, BoxError> {
    if !json {
        return Ok(tables(&transaction.summary, None, "PARTICIPANT", &transaction.timeline()));
    }
    let (summary, state) = (serde_json::to_value(&transaction.summary)?, &transaction.state);
    let missing: Vec<&str> = state.unacknowledged().map(|number| state.name_of(number)).collect();
    let (decision, records) = (state.decision, serde_json::to_value(&transaction.records)?);
    let value = json!({ "transaction": summary, "decision": decision, "unacknowledged": missing, "records": records });
    Ok(value.to_string() + "\n")
}

/// Formats a summary and the entries of its timeline as two tables.
fn tables(
    summary: &InstanceSummary,
    reason: Option<String>,
    step: &str,
    entries: &[TimelineEntry],
) -> String {
    let mut text = rows(&[(summary.clone(), reason)]);
    text.push('\n');
    let row = |entry: &TimelineEntry| {
        vec![
            entry.at.map(format_utc).unwrap_or_default(),
            entry.step.clone().unwrap_or_default(),
            entry.event.clone(),
        ]
    };
    text.push_str(&table(&["TIME", step, "EVENT"], &entries.iter().map(row).collect::<Vec<_>>()));
    text
}

/// The records as JSON, without inputs and outputs unless `payloads` is set.
fn as_json(instance: &Instance, payloads: bool) -> Result<String, BoxError> {
    let mut records = Vec::new();
    for record in &instance.records {
        let mut value = serde_json::to_value(record)?;
        if !payloads {
            without_payload(record, &mut value);
        }
        records.push(value);
    }
    let summary = serde_json::to_value(&instance.summary)?;
    Ok(json!({ "instance": summary, "parked": instance.state.parked, "records": records }).to_string() + "\n")
}

fn without_payload(record: &Record, value: &mut Value) {
    let (kind, payload) = match record {
        Record::Started(_) => ("started", "input"),
        Record::Done { .. } => ("done", "output"),
        Record::Resolved { resolution: Resolution::Done(_), .. } => ("resolved", "resolution"),
        _ => return,
    };
    if let Some(fields) = value.get_mut(kind).and_then(Value::as_object_mut) {
        fields.remove(payload);
        if kind == "resolved" {
            fields.insert(payload.to_owned(), "done".into());
        }
    }
}

async fn counts(admin: &SagaAdmin, json: bool) -> Result<(), BoxError> {
    let mut counts = admin.counts().await?;
    counts.sort_by(|a, b| (&a.saga, a.status).cmp(&(&b.saga, b.status)));
    if json {
        let value = counts.iter().map(|one| {
            Ok(json!({ "saga": one.saga, "status": one.status, "count": one.count, "oldest": one.oldest }))
        });
        return print(lines(value)?);
    }
    let row = |one: &otel_saga::journal::InstanceCount| {
        vec![
            one.saga.clone(),
            one.status.label_for(&one.saga).to_owned(),
            one.count.to_string(),
            format_utc(one.oldest),
        ]
    };
    print(table(&["SAGA", "STATUS", "COUNT", "OLDEST"], &counts.iter().map(row).collect::<Vec<_>>()))
}

fn lines(values: impl Iterator<Item = Result<Value, serde_json::Error>>) -> Result<String, BoxError> {
    let mut text = String::new();
    for value in values {
        text.push_str(&value?.to_string());
        text.push('\n');
    }
    Ok(text)
}

fn print(text: String) -> Result<(), BoxError> {
    match std::io::stdout().write_all(text.as_bytes()) {
        // The reader closed the pipe, as `head` does: this is not a failure.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        done => Ok(done?),
    }
}

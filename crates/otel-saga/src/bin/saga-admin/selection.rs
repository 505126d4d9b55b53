//! The instances that a command is about: by a filter over sagas, versions, statuses and reasons.

use otel_saga::SagaAdmin;
use otel_saga::journal::{InstanceSummary, Query, Status};

use crate::BoxError;
use crate::args::{Selection, StatusArg};

/// Returns the ids that the arguments name, or those of all instances that their filter selects.
pub(crate) async fn ids(
    admin: &SagaAdmin,
    selection: &Selection,
    status: StatusArg,
) -> Result<Vec<String>, BoxError> {
    if !selection.ids.is_empty() {
        return Ok(selection.ids.clone());
    }
    let by_reason = selection.reason_contains.as_ref().map(|_| StatusArg::Parked);
    let mut query = Query::default();
    query.saga.clone_from(&selection.saga);
    query.status = Some(selection.status.or(by_reason).unwrap_or(status).into());
    query.limit = usize::MAX;
    let listed = list(admin, query, selection.saga_version, selection.reason_contains.as_deref()).await?;
    Ok(listed.into_iter().map(|(summary, _)| summary.id).collect())
}

/// Lists instances with the reasons for which they are parked. Reads as many pages as it needs for the query's limit.
pub(crate) async fn list(
    admin: &SagaAdmin,
    mut query: Query,
    version: Option<u32>,
    reason: Option<&str>,
) -> Result<Vec<(InstanceSummary, Option<String>)>, BoxError> {
    let wanted = std::mem::replace(&mut query.limit, PAGE);
    let mut listed = Vec::new();
    loop {
        let page = admin.list(&query).await?;
        let Some(last) = page.last() else { return Ok(listed) };
        query.after = Some(last.id.clone());
        for summary in page {
            if version.is_some_and(|version| version != summary.version) {
                continue;
            }
            let is_parked = summary.status == Status::Parked;
            // Reasons are in the records, so that only those of instances that can have one are read.
            let why = if is_parked || reason.is_some() { admin.park_reason(&summary).await? } else { None };
            if reason.is_none_or(|text| why.as_ref().is_some_and(|why| why.contains(text))) {
                listed.push((summary, why));
            }
            if listed.len() == wanted {
                return Ok(listed);
            }
        }
    }
}

/// Maximum number of instances in one request.
const PAGE: usize = 1000;

//! One call of a participant, with its span and under its time limit. A panic is an error.
//!
//! Follows `ARCHITECTURE.md`, "What must stay true", 3: the context is current wherever the participant's code runs.

use std::future::Future;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;
use opentelemetry::Context;
use opentelemetry::context::FutureExt as _;
use tokio::time::timeout;

use super::Inner;
use crate::error::BoxError;
use crate::two_phase::participant::{Acknowledgement, Branch, Participant, Vote};
use crate::two_phase::telemetry::{CallReply, CallSpan, Failure, Phase};

/// The target of a call: a participant and a transaction.
#[derive(Clone, Copy)]
pub(super) struct Call<'a> {
    pub(super) participant: &'a dyn Participant,
    pub(super) id: &'a str,
    /// The transaction's name.
    pub(super) name: &'a str,
    /// The parent context of the call's span.
    pub(super) parent: &'a Context,
}

impl Inner {
    pub(super) async fn prepare(&self, call: Call<'_>, in_one_phase: bool) -> Result<Vote, BoxError> {
        let branch = Branch::new(&self.name, call.participant.name(), call.id)?;
        if in_one_phase {
            self.call(call, Phase::Commit, call.participant.commit_in_one_phase(&branch)).await
        } else {
            self.call(call, Phase::Prepare, call.participant.prepare(&branch)).await
        }
    }

    pub(super) async fn send_decision(
        &self,
        call: Call<'_>,
        commits: bool,
    ) -> Result<Acknowledgement, BoxError> {
        let branch = Branch::new(&self.name, call.participant.name(), call.id)?;
        if commits {
            self.call(call, Phase::Commit, call.participant.commit(&branch)).await
        } else {
            self.call(call, Phase::Rollback, call.participant.rollback(&branch)).await
        }
    }

    async fn call<T: CallReply>(
        &self,
        call: Call<'_>,
        phase: Phase,
        future: impl Future<Output = Result<T, BoxError>> + Send,
    ) -> Result<T, BoxError> {
        let about = CallSpan { id: call.id, name: call.name, participant: call.participant.name(), phase };
        let mut operation = self.telemetry.call(about, call.parent);
        let context = operation.context().clone();
        let future = AssertUnwindSafe(future.with_context(context)).catch_unwind();
        let reply = match timeout(self.options.timeout, future).await {
            Ok(Ok(reply)) => reply.map_err(|error| (Failure::Failed, error)),
            Ok(Err(_)) => Err((Failure::Panicked, "the participant's code panicked".into())),
            Err(_) => Err((Failure::TimedOut, "the participant did not answer in time".into())),
        };
        match reply {
            Ok(reply) => {
                operation.observer_mut().reply(&reply);
                let outcome = reply.outcome();
                operation.finish(&outcome);
                Ok(reply)
            }
            Err((failure, error)) => {
                operation.finish(&failure.outcome(&error));
                Err(error)
            }
        }
    }
}

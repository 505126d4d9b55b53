//! Continues a claimed instance: records the spans that its last worker lost, and counts the interruptions.
//!
//! Follows `docs/sagas.md`, "Traces" and "Leases and recovery".

use super::drive::{InstanceDriver, interrupted, open};
use crate::error::BoxError;
use crate::flow::Record;
use crate::journal::now;
use crate::telemetry::{AttemptSpan, ResolutionSpan};

impl<S: Send + Sync + 'static> InstanceDriver<S> {
    /// Takes over from the last worker, of which these records are left.
    pub(super) fn take_over(&mut self, records: &[Vec<u8>]) -> Result<(), BoxError> {
        self.record_interrupted();
        self.record_resolved(records)?;
        self.add(interrupted(&self.definition, &self.state, &self.id, now())?);
        Ok(())
    }

    /// Records the spans of interrupted attempts again.
    fn record_interrupted(&self) {
        let Self { prepared, id, parent, state, .. } = self;
        let (mut any, mut all_same) = (false, true);
        for (step, phase) in open(state) {
            let Ok(phase_state) = state.step(step).map(|one| one.phase_state(phase)) else { continue };
            any = true;
            let about =
                AttemptSpan { saga: prepared, id, parent, key: (step, phase), attempt: phase_state.attempts };
            all_same &= self.inner.telemetry.interrupted(
                about,
                phase_state.last_at,
                phase_state.last_span.as_deref(),
            );
        }
        // No attempt has an outcome, so that the process may have died before it exported the start's span. The span
        // is recorded again only under its own id, which the ids of the attempts' spans show to be possible; a second
        // start span would be wrong.
        if any && all_same && state.has_only_begun() {
            self.inner.telemetry.start_again(prepared, id, &state.started);
        }
        if any {
            prepared.recovered();
        }
    }

    /// Records a span for each resolution since the instance had a worker, because operators may have no telemetry.
    fn record_resolved(&self, records: &[Vec<u8>]) -> Result<(), BoxError> {
        for record in records.iter().rev() {
            match Record::decode(record)? {
                Record::CancelRequested | Record::ParkRequested { .. } | Record::Unparked => {}
                Record::Resolved { step, resolution, who, why, at } => {
                    let span = ResolutionSpan {
                        saga: &self.prepared,
                        id: &self.id,
                        parent: &self.parent,
                        step,
                        resolution: resolution.as_str(),
                        who,
                        why,
                    };
                    self.inner.telemetry.resolved(span, at);
                }
                _ => break,
            }
        }
        Ok(())
    }
}

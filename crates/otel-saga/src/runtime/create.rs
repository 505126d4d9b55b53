//! Creates an instance, once for its key. If this worker has capacity, the first append includes the intents of the
//! first attempts.
//!
//! Follows `docs/sagas.md`, "Appends": `n` sequential steps are `n + 1` appends, the first of which is this one.

use std::sync::Arc;

use otel_operation::Outcome;
use serde_json::Value;

use super::drive::{InstanceDriver, Plan};
use super::{Inner, RegisteredSaga};
use crate::error::{BoxError, StartError, ValueError};
use crate::flow::{Record, Started, State};
use crate::journal::{CreateOutcome, Cursor, JournalError, NewInstance, StoredInstance};
use crate::telemetry::{AttemptOperation, Telemetry};

const TRIES: usize = 3;

impl<S: Send + Sync + 'static> Inner<S> {
    /// Creates the instance, or finds the one that was created with this key and input.
    pub(super) async fn create(
        self: &Arc<Self>,
        id: &Arc<str>,
        known: RegisteredSaga<S>,
        started: Started,
        is_same: impl FnOnce(&Value) -> bool + Send,
    ) -> Result<(), StartError> {
        // An instance that is already driven by this worker needs no slot. Without a free slot the instance is created
        // without a worker and without intents, and the first worker with capacity claims it.
        let is_local = self.local().contains_key(&**id);
        // Does not occur: the intents refer to steps of the definition.
        let impossible = |error: BoxError| StartError::Journal(JournalError::Failed(error));
        let state = State::begun(started.clone()).map_err(|error| impossible(error.into()))?;
        let nowhere = Cursor::new(0, 0);
        let definition = Arc::clone(&known.definition);
        let mut driver = InstanceDriver::new(self, known, Arc::clone(id), state, nowhere);
        let slots = driver.slots.shared();
        let (intents, attempts, operations) = match (!is_local && slots.room() > 0).then(|| driver.plan()) {
            Some(Ok((Plan { records, attempts, .. }, operations))) => (records, attempts, operations),
            Some(Err(error)) => return Err(impossible(error)),
            None => (Vec::new(), Vec::new(), Vec::new()),
        };
        let record = Record::Started(started);
        let encoded: Result<_, _> = std::iter::once(&record).chain(&intents).map(Record::encode).collect();
        let encoded = encoded.map_err(|error| StartError::Input(ValueError::Write(error)))?;
        let mut instance = NewInstance::new(&**id, &definition.name, definition.version, encoded);
        let owned = !attempts.is_empty();
        if owned {
            instance = instance.with_worker(&*self.options.worker);
        }
        match self.create_once(&instance, is_same).await {
            Ok(Some(cursor)) => driver.cursor = cursor,
            Ok(None) => {
                // A repeated start is not an error.
                not_made(operations, &Outcome::ok());
                return Ok(());
            }
            Err(error) => {
                not_made(operations, &Outcome::error("journal"));
                return Err(error);
            }
        }
        if owned {
            driver.begin(attempts, operations);
            driver.spawn();
        } else if slots.room() > 0 {
            self.wake_claimer.notify_one();
        }
        Ok(())
    }

    /// Creates the instance and returns the end of its journal, or `None` if it existed before.
    async fn create_once(
        &self,
        instance: &NewInstance,
        is_same: impl FnOnce(&Value) -> bool + Send,
    ) -> Result<Option<Cursor>, StartError> {
        let mut guard = OwnershipGuard { inner: self, armed: instance.worker.is_some() };
        let mut tries = 0;
        let mut unknown = false;
        loop {
            tries += 1;
            match self.journal.create(instance.clone()).await {
                Ok(CreateOutcome::New(cursor)) => {
                    guard.armed = false;
                    return Ok(Some(cursor));
                }
                Ok(CreateOutcome::Exists) => {
                    let loaded = self.journal.load(&instance.id).await.map_err(StartError::Journal)?;
                    let Some(loaded) = loaded else { continue };
                    if unknown && self.is_mine(&loaded, instance) {
                        guard.armed = false;
                        return Ok(Some(loaded.summary.cursor()));
                    }
                    guard.armed &= unknown;
                    return same_input(&instance.id, &loaded.records, is_same).map(|()| None);
                }
                Err(error) => {
                    unknown |= matches!(error, JournalError::Unknown(_));
                    if unknown && tries < TRIES {
                        continue;
                    }
                    guard.armed &= unknown;
                    return Err(StartError::Journal(error));
                }
            }
        }
    }

    /// Returns true if the stored instance is the one of this call: the reply was lost, not the creation.
    fn is_mine(&self, loaded: &StoredInstance, instance: &NewInstance) -> bool {
        instance.worker.is_some()
            && loaded.summary.owner == instance.worker
            && loaded.summary.epoch == 1
            && loaded.records == instance.records
            && !self.local().contains_key(&instance.id)
    }
}

fn not_made(operations: Vec<AttemptOperation>, why: &Outcome) {
    operations.into_iter().for_each(|operation| Telemetry::not_made(operation, why));
}

fn same_input(id: &str, records: &[Vec<u8>], is_same: impl FnOnce(&Value) -> bool) -> Result<(), StartError> {
    let first = records.first().and_then(|record| Record::decode(record).ok());
    match first {
        Some(Record::Started(first)) if is_same(&first.input) => Ok(()),
        _ => Err(StartError::OtherInput { id: id.to_owned() }),
    }
}

/// Guards a creation: if it ends with an unknown outcome or is dropped, this worker may own an instance that it does
/// not drive.
struct OwnershipGuard<'i, S> {
    inner: &'i Inner<S>,
    armed: bool,
}

impl<S> Drop for OwnershipGuard<'_, S> {
    fn drop(&mut self) {
        if self.armed {
            self.inner.mark_ownership_unknown();
        }
    }
}

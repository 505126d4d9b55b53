//! The compaction of the journal: a worker reads it, and replaces its last records if nothing was appended since then. In
//! between, requests are appended and other workers take the instance over.

use otel_saga::flow::{Compaction, Record, compact, fold};

use super::faults::Without;
use super::world::{Call, Situation, World};

/// A compaction that a worker has computed from the journal at this position.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Pending {
    from: usize,
    records: Vec<Record>,
    head: usize,
    epoch: u8,
}

/// Returns the compaction that this worker could begin now.
pub(super) fn possible(now: &Situation, worker: usize) -> Option<Pending> {
    let (records, epoch) = (now.records.as_ref()?, now.workers[worker].epoch);
    if epoch != now.epoch || !now.budget.left(now.budget.compactions) {
        return None;
    }
    let Compaction { from, records: short, .. } = compact(records)?;
    Some(Pending { from, records: short, head: records.len(), epoch })
}

pub(super) fn begin(now: &mut Situation, worker: usize) {
    now.workers[worker].pending = possible(now, worker);
    now.budget.spend(|left| &mut left.compactions);
}

/// Replaces the records in a new epoch, or changes nothing if the journal is not at the same position any more.
pub(super) fn carry_out(world: &World, now: &mut Situation, worker: usize) {
    let (Some(pending), Some(records)) = (now.workers[worker].pending.take(), &mut now.records) else {
        return;
    };
    let is_there = pending.epoch == now.epoch && pending.head == records.len();
    if !is_there && world.without != Without::CompactionFencing {
        return;
    }
    records.truncate(pending.from);
    records.extend(pending.records);
    now.journal = fold(&*records).ok();
    if is_there {
        now.epoch += 1;
        now.workers[worker].epoch = now.epoch;
        // The attempts of this worker continue.
        let continued = |mut call: Call| {
            if let Some((one, epoch, _)) = &mut call.answer_to
                && (*one, *epoch) == (worker, pending.epoch)
            {
                *epoch = now.epoch;
            }
            call
        };
        now.calls = std::mem::take(&mut now.calls).into_iter().map(continued).collect();
    }
}

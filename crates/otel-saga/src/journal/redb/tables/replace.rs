//! The replacement of an instance's last records.

use redb::ReadableTable as _;

use super::{Fault, Kept, NO_ROW, Tables};
use crate::journal::InstanceSummary;
use crate::journal::redb::rows::{opened, split_backward, split_number};

impl Tables<'_> {
    /// Replaces the summary of an instance, and all records from position `from` on, which is at most their number.
    pub(in crate::journal::redb) fn replace(
        &mut self,
        before: &Kept,
        summary: &InstanceSummary,
        from: u64,
        records: Vec<Vec<u8>>,
    ) -> Result<(), Fault> {
        let damaged = || Fault::Damaged(before.summary.id.clone());
        // Everything is read before the first change: damage to one instance must not change it, and does not stop the
        // transaction, which has changes of other instances.
        let (mut gone, mut kept) = (Vec::new(), Vec::new());
        let (mut row, mut position) = (before.last_row, before.summary.head);
        while position > from && row != NO_ROW {
            let sealed = self.rows.get(row)?.ok_or_else(damaged)?;
            let value = opened((before.number, row), sealed.value()).ok_or_else(damaged)?;
            let (previous, joined) = split_number(value).ok_or_else(damaged)?;
            let mut own = split_backward(joined).ok_or_else(damaged)?;
            position = position.checked_sub(own.len() as u64).ok_or_else(damaged)?;
            if previous >= row {
                return Err(damaged());
            }
            gone.push(row);
            row = previous;
            if position < from {
                own.reverse();
                own.truncate(usize::try_from(from - position).map_err(|_| damaged())?);
                kept = own;
            }
        }
        if position > from {
            return Err(damaged());
        }
        for row in gone {
            self.rows.remove(row)?;
        }
        kept.extend(records);
        self.change(&Kept { last_row: row, ..before.clone() }, summary, &kept)
    }
}

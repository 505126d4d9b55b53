//! The replacement of an instance's last records, in a statement of its own because it is rare.

use sqlx::Row as _;

use super::connections::Connections;
use super::{signed, unreadable};
use crate::journal::{AppendError, Cursor};

pub(super) async fn replace(
    connections: &Connections,
    id: &str,
    at: Cursor,
    from: u64,
    records: Vec<Vec<u8>>,
) -> Result<Cursor, AppendError> {
    let after = Cursor::new(from.saturating_add(records.len() as u64), at.epoch + 1);
    let replace = sqlx::query(include_str!("sql/replace.sql"));
    let replace = replace.bind(id).bind(signed(at.head)).bind(signed(at.epoch));
    let rows = connections.once(replace.bind(signed(from)).bind(records)).await?;
    let replaced: bool = rows.first().map_or(Ok(false), |row| row.try_get(0)).map_err(unreadable)?;
    if replaced { Ok(after) } else { Err(AppendError::Fenced) }
}

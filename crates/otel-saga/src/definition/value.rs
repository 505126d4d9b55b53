//! The check of values before they are journaled: inputs and outputs that could not be read again are refused.
//!
//! Follows `docs/sagas.md`, "Records": a record is never changed, so that an unreadable one would stay unreadable.

use std::io;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::ValueError;

/// Maximum nesting of arrays and objects. serde_json reads 127 levels, of which a record has three around the value.
const DEEPEST: usize = 100;
/// Maximum length as JSON, in bytes.
const LONGEST: usize = 16 << 20;

/// Returns the value as JSON, and as it is read back from the journal.
pub(crate) fn checked<T: Serialize + DeserializeOwned>(value: T) -> Result<(Value, T), ValueError> {
    let value = serde_json::to_value(value).map_err(ValueError::Write)?;
    if !fits(&value, DEEPEST) {
        return Err(ValueError::Deep);
    }
    let mut room = Room(LONGEST);
    serde_json::to_writer(&mut room, &value).map_err(|_| ValueError::Long)?;
    let decoded = T::deserialize(&value).map_err(ValueError::Read)?;
    Ok((value, decoded))
}

/// Returns true if the value has at most this many levels of arrays and objects.
fn fits(value: &Value, levels: usize) -> bool {
    match value {
        Value::Array(items) => levels > 0 && items.iter().all(|item| fits(item, levels - 1)),
        Value::Object(fields) => levels > 0 && fields.values().all(|field| fits(field, levels - 1)),
        _ => true,
    }
}

/// A writer that only counts, and fails when more bytes are written than it has left.
struct Room(usize);

impl io::Write for Room {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

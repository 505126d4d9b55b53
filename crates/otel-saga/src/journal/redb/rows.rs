//! The encoding of values: each follows a checksum over itself and its key, so that a value that was changed or
//! stored under another key is detected.
//!
//! Follows `docs/sagas.md`, "Damage and outages": redb returns wrong bytes from some damaged files without an error.

use super::tables::Fault;

/// Size of the length in front of a record, in bytes.
const LENGTH: usize = 4;

/// Returns the value behind its checksum.
pub(super) fn sealed(key: (u64, u64), value: &[u8]) -> Vec<u8> {
    let mut sealed = Vec::with_capacity(value.len() + 4);
    sealed.extend_from_slice(&checksum(key, value).to_le_bytes());
    sealed.extend_from_slice(value);
    sealed
}

/// Checks and returns the value; `None` if the checksum does not match this key and value.
pub(super) fn opened(key: (u64, u64), sealed: &[u8]) -> Option<&[u8]> {
    let (sum, value) = sealed.split_first_chunk::<4>()?;
    (u32::from_le_bytes(*sum) == checksum(key, value)).then_some(value)
}

fn checksum((first, second): (u64, u64), value: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&first.to_le_bytes());
    hasher.update(&second.to_le_bytes());
    hasher.update(value);
    hasher.finalize()
}

/// Returns the bytes behind a number.
pub(super) fn numbered(number: u64, rest: &[u8]) -> Vec<u8> {
    [&number.to_le_bytes(), rest].concat()
}

pub(super) fn split_number(value: &[u8]) -> Option<(u64, &[u8])> {
    let (number, rest) = value.split_first_chunk::<8>()?;
    Some((u64::from_le_bytes(*number), rest))
}

/// Concatenates records, each behind its length.
pub(super) fn joined(records: &[Vec<u8>]) -> Result<Vec<u8>, Fault> {
    let mut joined = Vec::with_capacity(records.iter().map(|record| record.len() + LENGTH).sum());
    for record in records {
        let length = u32::try_from(record.len()).map_err(|error| Fault::Storage(error.into()))?;
        joined.extend_from_slice(&length.to_le_bytes());
        joined.extend_from_slice(record);
    }
    Ok(joined)
}

/// Splits concatenated records and returns them, last record first; `None` if the lengths do not add up.
pub(super) fn split_backward(mut joined: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut records = Vec::new();
    while let Some((length, rest)) = joined.split_first_chunk::<LENGTH>() {
        let (record, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        records.push(record.to_vec());
        joined = rest;
    }
    records.reverse();
    joined.is_empty().then_some(records)
}

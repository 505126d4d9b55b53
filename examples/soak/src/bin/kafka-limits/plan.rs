//! The content of each record and the extent of each transaction, determined by a number and the seed.

use rdkafka::message::{BorrowedMessage, Header, Headers as _, Message as _, OwnedHeaders};
use soak::Random;

/// The limit of the topics, in bytes.
pub(crate) const LIMIT: usize = 1_500;

/// The largest payload. With its key and the overhead of a batch, it fits into the topic without context headers only.
const MAX_PAYLOAD: usize = LIMIT - 100;

/// The plan of one record.
pub(crate) struct Plan {
    pub(crate) key: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) headers: Option<OwnedHeaders>,
}

impl Plan {
    pub(crate) fn new(seed: u64, number: u64) -> Self {
        let mut random = Random::new(seed, number);
        let is_near_limit = random.below(10) == 0;
        // Records of both kinds are near the limit: those that have room for a context, and those that have none.
        let length =
            if is_near_limit { MAX_PAYLOAD as u64 - random.below(160) } else { 8 + random.below(200) };
        let mut payload = number.to_be_bytes().to_vec();
        payload.extend((8..length).map(|_| random.below(256) as u8));
        let has_header = !is_near_limit && random.below(4) == 0;
        let headers =
            has_header.then(|| OwnedHeaders::new().insert(Header { key: "tenant", value: Some("t") }));
        Self { key: format!("k{number}"), payload, headers }
    }
}

/// A record that was read from its topic.
#[derive(Clone, Copy)]
pub(crate) struct Record {
    pub(crate) number: u64,
    pub(crate) is_unchanged: bool,
    pub(crate) has_context: bool,
}

impl Record {
    pub(crate) fn new(seed: u64, message: &BorrowedMessage<'_>) -> Self {
        let start = message.payload().and_then(<[u8]>::first_chunk).copied();
        let number = start.map_or(u64::MAX, u64::from_be_bytes);
        let plan = Plan::new(seed, number);
        let names: Vec<_> = message.headers().into_iter().flat_map(|headers| headers.iter()).collect();
        let has_context = names.iter().any(|header| header.key == "traceparent");
        let users = names.iter().filter(|header| header.key == "tenant").count();
        let is_unchanged = message.key() == Some(plan.key.as_bytes())
            && message.payload() == Some(&*plan.payload)
            && users == usize::from(plan.headers.is_some())
            && names.len() == users + usize::from(has_context);
        Self { number, is_unchanged, has_context }
    }
}

/// A number of records that are sent together, in one transaction if the producer has those.
pub(crate) struct Chunk {
    pub(crate) numbers: std::ops::Range<u64>,
    /// The transaction is aborted.
    pub(crate) is_aborted: bool,
}

/// Divides the records into chunks.
pub(crate) fn chunks(seed: u64, records: u64, max_chunk: u64) -> Vec<Chunk> {
    let mut chunks = Vec::new();
    let mut start = 0;
    while start < records {
        let mut random = Random::new(!seed, start);
        let end = records.min(start + 1 + random.below(max_chunk));
        chunks.push(Chunk { numbers: start..end, is_aborted: random.below(5) == 0 });
        start = end;
    }
    chunks
}

//! The channels of `tokio::sync`, at the paths that they have there.
//!
//! Follows the names of [tokio's](https://docs.rs/tokio/latest/tokio/sync/index.html).

pub mod mpsc;
pub mod oneshot;

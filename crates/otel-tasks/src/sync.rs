//! The channels and locks of `tokio::sync`, at the paths that they have there.
//!
//! Follows the names of [tokio's](https://docs.rs/tokio/latest/tokio/sync/index.html).

mod lock;
pub mod mpsc;
pub mod oneshot;

pub use self::lock::{Lock, Mutex, RwLock, Semaphore};

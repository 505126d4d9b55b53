//! The channels and locks of `tokio::sync`, at the paths that they have there.
//!
//! Follows the names of [tokio's](https://docs.rs/tokio/latest/tokio/sync/index.html).

/// Implements `Debug` for types with the fields `inner` and `channel`, whatever their items are.
macro_rules! debug {
    ($($name:ident $(<$lifetime:lifetime>)?),+) => {
        $(
            impl<T> std::fmt::Debug for $name<$($lifetime,)? T> {
                fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.debug_struct(stringify!($name))
                        .field("inner", &self.inner)
                        .field("channel", &self.channel)
                        .finish()
                }
            }
        )+
    };
}

pub mod broadcast;
mod lock;
pub mod mpsc;
pub mod oneshot;

pub use self::lock::{Lock, Mutex, RwLock, Semaphore};

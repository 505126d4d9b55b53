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

/// Defines the sender that does not keep its channel open, and the methods that both have, as tokio's: `downgrade`, `upgrade`,
/// the counts and `same_channel`.
macro_rules! weak_sender {
    ($tokio:ident, $sender:ident, $weak:ident) => {
        /// A sender that does not keep the channel open.
        pub struct $weak<T> {
            inner: tokio::sync::$tokio::$weak<WithContext<T>>,
            channel: Channel,
        }

        impl<T> $sender<T> {
            /// Returns a sender that does not keep the channel open.
            #[must_use]
            pub fn downgrade(&self) -> $weak<T> {
                $weak { inner: self.inner.downgrade(), channel: self.channel.clone() }
            }

            /// Returns true if both senders belong to the same channel.
            #[must_use]
            pub fn same_channel(&self, other: &Self) -> bool {
                self.inner.same_channel(&other.inner)
            }
        }

        impl<T> $weak<T> {
            /// Returns a sender, unless all senders were dropped.
            #[must_use]
            pub fn upgrade(&self) -> Option<$sender<T>> {
                Some($sender { inner: self.inner.upgrade()?, channel: self.channel.clone() })
            }
        }

        weak_sender!(@counts $sender);
        weak_sender!(@counts $weak);
    };
    (@counts $name:ident) => {
        impl<T> $name<T> {
            /// Returns the number of senders.
            #[must_use]
            pub fn strong_count(&self) -> usize {
                self.inner.strong_count()
            }

            /// Returns the number of senders that do not keep the channel open.
            #[must_use]
            pub fn weak_count(&self) -> usize {
                self.inner.weak_count()
            }
        }

        impl<T> Clone for $name<T> {
            fn clone(&self) -> Self {
                Self { inner: self.inner.clone(), channel: self.channel.clone() }
            }
        }
    };
}

pub mod broadcast;
mod lock;
pub mod mpsc;
pub mod oneshot;

pub use self::lock::{Lock, Mutex, RwLock, Semaphore};

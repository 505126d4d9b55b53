//! The builders of requests of a pull consumer, under the names that async-nats gives them and their settings.
//!
//! Follows the [messaging semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/), "Consumer spans".

use std::fmt;
use std::time::Duration;

use async_nats::jetstream::consumer::{StreamError, pull};

use crate::jetstream::consumer::Consumer;
use crate::jetstream::messages::Messages;

macro_rules! builder {
    ($(#[$about:meta])* $name:ident: $start:ident -> $stream:ty, $error:ty; $($setting:ident($value:ty);)*) => {
        $(#[$about])*
        #[must_use = "a builder does nothing before `messages` is called"]
        pub struct $name<'c> {
            inner: pull::$name<'c>,
            consumer: &'c Consumer<pull::Config>,
        }

        impl<'c> $name<'c> {
            pub(crate) fn new(consumer: &'c Consumer<pull::Config>) -> Self {
                Self { inner: consumer.inner.$start(), consumer }
            }

            $(
                #[doc = concat!("Sets `", stringify!($setting), "` of async-nats' builder.")]
                pub fn $setting(self, value: $value) -> Self {
                    self.with_inner(|inner| inner.$setting(value))
                }
            )*

            /// Sets the priority group.
            pub fn group<T: Into<String>>(self, group: T) -> Self {
                self.with_inner(|inner| inner.group(group))
            }

            /// Changes the builder of async-nats, for settings that depend on its features.
            pub fn with_inner(mut self, change: impl FnOnce(pull::$name<'c>) -> pull::$name<'c>) -> Self {
                self.inner = change(self.inner);
                self
            }

            /// Sends the request, and returns its messages.
            ///
            /// # Errors
            /// Returns the error of async-nats.
            pub async fn messages(self) -> Result<Messages<$stream>, $error> {
                self.inner.messages().await.map(self.consumer.instrument())
            }
        }

        impl fmt::Debug for $name<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name)).field("consumer", &self.consumer).finish_non_exhaustive()
            }
        }
    };
}

builder! {
    /// async-nats' `StreamBuilder`.
    StreamBuilder: stream -> pull::Stream, StreamError;
    max_bytes_per_batch(usize);
    max_messages_per_batch(usize);
    heartbeat(Duration);
    expires(Duration);
    min_pending(usize);
    min_ack_pending(usize);
}

builder! {
    /// async-nats' `FetchBuilder`.
    FetchBuilder: fetch -> pull::Batch, pull::BatchError;
    max_bytes(usize);
    max_messages(usize);
    heartbeat(Duration);
    expires(Duration);
    min_pending(usize);
    min_ack_pending(usize);
}

builder! {
    /// async-nats' `BatchBuilder`.
    BatchBuilder: batch -> pull::Batch, pull::BatchError;
    max_bytes(usize);
    max_messages(usize);
    heartbeat(Duration);
    expires(Duration);
    min_pending(usize);
    min_ack_pending(usize);
}

//! Deadlines: a client layer that sends the time that is left, and a server layer that stops work whose caller has given up.
//!
//! Follows [gRPC's deadlines](https://grpc.io/docs/guides/deadlines/) and [gRPC over
//! HTTP/2](https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md), "Timeout".

mod client;
mod future;
mod header;
mod server;

pub use self::client::{DeadlineLayer, DeadlineService};
pub use self::future::{DeadlineFuture, DeadlineServerFuture};
pub use self::header::DeadlineHeader;
pub use self::server::{DeadlineServerLayer, DeadlineServerService};

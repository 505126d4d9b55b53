//! Participants over gRPC: the protocol of `proto/participant.proto`, and both of its sides.
//!
//! Both are traced by otel-grpc. A call of a participant is a span of otel-saga; below it are the client's span and, in the
//! other process, the server's.

mod client;
mod server;

pub use self::client::RemoteParticipant;
pub use self::server::{ParticipantService, WrongParticipant};

/// The protocol, generated from `proto/participant.proto`.
mod pb {
    #![allow(
        missing_docs,
        unreachable_pub,
        clippy::exhaustive_enums,
        clippy::exhaustive_structs,
        reason = "generated"
    )]

    tonic::include_proto!("twopc.v1");
}

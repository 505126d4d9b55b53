//! Participants over gRPC: both sides of the protocol in `proto/participant.proto`.
//!
//! otel-saga records a span for each call of a participant; otel-grpc adds the client span below it and the server span
//! in the other process.

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

//! The protocol, generated from `proto/chat.proto`.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::exhaustive_enums,
    clippy::exhaustive_structs,
    reason = "generated"
)]

tonic::include_proto!("chat");

/// What the protocol consists of, for whoever wants to know which methods there are.
pub(crate) const FILE_DESCRIPTOR_SET: &[u8] = tonic::include_file_descriptor_set!("chat");

/// The method's full name.
pub(crate) const TALK: &str = "chat.Room/Talk";

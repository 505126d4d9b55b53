//! The protocol, generated from `proto/chat.proto`.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::exhaustive_enums,
    clippy::exhaustive_structs,
    reason = "generated"
)]

tonic::include_proto!("chat");

/// The file descriptor set, from which the server layer takes the names of the methods.
pub(crate) const FILE_DESCRIPTOR_SET: &[u8] = tonic::include_file_descriptor_set!("chat");

/// The full name of the method `Talk`.
pub(crate) const TALK: &str = "chat.Room/Talk";

//! The protocol, generated from `proto/stock.proto`.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::exhaustive_enums,
    clippy::exhaustive_structs,
    reason = "generated"
)]

tonic::include_proto!("stock");

/// The file descriptor set, from which the server layer takes the names of the methods.
pub(crate) const FILE_DESCRIPTOR_SET: &[u8] = tonic::include_file_descriptor_set!("stock");

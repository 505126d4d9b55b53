//! The protocol, generated from `proto/shop.proto`.

/// The messages, clients and servers.
pub mod shop {
    #![allow(
        missing_docs,
        unreachable_pub,
        clippy::exhaustive_enums,
        clippy::exhaustive_structs,
        reason = "generated"
    )]

    tonic::include_proto!("shop");
}

/// The file descriptor set, from which server layers take the names of the methods.
pub const FILE_DESCRIPTOR_SET: &[u8] = tonic::include_file_descriptor_set!("shop");

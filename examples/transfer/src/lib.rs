//! Two-phase commit with remote participants over gRPC: the coordinator's and the service's side.

pub mod remote;

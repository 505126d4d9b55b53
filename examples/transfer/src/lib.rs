//! A two-phase commit whose participants are services: what the coordinator calls over gRPC, and what answers it.

pub mod remote;

//! The suite is mounted on a sound toy transport, and catches each of the faults that the toy can be given.

mod broken;
mod fault;
mod harness;
mod headers;
mod layers;
mod misuse;
mod toy;

mod server {
    //! The suite on the toy's inbound side.
    otel_testing::conformance!(inbound, super::harness::ToyHarness::inbound);
}

mod client {
    //! The suite on the toy's outbound side.
    otel_testing::conformance!(outbound, super::harness::ToyHarness::outbound);
}

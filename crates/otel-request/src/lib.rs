//! The family of request-response transports.
//!
#![doc = include_str!("../README.md")]

mod address;
mod captured_headers;
mod host;
mod resend;

pub use crate::address::{PeerAddr, format_ip};
pub use crate::captured_headers::CapturedHeaders;
pub use crate::host::{Host, HostCache, split_host};
pub use crate::resend::ResendCounter;

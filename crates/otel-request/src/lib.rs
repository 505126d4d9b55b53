//! The family of request-response transports: one start, one owner of the span, whatever layers are stacked.
//!
#![doc = include_str!("../README.md")]
//!
//! # Modules
//!
//! `server` and `client` start an operation, `scope`, `future` and `body` carry it to its end, `owner` and `joint` connect
//! the layers of one request, `instrumentation`, `observer` and `span` are the contract with a transport, `options` and
//! `layer` are the settings that all transports share.

mod address;
mod body;
mod captured_headers;
mod client;
#[cfg(feature = "tokio")]
mod deadline;
mod drop_reason;
mod error_type;
mod future;
mod head;
mod host;
mod instrumentation;
mod joint;
mod layer;
mod observer;
mod options;
mod owner;
mod protocol;
mod record;
mod resend;
mod route;
mod scope;
mod series;
mod server;
mod span;
mod timeout;

pub use crate::address::{PeerAddr, format_ip};
pub use crate::body::RequestBody;
pub use crate::captured_headers::CapturedHeaders;
pub use crate::client::{ClientInstrumentation, start_client};
#[cfg(feature = "tokio")]
pub use crate::deadline::{DEADLINE_REMAINING, Deadline};
pub use crate::drop_reason::DropReason;
pub use crate::error_type::{ErrorClass, ErrorView};
pub use crate::future::RequestFuture;
pub use crate::head::{HeadView, RequestHead, ResponseHead};
pub use crate::host::{Host, HostCache, split_host};
pub use crate::instrumentation::Instrumentation;
pub use crate::layer::LayerOptions;
pub use crate::observer::{EndsWith, RequestObserver};
pub use crate::options::Options;
pub use crate::owner::SeparateRequest;
pub use crate::protocol::Protocol;
pub use crate::resend::ResendCounter;
pub use crate::scope::{Entered, RequestScope};
pub use crate::series::SeriesLimit;
pub use crate::server::{ServerInstrumentation, start_server};
pub use crate::span::{AttributeScope, NameRank, RequestSpan, SpanName};
pub use crate::timeout::parse_timeout;

//! Context propagation: carriers, formats, limits, and the relations between spans. The specifications that
//! it follows are linked where they are implemented.
//!
#![doc = include_str!("../README.md")]
//!
//! # Where things are
//!
//! [`PropagatorHandle`] is what a layer holds. [`TraceContextPropagator`], [`BaggagePropagator`], [`B3Propagator`] and [`PassThroughPropagator`] are the
//! formats, [`CompositePropagator`] puts them together. [`HeaderReader`] and [`HeaderWriter`] are what a transport implements for its
//! headers. [`baggage`] sets baggage by hand, [`link_to`] and its neighbours relate spans.

mod b3;
pub mod baggage;
mod carrier;
mod carrier_fields;
mod composite;
mod extracted;
mod fields;
mod foreign;
mod from_env;
mod handle;
mod hex;
#[cfg(feature = "http")]
mod http_carrier;
mod inbound;
mod links;
mod pass_through;
mod process_env;
mod text_map;
mod trace_context;
mod trace_state;
mod write_scope;

pub use b3::B3Propagator;
pub use baggage::propagator::BaggagePropagator;
pub use carrier::{HeaderReader, HeaderWriter};
pub use composite::CompositePropagator;
pub use extracted::ExtractedParent;
pub use from_env::UnknownPropagators;
pub use handle::{PropagatorHandle, declare_global_final, extract, inject, is_global_final, set_global};
#[cfg(feature = "http")]
pub use http_carrier::{HeaderExtractor, HeaderInjector};
pub use inbound::{declare_random_trace_ids, is_received_random};
pub use links::{context_with_remote_parent, follows_from_link, link_to, without_span};
pub use pass_through::{PassThroughError, PassThroughPropagator};
pub use process_env::EnvCarrier;
pub use trace_context::TraceContextPropagator;

//! HTTP's headers as a carrier of context. gRPC has the same ones, so they are otel-propagation's.
//!
//! Follows the [OpenTelemetry specification, Context, Propagators
//! API](https://opentelemetry.io/docs/specs/otel/context/api-propagators/), "Carrier", and RFC 9110, section 5.

pub use otel_propagation::{HeaderExtractor, HeaderInjector};

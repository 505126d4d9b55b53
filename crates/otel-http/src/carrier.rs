//! HTTP headers as carriers of context, re-exported from otel-propagation, which shares them with gRPC.
//!
//! Follows the [Propagators API](https://opentelemetry.io/docs/specs/otel/context/api-propagators/#carrier),
//! "Carrier", and [RFC 9110, section 5](https://www.rfc-editor.org/rfc/rfc9110#section-5).

pub use otel_propagation::{HeaderExtractor, HeaderInjector};

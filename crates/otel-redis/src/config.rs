//! The options of a connection, which are those of all databases, and the function for templates of keys.
//!
//! Follows the [semantic conventions for Redis](https://opentelemetry.io/docs/specs/semconv/db/redis/): an attribute that they
//! make opt-in is an option.

use std::sync::Arc;

pub use otel_database::Options;

/// Returns the template of a key, given the name of the command and the key.
pub(crate) type KeyTemplate = Arc<dyn Fn(&str, &[u8]) -> Option<String> + Send + Sync>;

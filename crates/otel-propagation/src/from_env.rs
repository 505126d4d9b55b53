//! The formats that `OTEL_PROPAGATORS` names.
//!
//! Follows the OpenTelemetry specification, "General SDK Configuration"
//! (<https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/#general-sdk-configuration>).

use crate::b3::B3Propagator;
use crate::baggage::propagator::BaggagePropagator;
use crate::composite::CompositePropagator;
use crate::trace_context::TraceContextPropagator;

const VARIABLE: &str = "OTEL_PROPAGATORS";
const KNOWN: &str = "tracecontext, baggage, b3, b3multi, none";

/// A list of propagators has names that are unknown to this crate.
///
/// The error carries what the rest of the list gives, as
/// [`CompositePropagator::from_env`] uses it.
#[derive(Clone, Debug, thiserror::Error)]
#[error("propagator list has unknown names: {}; known: {KNOWN}", .names.join(", "))]
pub struct UnknownPropagators {
    names: Vec<String>,
    rest: CompositePropagator,
}

impl UnknownPropagators {
    /// The names, in their order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    /// The propagator without them; the default where no known name is left.
    #[must_use]
    pub fn into_known(self) -> CompositePropagator {
        self.rest
    }
}

impl CompositePropagator {
    /// The formats that the environment variable `OTEL_PROPAGATORS` names: `tracecontext`, `baggage`, `b3`, `b3multi`,
    /// or `none`; the default if it is unset or empty.
    ///
    /// An unknown name is left out, and a `tracing` event at level WARN says so if the feature `tracing` is on. To see
    /// it in another way, use [`from_env_strict`](Self::from_env_strict), whose error carries the rest. If all
    /// names are unknown, the setting is ignored, as the specification requires, and the default counts.
    #[must_use]
    pub fn from_env() -> Self {
        Self::from_env_strict().unwrap_or_else(|unknown| {
            #[cfg(feature = "tracing")]
            tracing::warn!(name: "propagators.unknown", variable = VARIABLE, "{VARIABLE} read in part: {unknown}");
            unknown.into_known()
        })
    }

    /// As [`from_env`](Self::from_env), but an unknown name is an error.
    ///
    /// # Errors
    ///
    /// A name in the list is not known. A value that is not UTF-8 is read with U+FFFD in place of what is not.
    pub fn from_env_strict() -> Result<Self, UnknownPropagators> {
        let value = std::env::var_os(VARIABLE).unwrap_or_default();
        Self::from_list(&value.to_string_lossy())
    }

    /// The formats that a list names, as [`from_env`](Self::from_env) reads it: separated by commas, each taken once.
    /// `none` takes all others out.
    ///
    /// # Errors
    ///
    /// A name in the list is not known.
    pub fn from_list(list: &str) -> Result<Self, UnknownPropagators> {
        let mut composite = Self::empty();
        let (mut taken, mut unknown): (Vec<&str>, Vec<String>) = Default::default();
        for name in list.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            if taken.contains(&name) {
                continue;
            }
            composite = match name {
                "tracecontext" => composite.with_trace_context(TraceContextPropagator::new()),
                "baggage" => composite.with_baggage(BaggagePropagator::new()),
                "b3" => composite.with_b3(B3Propagator::single()),
                "b3multi" => composite.with_b3(B3Propagator::multi()),
                "none" => composite,
                _ => {
                    unknown.push(name.to_owned());
                    continue;
                }
            };
            taken.push(name);
        }
        if taken.contains(&"none") {
            composite = Self::empty();
        } else if taken.is_empty() {
            composite = Self::default();
        }
        if unknown.is_empty() {
            Ok(composite)
        } else {
            Err(UnknownPropagators { names: unknown, rest: composite })
        }
    }
}

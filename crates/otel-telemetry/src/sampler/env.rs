//! The sampler that the environment names.
//!
//! Follows the
//! [environment variable specification](https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/)
//! (`OTEL_TRACES_SAMPLER`, `OTEL_TRACES_SAMPLER_ARG`): case does not matter, an empty value counts as unset, and an
//! invalid value is reported for the caller to warn about.

use super::Sampler;

/// The names that are known.
pub(crate) const NAMES: &str = "always_on, always_off, traceidratio, parentbased_always_on, parentbased_always_off, \
                     parentbased_traceidratio";

/// What is wrong with `OTEL_TRACES_SAMPLER` or its argument. The specification wants a warning, and the variable to
/// count as unset.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EnvError {
    /// The name is none of the known ones.
    #[error("OTEL_TRACES_SAMPLER={name:?} is not known; the choices are {NAMES}")]
    #[non_exhaustive]
    UnknownName {
        /// The value of the variable.
        name: String,
    },
    /// The argument is not a number from 0 to 1.
    #[error("OTEL_TRACES_SAMPLER_ARG={argument:?} is not a number from 0 to 1")]
    #[non_exhaustive]
    InvalidArgument {
        /// The value of the variable.
        argument: String,
    },
}

impl Sampler {
    /// The sampler of this value of `OTEL_TRACES_SAMPLER`, with that of `OTEL_TRACES_SAMPLER_ARG`.
    ///
    /// Known are `always_on`, `always_off`, `traceidratio`, and each of these after `parentbased_`. The argument is the
    /// ratio, 1 if it is not set; the other samplers ignore it. An empty name is the default of the specification,
    /// `parentbased_always_on`.
    ///
    /// # Errors
    ///
    /// [`EnvError::UnknownName`], and [`EnvError::InvalidArgument`] for a ratio that is not a number from 0 to 1: after
    /// the latter, calling again without the argument gives what the specification asks for.
    pub fn from_env(name: &str, argument: Option<&str>) -> Result<Self, EnvError> {
        let ratio = || {
            let argument = argument.map(str::trim).filter(|argument| !argument.is_empty());
            let Some(argument) = argument else { return Ok(Self::ratio(1.0)) };
            match argument.parse() {
                Ok(ratio) if (0.0..=1.0).contains(&ratio) => Ok(Self::ratio(ratio)),
                _ => Err(EnvError::InvalidArgument { argument: argument.to_owned() }),
            }
        };
        match name.trim().to_ascii_lowercase().as_str() {
            "always_on" => Ok(Self::always()),
            "always_off" => Ok(Self::never()),
            "traceidratio" => ratio(),
            "" | "parentbased_always_on" => Ok(Self::parent_based(Self::always())),
            "parentbased_always_off" => Ok(Self::parent_based(Self::never())),
            "parentbased_traceidratio" => Ok(Self::parent_based(ratio()?)),
            _ => Err(EnvError::UnknownName { name: name.to_owned() }),
        }
    }
}

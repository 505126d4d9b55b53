//! The sampler that the environment selects.
//!
//! Follows the specification of [environment
//! variables](https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/)
//! (`OTEL_TRACES_SAMPLER`, `OTEL_TRACES_SAMPLER_ARG`): case is ignored, an empty value counts as unset, and an
//! invalid value is returned as an error, about which the caller warns.

use super::Sampler;

/// The accepted names, for errors.
pub(crate) const NAMES: &str = "always_on, always_off, traceidratio, parentbased_always_on, parentbased_always_off, \
                     parentbased_traceidratio";

/// An invalid value of `OTEL_TRACES_SAMPLER` or its argument. The specification requires a warning and that the
/// variable counts as unset.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EnvError {
    /// The name is unknown.
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
    /// Returns the sampler for the values of `OTEL_TRACES_SAMPLER` and `OTEL_TRACES_SAMPLER_ARG`.
    ///
    /// The names are `always_on`, `always_off`, `traceidratio`, and each of these after `parentbased_`. The argument
    /// is the ratio, 1 if unset; samplers without a ratio ignore it. An empty name selects the specification's
    /// default, `parentbased_always_on`.
    ///
    /// # Errors
    ///
    /// Returns [`EnvError::UnknownName`] for an unknown name, and [`EnvError::InvalidArgument`] for a ratio that is
    /// not a number from 0 to 1; a second call without the argument then returns the sampler that the specification
    /// requires.
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

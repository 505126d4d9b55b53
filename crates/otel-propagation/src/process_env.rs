//! Environment variables as a carrier, for child processes: `TRACEPARENT`, `TRACESTATE`, `BAGGAGE`.
//!
//! Follows the OpenTelemetry specification, "Environment Variables as Context Propagation Carriers"
//! (<https://opentelemetry.io/docs/specs/otel/context/env-carriers/>).

use std::process::Command;

use crate::carrier::{HeaderReader, HeaderWriter};

/// Environment variables as a carrier: read those of this process, or gather some for another.
///
/// A variable's name is the header's in upper case with `_` in place of what is neither letter nor digit:
/// `TRACEPARENT`, `X_B3_TRACEID`. To start a child with the context, inject straight into its [`Command`].
///
/// ```
/// use otel_propagation::{EnvCarrier, PropagatorHandle, TraceContextPropagator};
///
/// let propagation = PropagatorHandle::new(TraceContextPropagator::new());
/// // In a child process: the context that its parent had.
/// let cx = propagation.extract(&EnvCarrier::from_current_process());
/// // In the parent: one way for a `Command`, and one for everything else that takes variables.
/// propagation.inject(&cx, &mut std::process::Command::new("job"));
/// let mut variables = EnvCarrier::new();
/// propagation.inject(&cx, &mut variables);
/// for (name, value) in variables.into_pairs() { /* into a job's manifest, say */ }
/// ```
#[derive(Clone, Debug, Default)]
pub struct EnvCarrier {
    /// Under the names of headers.
    headers: Vec<(String, String)>,
}

impl EnvCarrier {
    /// No variables, to write to.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The variables that this process has now; those that are not UTF-8 are left out.
    #[must_use]
    pub fn from_current_process() -> Self {
        std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect()
    }

    /// The variables, as names and values.
    #[must_use]
    pub fn into_pairs(self) -> Vec<(String, String)> {
        self.headers.into_iter().map(|(name, value)| (variable(&name), value)).collect()
    }
}

impl<N: AsRef<str>, V: Into<String>> FromIterator<(N, V)> for EnvCarrier {
    /// Takes names and values of variables.
    fn from_iter<I: IntoIterator<Item = (N, V)>>(variables: I) -> Self {
        let header = |name: &str| name.to_ascii_lowercase().replace('_', "-");
        Self {
            headers: variables
                .into_iter()
                .map(|(name, value)| (header(name.as_ref()), value.into()))
                .collect(),
        }
    }
}

impl HeaderReader for EnvCarrier {
    fn visit<'a>(&'a self, visitor: impl FnMut(&'a str, &'a [u8])) {
        self.headers.visit(visitor);
    }
}

impl HeaderWriter for EnvCarrier {
    fn set(&mut self, name: &str, value: &str) {
        self.headers.set(name, value);
    }

    fn remove(&mut self, name: &str) {
        HeaderWriter::remove(&mut self.headers, name);
    }

    fn contains(&self, name: &str) -> bool {
        HeaderWriter::contains(&self.headers, name)
    }
}

/// The child does not inherit variables that are removed, so that it cannot join an old trace.
impl HeaderWriter for Command {
    fn set(&mut self, name: &str, value: &str) {
        // A variable cannot hold this, and would keep the child from being started.
        if !value.contains('\0') {
            self.env(variable(name), value);
        }
    }

    fn remove(&mut self, name: &str) {
        self.env_remove(variable(name));
    }

    fn contains(&self, name: &str) -> bool {
        let name = variable(name);
        self.get_envs().any(|(known, value)| value.is_some() && known == name.as_str())
    }
}

fn variable(header: &str) -> String {
    header
        .chars()
        .map(|char| if char.is_ascii_alphanumeric() { char.to_ascii_uppercase() } else { '_' })
        .collect()
}

//! The check of a configuration: one span along the configured path, step by step.

mod environment;
mod propagation;
mod sampling;
mod send;
mod tls;

use std::{fmt, time::Duration};

use self::environment::Configuration;

/// The steps of [`diagnose`], in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// The `OTEL_*` variables are valid, and traces are exported.
    Environment,
    /// The context is injected and extracted again.
    Propagation,
    /// The sampler keeps traces.
    Sampling,
    /// The collector's address is resolved and connected to, and the span is sent.
    Export,
    /// The collector accepts the span.
    Collector,
}

/// The outcome of one step.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Finding {
    /// The step works; the text describes the configuration in effect.
    Works(String),
    /// The step works, but some traces or attributes can be missing, for this reason.
    Doubtful(String),
    /// The step fails, for this reason.
    Fails(String),
    /// The step was not tried, because an earlier one failed.
    Skipped,
}

/// The outcome of all steps; `Display` formats one line for each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnosis {
    steps: Vec<(Step, Finding)>,
}

impl Diagnosis {
    /// Returns the steps with their outcomes.
    #[must_use]
    pub fn steps(&self) -> &[(Step, Finding)] {
        &self.steps
    }

    /// Returns the first step that fails, with the cause.
    #[must_use]
    pub fn failure(&self) -> Option<(Step, &str)> {
        self.steps.iter().find_map(|(step, finding)| match finding {
            Finding::Fails(cause) => Some((*step, &**cause)),
            _ => None,
        })
    }
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (step, finding) in &self.steps {
            let (mark, text) = match finding {
                Finding::Works(text) => ("✓", &**text),
                Finding::Doubtful(text) => ("!", &**text),
                Finding::Fails(text) => ("✗", &**text),
                Finding::Skipped => ("-", "not tried"),
            };
            let name = format!("{step:?}").to_lowercase();
            writeln!(f, "{mark} {name:<12} {}", crate::escape::visible(text))?;
        }
        Ok(())
    }
}

/// Sends one span as the `OTEL_*` environment says, and reports each step. It takes at most twice the timeout of the
/// export (`OTEL_EXPORTER_OTLP_TIMEOUT`, 10 s by default).
///
/// `variable` returns the value of an environment variable: `|name| std::env::var(name).ok()`. The variables are those
/// of the [specification](https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/).
pub async fn diagnose(variable: impl Fn(&str) -> Option<String>) -> Diagnosis {
    // An empty value counts as unset.
    let variable = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
    let mut steps = Vec::new();
    let (finding, configuration) = environment::check(&variable);
    steps.push((Step::Environment, finding));
    steps.push((Step::Propagation, propagation::check(&variable)));
    steps.push((Step::Sampling, sampling::check(&variable)));
    let (export, collector) = match configuration {
        None => (Finding::Skipped, Finding::Skipped),
        Some(configuration) => exchange(&configuration).await,
    };
    steps.push((Step::Export, export));
    steps.push((Step::Collector, collector));
    Diagnosis { steps }
}

async fn exchange(configuration: &Configuration) -> (Finding, Finding) {
    let limit = configuration.timeout;
    let sent = match within(limit, send::send(configuration)).await {
        Ok(sent) => sent,
        Err(cause) => return (Finding::Fails(cause), Finding::Skipped),
    };
    let export = Finding::Works(sent.description.clone());
    let collector = match within(limit, sent.answer()).await {
        Ok(text) => Finding::Works(text),
        Err(cause) => Finding::Fails(cause),
    };
    (export, collector)
}

async fn within<T>(limit: Duration, work: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    match tokio::time::timeout(limit, work).await {
        Ok(result) => result,
        Err(_) => Err(format!("no answer within {limit:?}")),
    }
}

//! The progress of one call through its attempts: the decision about a resend, and its record.
//!
//! Follows `docs/conventions.md` for the names.

use std::borrow::Cow;
use std::time::Duration;

use opentelemetry::trace::TraceContextExt;
use opentelemetry::{Context, KeyValue};
use otel_operation::{ERROR_TYPE, catch_panic};
use otel_request::Deadline;

use super::Retry;
use super::after::Pushback;
use crate::attributes::{NAME, RETRY, RETRY_DELAY, RETRY_EXHAUSTED, RETRY_LIMIT};

/// A failed attempt that may be repeated.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) error_type: Cow<'static, str>,
    pub(super) pushback: Option<Pushback>,
}

/// The progress of one call.
#[derive(Clone, Debug)]
pub(super) struct Progress {
    resends: u32,
    /// The context of the call, in which all attempts are children of one span.
    context: Context,
}

impl Progress {
    /// Begins a call in the current context, and pays for it into the budget.
    #[inline]
    pub(super) fn begin(retry: &Retry) -> Self {
        retry.0.budget.deposit();
        Self { resends: 0, context: Context::current() }
    }

    pub(super) fn context(&self) -> &Context {
        &self.context
    }

    pub(super) fn resends(&self) -> u32 {
        self.resends
    }

    /// Returns the delay before the next attempt, or `None` if a limit forbids it.
    #[cold]
    pub(super) fn resend(&mut self, retry: &Retry, failure: &Failure) -> Option<Duration> {
        match self.delay(retry, failure) {
            Ok(delay) => {
                self.resends += 1;
                let _ = catch_panic(|| self.record_resend(retry, failure, delay));
                Some(delay)
            }
            Err(limit) => {
                let _ = catch_panic(|| self.record_limit(retry, failure, limit));
                None
            }
        }
    }

    fn delay(&self, retry: &Retry, failure: &Failure) -> Result<Duration, &'static str> {
        let settings = &*retry.0;
        if self.resends + 1 >= settings.max_attempts {
            return Err("attempts");
        }
        let mut delay = retry.delay(self.resends);
        match failure.pushback {
            None => {}
            Some(Pushback::Delay(wanted)) if wanted <= settings.max_retry_after => delay = delay.max(wanted),
            Some(_) => return Err("retry_after"),
        }
        if Deadline::from_context(&self.context).is_some_and(|deadline| deadline.remaining() <= delay) {
            return Err("deadline");
        }
        // Last, because it takes from the budget.
        if settings.budget.withdraw() { Ok(delay) } else { Err("budget") }
    }

    fn record_resend(&self, retry: &Retry, failure: &Failure, delay: Duration) {
        let name = KeyValue::new(NAME, retry.0.name.clone());
        self.add_event(RETRY, || {
            vec![
                name.clone(),
                KeyValue::new(ERROR_TYPE, failure.error_type.clone()),
                KeyValue::new(RETRY_DELAY, delay.as_secs_f64()),
            ]
        });
        if let Some(instruments) = retry.0.instrumentation.instruments() {
            instruments.resends.add(1, &[name]);
        }
    }

    fn record_limit(&self, retry: &Retry, failure: &Failure, limit: &'static str) {
        let attributes = [KeyValue::new(NAME, retry.0.name.clone()), KeyValue::new(RETRY_LIMIT, limit)];
        self.add_event(RETRY_EXHAUSTED, || {
            let error_type = KeyValue::new(ERROR_TYPE, failure.error_type.clone());
            attributes.iter().cloned().chain([error_type]).collect()
        });
        if let Some(instruments) = retry.0.instrumentation.instruments() {
            instruments.exhausted.add(1, &attributes);
        }
    }

    fn add_event(&self, name: &'static str, attributes: impl FnOnce() -> Vec<KeyValue>) {
        let span = self.context.span();
        if span.is_recording() {
            span.add_event(name, attributes());
        }
    }
}

//! The ejection of endpoints that fail: after some failures in a row they are no candidates for a time.
//!
//! Follows [Envoy's outlier
//! detection](https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/outlier), consecutive errors.

use std::time::Duration;

use http::{HeaderMap, Response};

/// The rule by which endpoints are ejected. Default: after 5 failures in a row, for 30 s, at most half of the endpoints.
#[derive(Clone, Debug)]
pub struct Ejection {
    pub(crate) failures: u32,
    time: Duration,
    max_time: Duration,
    max_share: f64,
}

impl Default for Ejection {
    fn default() -> Self {
        Self {
            failures: 5,
            time: Duration::from_secs(30),
            max_time: Duration::from_secs(300),
            max_share: 0.5,
        }
    }
}

impl Ejection {
    /// Returns the default rule.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the number of failures in a row, at least 1. An endpoint that comes back is ejected again after one.
    #[must_use]
    pub fn with_failures(mut self, failures: u32) -> Self {
        self.failures = failures.max(1);
        self
    }

    /// Sets the time of a first ejection, and the longest one: each further ejection is longer by the first time, until the
    /// endpoint responds.
    #[must_use]
    pub fn with_time(mut self, time: Duration, max: Duration) -> Self {
        (self.time, self.max_time) = (time, max.max(time));
        self
    }

    /// Sets the largest share of the endpoints that is ejected at once, from 0 to 1. At least one endpoint always stays.
    #[must_use]
    pub fn with_max_share(mut self, share: f64) -> Self {
        self.max_share = share.clamp(0.0, 1.0);
        self
    }

    /// Returns the number of endpoints that may be ejected at once.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a share of a count"
    )]
    pub(crate) fn limit(&self, endpoints: usize) -> usize {
        let share = (endpoints as f64 * self.max_share) as usize;
        share.min(endpoints.saturating_sub(1))
    }

    /// Returns the time of an ejection after this many others.
    pub(crate) fn time(&self, ejections: u32) -> Duration {
        self.time.saturating_mul(ejections.saturating_add(1)).min(self.max_time)
    }
}

/// The rule by which the result of a call is a failure of its endpoint. A closure is one.
pub trait IsFailure<R, E> {
    /// Returns true if the endpoint failed.
    fn is_failure(&self, result: Result<&R, &E>) -> bool;
}

/// The rule that each error is a failure, and no response.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "a rule without options")]
pub struct ErrorsOnly;

impl<R, E> IsFailure<R, E> for ErrorsOnly {
    fn is_failure(&self, result: Result<&R, &E>) -> bool {
        result.is_err()
    }
}

/// The rule that errors are failures, and so are the statuses 502, 503 and 504 of HTTP and UNAVAILABLE of gRPC in the head
/// of a response.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "a rule without options")]
pub struct Unavailable;

impl<B, E> IsFailure<Response<B>, E> for Unavailable {
    fn is_failure(&self, result: Result<&Response<B>, &E>) -> bool {
        /// The [code of UNAVAILABLE](https://grpc.io/docs/guides/status-codes/).
        const UNAVAILABLE: &str = "14";
        let is_unavailable =
            |headers: &HeaderMap| headers.get("grpc-status").is_some_and(|code| code == UNAVAILABLE);
        result.map_or(true, |response| {
            matches!(response.status().as_u16(), 502..=504) || is_unavailable(response.headers())
        })
    }
}

impl<F, R, E> IsFailure<R, E> for F
where
    F: Fn(Result<&R, &E>) -> bool,
{
    fn is_failure(&self, result: Result<&R, &E>) -> bool {
        self(result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_ejected_and_never_all() {
        let rule = |share| Ejection::new().with_max_share(share);
        assert_eq!([rule(0.5).limit(0), rule(0.5).limit(1), rule(0.5).limit(3)], [0, 0, 1]);
        assert_eq!([rule(1.0).limit(3), rule(0.1).limit(10_000), rule(0.0).limit(9)], [2, 1_000, 0]);
    }

    #[test]
    fn further_ejections_are_longer() {
        let seconds = Duration::from_secs;
        let rule = Ejection::new().with_time(seconds(30), seconds(80));
        assert_eq!([0, 1, 2, u32::MAX].map(|count| rule.time(count)), [30, 60, 80, 80].map(seconds));
    }
}

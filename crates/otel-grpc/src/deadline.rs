//! The caller's deadline, which distinguishes a call that timed out from one that was cancelled.
//!
//! Follows [gRPC over HTTP/2](https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md), "Timeout".

use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderName};
use otel_request::parse_timeout;

use crate::carrier::find;

/// A constant, because parsing the name would cost as much as the lookup.
static GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// Bounds of the tolerance for a caller's reset that arrives before the deadline by the local clock, which started
/// later or runs slower. Within the bounds the tolerance is a tenth of the timeout.
const MOST_SLACK: Duration = Duration::from_millis(100);
const LEAST_SLACK: Duration = Duration::from_millis(1);

/// The instant from which an unfinished call counts as timed out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline(Instant);

impl Deadline {
    /// Returns the deadline of a call that starts now, or `None` without a valid `grpc-timeout`.
    pub(crate) fn from_headers(headers: &HeaderMap) -> Option<Self> {
        let (unit, digits) = find(headers, &GRPC_TIMEOUT)?.as_bytes().split_last()?;
        let timeout = parse_timeout(digits, *unit)?;
        Some(Self(Instant::now().checked_add(without_slack(timeout))?))
    }

    /// Returns `true` if the deadline has passed.
    pub(crate) fn has_passed(&self) -> bool {
        Instant::now() >= self.0
    }
}

fn without_slack(timeout: Duration) -> Duration {
    timeout.saturating_sub((timeout / 10).clamp(LEAST_SLACK, MOST_SLACK))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reset_that_is_a_little_early_is_a_deadline() {
        let ms = Duration::from_millis;
        assert_eq!(without_slack(ms(100)), ms(90));
        assert_eq!(without_slack(ms(10_000)), ms(9_900), "of ten seconds a tenth would be too much");
        assert_eq!(without_slack(ms(3)), ms(2));
        assert_eq!(without_slack(ms(1)), ms(0));
        assert_eq!(without_slack(ms(0)), ms(0));
    }
}

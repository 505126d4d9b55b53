//! The description of a span's status: bounded text, on request, that the application can redact.
//!
//! Follows the [general conventions for recording
//! errors](https://opentelemetry.io/docs/specs/semconv/general/recording-errors/), "Recording errors on spans": a
//! description only where it says more than `error.type`.

use std::borrow::Cow;
use std::error::Error;
use std::fmt::{self, Write as _};
use std::sync::Arc;

use otel_operation::catch_panic;

use super::ErrorView;

/// Limit in bytes of a description.
const LONGEST: usize = 1_024;

/// Limit in bytes of the text that a redaction receives. It is larger than that of a description, so that no part of a secret
/// is cut off before the redaction can recognize it.
const LONGEST_READ: usize = 4 * LONGEST;

type Redaction = Arc<dyn Fn(&str) -> Cow<'_, str> + Send + Sync>;

/// The settings of a span's status description.
#[derive(Clone, Default)]
pub(crate) struct DescriptionSettings {
    /// True if errors are described.
    pub(crate) errors: bool,
    /// True if responses are described, by a message of the peer.
    pub(crate) messages: bool,
    pub(crate) redaction: Option<Redaction>,
}

impl DescriptionSettings {
    /// Returns the text of an error: `own`, or the texts of the error and its causes. An error of unknown type has none.
    pub(crate) fn of_error(&self, error: &ErrorView<'_>, own: Option<&str>) -> Cow<'static, str> {
        if !self.errors {
            return Cow::Borrowed("");
        }
        if let Some(own) = own {
            return self.finish(truncated(own, LONGEST_READ).to_owned());
        }
        let mut text = BoundedText::default();
        for cause in error.causes() {
            text.add(cause);
        }
        self.finish(text.text)
    }

    /// Returns a message of the peer.
    pub(crate) fn of_message(&self, message: &str) -> Cow<'static, str> {
        if !self.messages {
            return Cow::Borrowed("");
        }
        self.finish(truncated(message, LONGEST_READ).to_owned())
    }

    fn finish(&self, mut text: String) -> Cow<'static, str> {
        if let Some(redact) = &self.redaction {
            // After a panic there is no text, because it is not redacted.
            text = catch_panic(|| redact(&text).into_owned()).unwrap_or_default();
        }
        text.truncate(truncated(&text, LONGEST).len());
        Cow::Owned(text)
    }
}

/// Returns the longest prefix of at most `limit` bytes.
fn truncated(text: &str, limit: usize) -> &str {
    let mut end = limit.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// The texts of an error and its causes, up to [`LONGEST_READ`] bytes.
#[derive(Default)]
struct BoundedText {
    text: String,
}

impl BoundedText {
    fn add(&mut self, cause: &(dyn Error + 'static)) {
        // Its text has the URL with its query; its causes say what failed.
        #[cfg(feature = "reqwest")]
        if cause.is::<reqwest::Error>() || cause.is::<reqwest_middleware::Error>() {
            return;
        }
        let mut own = Self::default();
        // The only error is that the text is full.
        let _ = write!(own, "{cause}");
        // Many errors repeat the text of their cause.
        if own.text.is_empty() || self.text.ends_with(&own.text) {
            return;
        }
        let separator = if self.text.is_empty() { "" } else { ": " };
        let _ = write!(self, "{separator}{}", own.text);
    }
}

impl fmt::Write for BoundedText {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        let room = LONGEST_READ - self.text.len();
        let fitting = truncated(part, room);
        self.text.push_str(fitting);
        if fitting.len() < part.len() { Err(fmt::Error) } else { Ok(()) }
    }
}

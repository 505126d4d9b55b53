//! The classes of failures: the values of `error.type` for errors, found by the types of an error and of its causes.
//!
//! Follows the [general conventions for recording
//! errors](https://opentelemetry.io/docs/specs/semconv/general/recording-errors/): `error.type` has a low cardinality and
//! never contains the text of an error.

mod causes;
mod description;
mod libraries;

#[cfg(test)]
mod tests;

use std::any::type_name;

pub use self::causes::ErrorView;
pub(crate) use self::description::DescriptionSettings;

/// The `error.type` of an error that nothing is known about.
pub(crate) const OTHER: &str = "_OTHER";

/// The class of a failure. [`as_str`](Self::as_str) is its `error.type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorClass {
    /// `timeout`: a limit of time has passed, for the connection or for the response.
    Timeout,
    /// `dns`: the name of the peer was not resolved.
    Dns,
    /// `tls`: the TLS handshake or the encrypted connection failed.
    Tls,
    /// `connection_refused`: the peer does not listen.
    ConnectionRefused,
    /// `connection_reset`: the peer or the network reset the connection; writing to such a connection included.
    ConnectionReset,
    /// `connection_closed`: the connection was closed before the response.
    ConnectionClosed,
    /// `unreachable`: there is no route to the peer.
    Unreachable,
    /// `connect`: the connection was not established, for another reason.
    Connect,
    /// `stream_reset`: the peer reset the HTTP/2 stream.
    StreamReset,
    /// `body_incomplete`: the body ended before its announced end.
    BodyIncomplete,
    /// `overloaded`: load was shed, by a layer or by the peer's HTTP/2 connection.
    Overloaded,
    /// `service_closed`: the service behind a `tower::buffer` has stopped.
    ServiceClosed,
    /// `protocol`: a message violates its protocol.
    Protocol,
    /// `redirect`: the client follows no further redirect.
    Redirect,
    /// `request`: the request cannot be sent, because it is invalid or its body failed.
    Request,
    /// `io`: another I/O error.
    Io,
}

impl ErrorClass {
    /// Returns the value of `error.type`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Dns => "dns",
            Self::Tls => "tls",
            Self::ConnectionRefused => "connection_refused",
            Self::ConnectionReset => "connection_reset",
            Self::ConnectionClosed => "connection_closed",
            Self::Unreachable => "unreachable",
            Self::Connect => "connect",
            Self::StreamReset => "stream_reset",
            Self::BodyIncomplete => "body_incomplete",
            Self::Overloaded => "overloaded",
            Self::ServiceClosed => "service_closed",
            Self::Protocol => "protocol",
            Self::Redirect => "redirect",
            Self::Request => "request",
            Self::Io => "io",
        }
    }

    /// Returns the class of the same failure within a body: a connection that closes there leaves the body incomplete.
    #[must_use]
    pub const fn in_body(self) -> Self {
        match self {
            Self::ConnectionClosed => Self::BodyIncomplete,
            class => class,
        }
    }
}

/// Returns the `error.type` of an error of unknown class: the name of its type, unless the type says nothing about the
/// failure because its causes can be seen.
pub(crate) fn unclassified<E: 'static>(error: &ErrorView<'_>) -> &'static str {
    if error.as_error().is_some() { OTHER } else { type_name::<E>() }
}

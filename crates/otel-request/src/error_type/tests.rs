//! Errors of every library, as their users construct them.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::io;
use std::sync::Arc;

use super::{DescriptionSettings, ErrorClass, ErrorView, unclassified};

/// An error with a cause, or of itself.
#[derive(Debug)]
enum Nested {
    Cause(Box<dyn Error + Send + Sync>),
    Cycle,
}

impl fmt::Display for Nested {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("outer")
    }
}

impl Error for Nested {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Cause(cause) => Some(&**cause),
            Self::Cycle => Some(self),
        }
    }
}

type BoxError = Box<dyn Error + Send + Sync>;

fn class<E: 'static>(error: E) -> Option<&'static str> {
    ErrorView::new(&error).class().map(ErrorClass::as_str)
}

fn refused() -> io::Error {
    io::ErrorKind::ConnectionRefused.into()
}

#[test]
fn an_io_error_is_classified_by_its_kind() {
    for (kind, name) in [
        (io::ErrorKind::ConnectionRefused, "connection_refused"),
        (io::ErrorKind::ConnectionReset, "connection_reset"),
        (io::ErrorKind::ConnectionAborted, "connection_reset"),
        (io::ErrorKind::BrokenPipe, "connection_reset"),
        (io::ErrorKind::TimedOut, "timeout"),
        (io::ErrorKind::UnexpectedEof, "connection_closed"),
        (io::ErrorKind::HostUnreachable, "unreachable"),
        (io::ErrorKind::PermissionDenied, "io"),
    ] {
        assert_eq!(class(io::Error::from(kind)), Some(name));
        assert_eq!(class(BoxError::from(Nested::Cause(io::Error::from(kind).into()))), Some(name));
    }
}

#[test]
fn the_error_inside_of_an_io_error_is_a_cause() {
    assert_eq!(class(io::Error::other(refused())), Some("connection_refused"));
    assert_eq!(class(io::Error::other(Nested::Cause(refused().into()))), Some("connection_refused"));
    assert_eq!(class(io::Error::other("connection refused")), Some("io"), "no text is read");
}

#[test]
fn an_error_of_unknown_type_has_no_class_unless_it_is_boxed() {
    assert_eq!(class(Nested::Cause(refused().into())), None);
    assert_eq!(
        class(Box::new(Nested::Cause(refused().into())) as Box<dyn Error>),
        Some("connection_refused")
    );
    assert_eq!(class(Box::new(refused()) as Box<dyn Error + Send>), Some("connection_refused"));
    assert_eq!(class(BoxError::from("timed out")), None);
    assert_eq!(class(BoxError::from(Nested::Cycle)), None);
}

#[test]
fn the_name_of_a_type_replaces_only_a_class_that_cannot_be_known() {
    let name = |error: &BoxError| unclassified::<BoxError>(&ErrorView::new(error));
    assert_eq!(name(&"password=hunter2".into()), "_OTHER");
    assert_eq!(unclassified::<fmt::Error>(&ErrorView::new(&fmt::Error)), "core::fmt::Error");
}

#[test]
fn a_user_finds_errors_by_their_types() {
    let error = BoxError::from(Nested::Cause(refused().into()));
    let view = ErrorView::new(&error);
    assert_eq!(view.find::<io::Error>().unwrap().kind(), io::ErrorKind::ConnectionRefused);
    assert!(matches!(view.find::<Nested>(), Some(Nested::Cause(_))));
    assert!(view.find::<fmt::Error>().is_none());
    // An error of an unknown type is found as itself.
    assert!(ErrorView::new(&Nested::Cycle).find::<Nested>().is_some());
    assert_eq!(ErrorView::new(&"no error").downcast_ref::<&str>(), Some(&"no error"));
}

#[test]
fn a_connection_that_closes_within_a_body_leaves_it_incomplete() {
    assert_eq!(ErrorClass::ConnectionClosed.in_body(), ErrorClass::BodyIncomplete);
    assert_eq!(ErrorClass::ConnectionReset.in_body(), ErrorClass::ConnectionReset);
}

#[test]
fn a_view_shows_no_text() {
    let error = BoxError::from("password=hunter2");
    assert!(!format!("{:?}", ErrorView::new(&error)).contains("hunter2"));
}

fn described(error: BoxError, redact: Option<fn(&str) -> Cow<'_, str>>) -> String {
    let redaction = redact.map(|redact| Arc::new(redact) as _);
    let settings = DescriptionSettings { errors: true, messages: false, redaction };
    settings.of_error(&ErrorView::new(&error), None).into_owned()
}

#[test]
fn a_description_is_the_texts_of_the_causes_once_each() {
    let error = || BoxError::from(Nested::Cause(Nested::Cause(refused().into()).into()));
    assert_eq!(described(error(), None), "outer: connection refused");
    let settings = DescriptionSettings::default();
    assert_eq!(settings.of_error(&ErrorView::new(&error()), None), "", "off by default");
    assert_eq!(settings.of_message("text"), "");
}

#[test]
fn a_description_is_bounded() {
    // Characters of two bytes, behind one that shifts them off the limit.
    let long = format!("x{}", "ä".repeat(10_000));
    let text = described(long.clone().into(), None);
    assert_eq!(text.len(), 1_023);
    assert!(text.ends_with('ä'));
    let settings = DescriptionSettings { messages: true, ..DescriptionSettings::default() };
    assert_eq!(settings.of_message(&long), text);
}

#[test]
fn a_description_is_redacted_before_it_is_cut() {
    let secret = format!("{}password=hunter2", "x".repeat(1_010));
    let text = described(secret.into(), Some(|text| text.replace("password=hunter2", "REDACTED").into()));
    assert!(text.ends_with("xREDACTED"), "{text}");
    assert_eq!(described("a: secret".into(), Some(|text| text[..1].into())), "a");
    assert_eq!(described("secret".into(), Some(|_| panic!("a faulty redaction"))), "");
}

#[cfg(feature = "h2")]
#[test]
fn resets_are_classified_by_their_reason() {
    for (reason, name) in [
        (h2::Reason::REFUSED_STREAM, "overloaded"),
        (h2::Reason::ENHANCE_YOUR_CALM, "overloaded"),
        (h2::Reason::INADEQUATE_SECURITY, "tls"),
        (h2::Reason::CANCEL, "stream_reset"),
        (h2::Reason::INTERNAL_ERROR, "stream_reset"),
        (h2::Reason::FLOW_CONTROL_ERROR, "protocol"),
    ] {
        assert_eq!(class(h2::Error::from(reason)), Some(name));
    }
}

#[cfg(feature = "axum")]
#[test]
fn the_causes_of_axums_errors_are_read() {
    assert_eq!(class(axum::Error::new(refused())), Some("connection_refused"));
}

#[cfg(feature = "rustls")]
#[test]
fn errors_of_tls_are_found_within_the_io_error_that_has_them() {
    let failed = io::Error::new(io::ErrorKind::InvalidData, rustls::Error::DecryptError);
    assert_eq!(class(io::Error::other(failed)), Some("tls"));
    assert_eq!(class(rustls::Error::DecryptError), Some("tls"));
}

#[cfg(feature = "tower")]
#[test]
fn the_errors_of_towers_layers_are_classified() {
    let boxed = |error: BoxError| class(error);
    assert_eq!(boxed(tower::timeout::error::Elapsed::new().into()), Some("timeout"));
    assert_eq!(boxed(tower::load_shed::error::Overloaded::new().into()), Some("overloaded"));
    assert_eq!(class(tower::timeout::error::Elapsed::new()), Some("timeout"));
    assert_eq!(class(tower::load_shed::error::Overloaded::new()), Some("overloaded"));
}

#[cfg(feature = "tonic")]
#[test]
fn the_errors_of_tonics_client_are_classified() {
    let boxed = |error: BoxError| class(error);
    assert_eq!(boxed(tonic::TimeoutExpired(()).into()), Some("timeout"));
    assert_eq!(boxed(tonic::ConnectError(refused().into()).into()), Some("connection_refused"));
    assert_eq!(boxed(tonic::ConnectError("a reason of its own".into()).into()), Some("connect"));
    assert_eq!(class(tonic::Status::unavailable("x")), None, "the status says it");
}

#[cfg(feature = "reqwest")]
#[test]
fn the_errors_of_reqwest_are_classified() {
    let invalid = reqwest::Client::new().get("no url").build().unwrap_err();
    assert_eq!(class(reqwest_middleware::Error::Reqwest(invalid)), Some("request"));
    let failed = || io::Error::other(refused());
    assert_eq!(class(reqwest_middleware::Error::middleware(failed())), Some("connection_refused"));
}

//! The outcome of a task or a function, from its output.
//!
//! Follows the [general conventions for recording
//! errors](https://opentelemetry.io/docs/specs/semconv/general/recording-errors/): `error.type` has a low cardinality and
//! never contains the text of an error.

use std::any::{Any, TypeId, type_name};
use std::borrow::Cow;
use std::error::Error;
use std::io;

use otel_operation::Outcome;
use tokio::task::JoinError;
use tokio::time::error::Elapsed;

use crate::error::{TracedError, chain};

/// The `error.type` of an error whose type says nothing about the failure.
const OTHER: &str = "_OTHER";

/// The output of a task or a function, from which the outcome of its span is derived.
///
/// `Ok` and plain values are successes. The `error.type` of an `Err` is its class, if the error or one of its causes is of a
/// known type: `timeout`, `panic` or `cancelled` of tokio, `connection_refused`, `not_found` and others of an I/O error, or
/// the class of a [`TracedError`]. Otherwise it is the name of the error's type. Causes can be seen of a boxed `dyn Error`
/// and of a `TracedError`. Implement the trait for your own output type to choose another outcome.
///
/// ```
/// use otel_operation::Outcome;
/// use otel_tasks::TaskOutput;
///
/// enum Order { Shipped, SoldOut }
///
/// impl TaskOutput for Order {
///     fn outcome(&self) -> Outcome {
///         match self {
///             Self::Shipped => Outcome::ok(),
///             Self::SoldOut => Outcome::error("sold_out"),
///         }
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say how the work ended",
    label = "the task or function returns this type",
    note = "return a `Result`, `()` or a plain value, implement `TaskOutput` for the type, or use `wrap_with`"
)]
pub trait TaskOutput {
    /// Returns the outcome. Its `error.type` must have low cardinality.
    fn outcome(&self) -> Outcome;
}

impl<T, E: 'static> TaskOutput for Result<T, E> {
    fn outcome(&self) -> Outcome {
        self.as_ref().map_or_else(failure, |_| Outcome::ok())
    }
}

macro_rules! plain_values {
    ($([$($generics:tt)*] $type:ty),* $(,)?) => {
        $(impl<$($generics)*> TaskOutput for $type {
            fn outcome(&self) -> Outcome {
                Outcome::ok()
            }
        })*
    };
}

plain_values! {
    [] (), [] bool, [] char, [] String, ['s] &'s str,
    [] i8, [] i16, [] i32, [] i64, [] i128, [] isize, [] f32,
    [] u8, [] u16, [] u32, [] u64, [] u128, [] usize, [] f64,
    [T] Option<T>, [T] Vec<T>, [A, B] (A, B), [A, B, C] (A, B, C),
}

/// Returns the outcome of an error. Called where the operation's context is current.
pub(crate) fn failure<E: 'static>(error: &E) -> Outcome {
    let error: &dyn Any = error;
    let Some(error) = as_error(error) else { return Outcome::error(type_name_or_other::<E>()) };
    let outcome = Outcome::error(class(error).unwrap_or_else(|| type_name_or_other::<E>().into()));
    match TracedError::find(error) {
        // The chain of causes is described once, on the span in which the error was recorded.
        Some(traced) if traced.is_of_current_span() => outcome.with_description(traced.description()),
        _ => outcome,
    }
}

/// Returns the class of an error, from its own type or from that of a cause.
pub(crate) fn class(error: &(dyn Error + 'static)) -> Option<Cow<'static, str>> {
    chain(error).find_map(own_class)
}

pub(crate) fn type_name_or_other<E: 'static>() -> &'static str {
    let opaque = [
        TypeId::of::<String>(),
        TypeId::of::<&'static str>(),
        TypeId::of::<Box<dyn Error>>(),
        TypeId::of::<Box<dyn Error + Send>>(),
        TypeId::of::<Box<dyn Error + Send + Sync>>(),
    ];
    if opaque.contains(&TypeId::of::<E>()) { OTHER } else { type_name::<E>() }
}

fn own_class(error: &(dyn Error + 'static)) -> Option<Cow<'static, str>> {
    if let Some(traced) = error.downcast_ref::<TracedError>() {
        return Some(traced.error_type().clone());
    }
    if error.is::<Elapsed>() {
        return Some(Cow::Borrowed("timeout"));
    }
    if let Some(join) = error.downcast_ref::<JoinError>() {
        return Some(Cow::Borrowed(if join.is_panic() { "panic" } else { "cancelled" }));
    }
    error.downcast_ref::<io::Error>().map(|error| Cow::Borrowed(io_class(error.kind())))
}

/// The classes of HTTP and gRPC, and those of files.
fn io_class(kind: io::ErrorKind) -> &'static str {
    match kind {
        io::ErrorKind::TimedOut => "timeout",
        io::ErrorKind::ConnectionRefused => "connection_refused",
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => "connection_reset",
        io::ErrorKind::ConnectionAborted | io::ErrorKind::UnexpectedEof => "connection_closed",
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => "unreachable",
        io::ErrorKind::NotFound => "not_found",
        io::ErrorKind::PermissionDenied => "permission_denied",
        io::ErrorKind::AlreadyExists => "already_exists",
        _ => "io",
    }
}

/// Returns the value as an error, if it is one of a type that is known. The trait `Error` cannot be asked for at run time.
fn as_error(value: &dyn Any) -> Option<&(dyn Error + 'static)> {
    fn of<E: Error + 'static>(value: &dyn Any) -> Option<&(dyn Error + 'static)> {
        value.downcast_ref::<E>().map(|error| error as &(dyn Error + 'static))
    }
    let boxed = || value.downcast_ref::<Box<dyn Error + Send + Sync>>().map(|error| &**error as _);
    let boxed_send = || value.downcast_ref::<Box<dyn Error + Send>>().map(|error| &**error as _);
    let boxed_local = || value.downcast_ref::<Box<dyn Error>>().map(|error| &**error as _);
    of::<TracedError>(value)
        .or_else(boxed)
        .or_else(boxed_send)
        .or_else(boxed_local)
        .or_else(|| of::<io::Error>(value))
        .or_else(|| of::<Elapsed>(value))
        .or_else(|| of::<JoinError>(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Wrapper(io::Error);

    impl std::fmt::Display for Wrapper {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("the text of an error is never its class")
        }
    }

    impl Error for Wrapper {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&self.0)
        }
    }

    fn error_type<T, E: 'static>(result: Result<T, E>) -> String {
        result.outcome().error_type().map(ToString::to_string).unwrap_or_default()
    }

    fn refused() -> io::Error {
        io::ErrorKind::ConnectionRefused.into()
    }

    #[test]
    fn an_error_is_named_by_its_class_or_its_type() {
        assert_eq!(error_type(Err::<(), _>(refused())), "connection_refused");
        assert_eq!(error_type(Err::<(), _>(io::Error::from(io::ErrorKind::NotFound))), "not_found");
        assert_eq!(error_type(Err::<(), _>(io::Error::other("x"))), "io");
        assert_eq!(error_type(Err::<(), _>(std::fmt::Error)), "core::fmt::Error");
        assert_eq!(error_type(Err::<(), _>("text")), "_OTHER");
    }

    #[test]
    fn the_causes_of_a_boxed_error_are_seen() {
        assert_eq!(error_type(Err::<(), Box<dyn Error>>(Wrapper(refused()).into())), "connection_refused");
        assert_eq!(
            error_type(Err::<(), Box<dyn Error + Send + Sync>>(Wrapper(refused()).into())),
            "connection_refused"
        );
        assert_eq!(error_type(Err::<(), Box<dyn Error + Send>>(Box::new(std::fmt::Error))), "_OTHER");
    }

    #[test]
    fn values_are_successes() {
        for outcome in [().outcome(), false.outcome(), "".outcome(), Some(1).outcome(), vec![1].outcome()] {
            assert_eq!(outcome, Outcome::ok());
        }
        assert_eq!(Ok::<_, io::Error>(1).outcome(), Outcome::ok());
    }
}

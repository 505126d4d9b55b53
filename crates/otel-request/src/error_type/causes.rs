//! An error of any type, and the walk through its causes.

use std::any::Any;
use std::error::Error;
use std::{fmt, io, iter};

use super::{ErrorClass, libraries};

/// Limit of causes that are read, so that a faulty `source` with a cycle does not loop forever.
const MAX_CAUSES: usize = 32;

/// A failure as a layer sees it: an error of any type, with its causes where the type is known.
///
/// Causes are known of boxed errors, of [`io::Error`], and of the libraries whose features are enabled.
#[derive(Clone, Copy)]
pub struct ErrorView<'a> {
    any: Option<&'a dyn Any>,
    error: Option<&'a (dyn Error + 'static)>,
}

impl<'a> ErrorView<'a> {
    /// Returns the view of an error, which need not implement [`Error`].
    pub fn new<E: 'static>(error: &'a E) -> Self {
        Self { any: Some(error), error: libraries::as_error(error) }
    }

    /// Returns the view of an error behind a reference.
    #[must_use]
    pub fn from_error(error: &'a (dyn Error + 'static)) -> Self {
        Self { any: None, error: Some(error) }
    }

    /// Returns the error as a `T`, without a look at its causes. For an error type that does not implement [`Error`].
    #[must_use]
    pub fn downcast_ref<T: 'static>(&self) -> Option<&'a T> {
        self.any?.downcast_ref()
    }

    /// Returns the first `T` among the error and its causes.
    #[must_use]
    pub fn find<T: Error + 'static>(&self) -> Option<&'a T> {
        self.downcast_ref().or_else(|| self.causes().find_map(|cause| cause.downcast_ref()))
    }

    /// Returns the error, if its type is known to be one.
    #[must_use]
    pub fn as_error(&self) -> Option<&'a (dyn Error + 'static)> {
        self.error
    }

    /// Returns the error, if its type is known, and then its causes, at most 32. The error inside of an [`io::Error`] is one,
    /// although `source` skips it.
    pub fn causes(&self) -> impl Iterator<Item = &'a (dyn Error + 'static)> + use<'a> {
        iter::successors(self.error, |error| libraries::cause(*error)).take(MAX_CAUSES)
    }

    /// Returns the class of the failure, from the types of the error and its causes.
    #[must_use]
    pub fn class(&self) -> Option<ErrorClass> {
        let mut assumed = None;
        for cause in self.causes() {
            match libraries::evidence(cause) {
                None => {}
                Some((class, true)) => return Some(class),
                // A cause further in says more than that there was I/O.
                Some((class, false)) if assumed.is_none_or(|known| known == ErrorClass::Io) => {
                    assumed = Some(class);
                }
                Some(_) => {}
            }
        }
        assumed
    }
}

impl fmt::Debug for ErrorView<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the error, whose text may contain secrets.
        f.debug_struct("ErrorView").field("class", &self.class()).finish_non_exhaustive()
    }
}

/// Returns the error inside of an I/O error, which `source` skips.
pub(super) fn inside_io(error: &io::Error) -> Option<&(dyn Error + 'static)> {
    match error.get_ref() {
        Some(inner) => Some(inner),
        None => error.source(),
    }
}

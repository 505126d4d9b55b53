//! Carriers, from which headers are read and to which they are written: the two traits, their implementations for string maps and
//! lists of pairs, and the views that let any other propagator work on them.
//!
//! Follows the OpenTelemetry specification, "Carrier", "Getter" and "Setter"
//! (<https://opentelemetry.io/docs/specs/otel/context/api-propagators/#carrier>): names in any case are read.

use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasher;

use opentelemetry::propagation::{Extractor, Injector};

use crate::fields::{BAGGAGE, is_named};

/// A carrier whose headers are read in one pass.
///
/// Reading in one pass is what makes extraction cheap: no look-up and no allocation for each header that a
/// propagator knows. A repeated header is visited several times, in order.
pub trait HeaderReader {
    /// Calls `visitor` with each header's name, in any case, and its value, which need not be UTF-8.
    ///
    /// A header whose name is not UTF-8 is left out: no propagator can ask for it.
    fn visit<'a>(&'a self, visitor: impl FnMut(&'a str, &'a [u8]));

    /// Calls `visitor` with at least those headers whose names `wanted` accepts. Propagators read through this method.
    ///
    /// The default visits all headers. Override it for a carrier in which reading or comparing a header is expensive,
    /// or in which one of several headers of a name counts.
    #[inline]
    fn visit_wanted<'a>(&'a self, wanted: impl Fn(&str) -> bool, visitor: impl FnMut(&'a str, &'a [u8])) {
        let _ = wanted;
        self.visit(visitor);
    }
}

/// A carrier that headers are written to.
///
/// Names are compared without regard to case. Propagators pass names in the spelling of their specification, which is
/// lower case but for B3's several headers (`X-B3-TraceId`), and values without control characters other than tab. A carrier that cannot hold a name or a value ignores the call: telemetry never fails
/// the operation that it describes.
pub trait HeaderWriter {
    /// Sets a header, in place of all its former values, however their names are written.
    fn set(&mut self, name: &str, value: &str);

    /// Sets a header to text that is given as bytes, as [`set`](Self::set) does. Propagators write what they format themselves
    /// through this method.
    ///
    /// The default checks that it is UTF-8 and ignores it otherwise. Override it for a carrier that holds bytes.
    #[inline]
    fn set_bytes(&mut self, name: &str, value: &[u8]) {
        if let Ok(value) = std::str::from_utf8(value) {
            self.set(name, value);
        }
    }

    /// Removes all values of a header, however its name is written.
    fn remove(&mut self, name: &str);

    /// Returns true if the carrier has a header of this name, in any case.
    ///
    /// Headers that are passed through, and [`inject_absent`](crate::PropagatorHandle::inject_absent), never replace one.
    fn contains(&self, name: &str) -> bool;
}

impl<S: BuildHasher> HeaderReader for HashMap<String, String, S> {
    fn visit<'a>(&'a self, mut visitor: impl FnMut(&'a str, &'a [u8])) {
        for (name, value) in self {
            visitor(name, value.as_bytes());
        }
    }
}

impl<S: BuildHasher> HeaderWriter for HashMap<String, String, S> {
    fn set(&mut self, name: &str, value: &str) {
        HeaderWriter::remove(self, name);
        self.insert(name.to_ascii_lowercase(), value.to_owned());
    }

    fn remove(&mut self, name: &str) {
        self.retain(|key, _| !key.eq_ignore_ascii_case(name));
    }

    fn contains(&self, name: &str) -> bool {
        self.keys().any(|key| key.eq_ignore_ascii_case(name))
    }
}

impl HeaderReader for BTreeMap<String, String> {
    fn visit<'a>(&'a self, mut visitor: impl FnMut(&'a str, &'a [u8])) {
        for (name, value) in self {
            visitor(name, value.as_bytes());
        }
    }
}

impl HeaderWriter for BTreeMap<String, String> {
    fn set(&mut self, name: &str, value: &str) {
        HeaderWriter::remove(self, name);
        self.insert(name.to_ascii_lowercase(), value.to_owned());
    }

    fn remove(&mut self, name: &str) {
        self.retain(|key, _| !key.eq_ignore_ascii_case(name));
    }

    fn contains(&self, name: &str) -> bool {
        self.keys().any(|key| key.eq_ignore_ascii_case(name))
    }
}

impl<K: AsRef<str>, V: AsRef<[u8]>> HeaderReader for [(K, V)] {
    fn visit<'a>(&'a self, mut visitor: impl FnMut(&'a str, &'a [u8])) {
        for (name, value) in self {
            visitor(name.as_ref(), value.as_ref());
        }
    }
}

impl<K: AsRef<str>, V: AsRef<[u8]>, const N: usize> HeaderReader for [(K, V); N] {
    fn visit<'a>(&'a self, visitor: impl FnMut(&'a str, &'a [u8])) {
        self.as_slice().visit(visitor);
    }
}

impl<K: AsRef<str>, V: AsRef<[u8]>> HeaderReader for Vec<(K, V)> {
    fn visit<'a>(&'a self, visitor: impl FnMut(&'a str, &'a [u8])) {
        self.as_slice().visit(visitor);
    }
}

impl HeaderWriter for Vec<(String, String)> {
    fn set(&mut self, name: &str, value: &str) {
        HeaderWriter::remove(self, name);
        self.push((name.to_ascii_lowercase(), value.to_owned()));
    }

    fn remove(&mut self, name: &str) {
        self.retain(|(key, _)| !key.eq_ignore_ascii_case(name));
    }

    fn contains(&self, name: &str) -> bool {
        self.iter().any(|(key, _)| key.eq_ignore_ascii_case(name))
    }
}

/// Shows [`HeaderReader`] to propagators that are not ours. Values that are not UTF-8 are not shown, for an
/// [`Extractor`] deals in strings.
pub(crate) struct ExtractorView<'c, C: ?Sized>(pub(crate) &'c C);

impl<C: HeaderReader + ?Sized> Extractor for ExtractorView<'_, C> {
    fn get(&self, key: &str) -> Option<&str> {
        let mut found = None;
        let is_key = |name: &str| name.eq_ignore_ascii_case(key);
        self.0.visit_wanted(is_key, |name, value| {
            if found.is_none() && is_key(name) {
                found = std::str::from_utf8(value).ok();
            }
        });
        found
    }

    fn keys(&self) -> Vec<&str> {
        let mut names = Vec::new();
        self.0.visit(|name, _| names.push(name));
        names
    }

    fn get_all(&self, key: &str) -> Option<Vec<&str>> {
        let mut values = Vec::new();
        let is_key = |name: &str| name.eq_ignore_ascii_case(key);
        self.0.visit_wanted(is_key, |name, value| {
            if is_key(name) {
                values.extend(std::str::from_utf8(value));
            }
        });
        (!values.is_empty()).then_some(values)
    }
}

/// A carrier without its `baggage` header.
pub(crate) struct WithoutBaggage<'c, C: ?Sized>(pub(crate) &'c C);

impl<C: HeaderReader + ?Sized> HeaderReader for WithoutBaggage<'_, C> {
    #[inline]
    fn visit<'a>(&'a self, mut visitor: impl FnMut(&'a str, &'a [u8])) {
        self.0.visit(|name, value| {
            if !is_named(name, BAGGAGE) {
                visitor(name, value);
            }
        });
    }

    #[inline]
    fn visit_wanted<'a>(&'a self, wanted: impl Fn(&str) -> bool, mut visitor: impl FnMut(&'a str, &'a [u8])) {
        let wanted = |name: &str| !is_named(name, BAGGAGE) && wanted(name);
        self.0.visit_wanted(wanted, |name, value| {
            if !is_named(name, BAGGAGE) {
                visitor(name, value);
            }
        });
    }
}

/// Lets our propagators write to an [`Injector`], which can neither remove nor look up.
pub(crate) struct DynHeaders<'i>(pub(crate) &'i mut dyn Injector);

impl HeaderWriter for DynHeaders<'_> {
    fn set(&mut self, name: &str, value: &str) {
        self.0.set(name, value.to_owned());
    }

    fn remove(&mut self, _name: &str) {}

    fn contains(&self, _name: &str) -> bool {
        false
    }
}

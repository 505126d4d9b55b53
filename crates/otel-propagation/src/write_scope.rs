//! The headers that one injection may write: all, or only those that complete what the carrier holds already.

use crate::carrier::HeaderWriter;
use crate::fields::{self, HeaderSet};

/// The headers that one injection may write. Headers of traces are one group, since two contexts must not be mixed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WriteScope {
    pub(crate) trace: bool,
    pub(crate) baggage: bool,
    /// Set if a header of the carrier may be replaced.
    pub(crate) replaces: bool,
}

impl WriteScope {
    pub(crate) const ALL: Self = Self { trace: true, baggage: true, replaces: true };

    /// The headers of groups of which the carrier has none, for a propagator with these fields.
    pub(crate) fn absent<'f, C: HeaderWriter>(
        carrier: &C,
        fields: impl IntoIterator<Item = &'f str>,
    ) -> Self {
        let is_trace = |field: &&str| HeaderSet::containing(field) != HeaderSet::Baggage;
        let trace = !fields.into_iter().filter(is_trace).any(|field| carrier.contains(field));
        Self { trace, baggage: !carrier.contains(fields::BAGGAGE), replaces: false }
    }

    /// Returns true if the header may be written to this carrier.
    pub(crate) fn allows<C: HeaderWriter>(&self, carrier: &C, name: &str) -> bool {
        let group = if HeaderSet::containing(name) == HeaderSet::Baggage { self.baggage } else { self.trace };
        group && (self.replaces || !carrier.contains(name))
    }
}

//! The protocols of a request, and the sides of a connection. This crate only compares them.

/// A protocol: its rank decides whose failure the span shows, because the more specific protocol knows more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Protocol {
    rank: u8,
}

impl Protocol {
    /// Returns the protocol of this rank, below 16: HTTP is 1, an RPC protocol over HTTP is 2.
    ///
    /// # Panics
    /// If the rank is 16 or more; a constant fails at compile time.
    #[must_use]
    pub const fn new(rank: u8) -> Self {
        assert!(rank < 16, "the rank of a protocol must be below 16");
        Self { rank }
    }

    /// The protocol's bit in a mask; the bits below are the flags of an owner.
    pub(crate) const fn bit(self) -> u32 {
        1 << (8 + self.rank)
    }

    pub(crate) const fn rank(self) -> u8 {
        self.rank
    }
}

/// The side of a request on which an operation runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Side {
    Server = 1,
    Client = 2,
}

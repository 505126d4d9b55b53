//! Baggage: the header in and out, its limits, and setting members by hand.

mod by_hand;
mod header;

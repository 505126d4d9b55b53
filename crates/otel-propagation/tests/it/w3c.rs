//! The cases of W3C's validation suite for Trace Context (`test/test.py`), under its names, in our own words: levels 1 and
//! 2, and its strict cases.
//!
//! If the suite still asks for the key grammar of level 1 (one `@`, lengths of its parts), the text of level 2
//! counts: the tests say so.

mod advanced;
mod traceparent;
mod tracestate;

//! The counting allocator with a further counter for the requested bytes, which Go reports as well.

use std::alloc::{GlobalAlloc, Layout};
use std::sync::atomic::{AtomicU64, Ordering};

use benchmarks::allocations::Counting;

static BYTES: AtomicU64 = AtomicU64::new(0);

#[derive(Debug)]
pub(crate) struct CountingBytes;

/// Returns the number of bytes that were requested since the start of the process.
pub(crate) fn bytes() -> u64 {
    BYTES.load(Ordering::Relaxed)
}

fn add(bytes: usize) {
    BYTES.fetch_add(bytes as u64, Ordering::Relaxed);
}

#[expect(unsafe_code, reason = "the trait is unsafe")]
// SAFETY: every call is forwarded unchanged to an allocator that upholds the contract.
unsafe impl GlobalAlloc for CountingBytes {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        add(layout.size());
        // SAFETY: see above.
        unsafe { Counting.alloc(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        add(size);
        // SAFETY: see above.
        unsafe { Counting.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: see above.
        unsafe { Counting.dealloc(pointer, layout) }
    }
}

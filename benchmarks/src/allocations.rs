//! An allocator that counts allocations and live bytes; growing an allocation counts as one allocation.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

static COUNT: AtomicU64 = AtomicU64::new(0);
static LIVE: AtomicUsize = AtomicUsize::new(0);

/// The system allocator with a counter. Each benchmark installs it as the global allocator.
#[derive(Debug)]
pub struct Counting;

/// Returns the number of allocations since the start of the process.
pub fn count() -> u64 {
    COUNT.load(Ordering::Relaxed)
}

/// Returns the number of requested bytes that are not freed yet.
pub fn live_bytes() -> usize {
    LIVE.load(Ordering::Relaxed)
}

/// Counts an allocation by which the live bytes grow.
fn add(bytes: usize) {
    COUNT.fetch_add(1, Ordering::Relaxed);
    LIVE.fetch_add(bytes, Ordering::Relaxed);
}

#[expect(unsafe_code, reason = "the trait is unsafe")]
// SAFETY: every call is forwarded unchanged to the system allocator, which upholds the contract.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        add(layout.size());
        // SAFETY: see above.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        add(layout.size());
        // SAFETY: see above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Wraps around for a smaller size, and so does the sum.
        add(size.wrapping_sub(layout.size()));
        // SAFETY: see above.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: see above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

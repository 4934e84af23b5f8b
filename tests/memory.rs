//! Nothing grows with the host: what is remembered of a namespace from visit to visit is
//! small, hundreds of pods must not cost hundreds of accumulators; a million keys and the
//! page's history have their bounds. In a binary of its own, for it counts every byte.

mod fake_kernel;

mod memory {
    pub mod crowd;
    #[path = "../support/exposition.rs"]
    #[allow(dead_code, reason = "the suites of the kernel use more of it")]
    mod exposition;
    pub mod history;
    pub mod namespace;
}

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Tests that count what is allocated do it one at a time.
static ALONE: Mutex<()> = Mutex::new(());

/// Counts the bytes that are allocated.
struct Counting;

static BYTES: AtomicUsize = AtomicUsize::new(0);
/// The most that there ever were at once.
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: all work is the system's allocator's.
#[allow(unsafe_code, reason = "an allocator has no safe form")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let before = BYTES.fetch_add(layout.size(), Ordering::Relaxed);
        PEAK.fetch_max(before + layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        BYTES.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

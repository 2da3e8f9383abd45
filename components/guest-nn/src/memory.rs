//! The allocator of a component that is filled once, frozen, and then only read.
//!
//! What it frees while it is being filled (the chunks, the parsed JSON) would be frozen into its
//! snapshot and read by every instance's first page fault. Until [`sealed`] is called, freed memory
//! is set to zero, which snapshots leave out.
//!
//! From then on memory comes from a second heap, behind the first: what an instance writes lies
//! together. A host undoes what was written and leaves what was only read mapped for the next
//! instance; wasmtime does so for up to 32 ranges of pages, and for more it unmaps everything. In the
//! holes of a full first heap there would be more.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, Ordering};

static FILLING: AtomicBool = AtomicBool::new(true);

/// Ends the filling: what is allocated from here on lies apart, and freeing costs nothing extra.
pub fn sealed() {
    FILLING.store(false, Ordering::Relaxed);
}

/// Two heaps: one until [`sealed`], the other after it. Outside of wasm the system's stands for both.
pub struct Heaps;

// SAFETY: while filling, every call is passed on to the system allocator unchanged; the only addition
// writes zeros to a block that the caller has given back and that is still allocated. Afterwards a
// block is given back to the heap that it came from, which its address says, or to none.
unsafe impl GlobalAlloc for Heaps {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps `alloc`'s contract.
        unsafe {
            match FILLING.load(Ordering::Relaxed) {
                true => System.alloc(layout),
                false => second::alloc(layout),
            }
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: `block` was allocated with `layout` and is no longer used by its owner.
        unsafe {
            if FILLING.load(Ordering::Relaxed) {
                std::ptr::write_bytes(block, 0, layout.size());
                System.dealloc(block, layout);
            } else {
                second::dealloc(block, layout);
            }
        }
    }
}

#[cfg(not(target_arch = "wasm32"))]
mod second {
    use super::{GlobalAlloc, Layout, System};

    pub(super) unsafe fn alloc(layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the contract of `GlobalAlloc::alloc`.
        unsafe { System.alloc(layout) }
    }

    pub(super) unsafe fn dealloc(block: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `GlobalAlloc::dealloc`.
        unsafe { System.dealloc(block, layout) }
    }
}

#[cfg(target_arch = "wasm32")]
mod second {
    use std::arch::wasm32::memory_grow;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Mutex, PoisonError};

    use dlmalloc::Dlmalloc;

    use super::Layout;

    /// Bytes of a page.
    const PAGE: usize = 64 << 10;
    /// Pages that memory grows by at least: growing is a call to the host.
    const GROWTH: usize = 4;

    static HEAP: Mutex<Dlmalloc<Pages>> = Mutex::new(Dlmalloc::new_with_allocator(Pages));
    /// Where it begins: all that it has came after the first heap's last page.
    static START: AtomicUsize = AtomicUsize::new(usize::MAX);

    pub(super) unsafe fn alloc(layout: Layout) -> *mut u8 {
        let mut heap = HEAP.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: the caller keeps the contract of `GlobalAlloc::alloc`.
        unsafe { heap.malloc(layout.size(), layout.align()) }
    }

    pub(super) unsafe fn dealloc(block: *mut u8, layout: Layout) {
        // What was there before the snapshot stays: a hole in it is filled no more.
        if block.addr() >= START.load(Ordering::Relaxed) {
            let mut heap = HEAP.lock().unwrap_or_else(PoisonError::into_inner);
            // SAFETY: a block behind the first heap came from `alloc`, with this layout.
            unsafe { heap.free(block, layout.size(), layout.align()) }
        }
    }

    /// New pages at the memory's end.
    struct Pages;

    // SAFETY: pages that `memory_grow` gives are used by nothing else, and hold zeros.
    unsafe impl dlmalloc::Allocator for Pages {
        fn alloc(&self, size: usize) -> (*mut u8, usize, u32) {
            let pages = size.div_ceil(PAGE).max(GROWTH);
            // The last page is left alone: no block may end where addresses do.
            match memory_grow::<0>(pages) {
                page if page < (usize::MAX / PAGE) - pages => {
                    START.fetch_min(page * PAGE, Ordering::Relaxed);
                    ((page * PAGE) as *mut u8, pages * PAGE, 0)
                }
                _ => (std::ptr::null_mut(), 0, 0),
            }
        }

        fn remap(&self, _: *mut u8, _: usize, _: usize, _: bool) -> *mut u8 {
            std::ptr::null_mut()
        }

        fn free_part(&self, _: *mut u8, _: usize, _: usize) -> bool {
            false
        }

        fn free(&self, _: *mut u8, _: usize) -> bool {
            false
        }

        fn can_release_part(&self, _flags: u32) -> bool {
            false
        }

        fn allocates_zeros(&self) -> bool {
            true
        }

        fn page_size(&self) -> usize {
            PAGE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_written_freed_and_taken_again_is_whole() {
        let layout = Layout::from_size_align(4096, 64).unwrap();
        for round in 0..100u8 {
            // SAFETY: the block is used within its layout and freed once.
            unsafe {
                let block = Heaps.alloc(layout);
                assert!(!block.is_null() && block.addr().is_multiple_of(64));
                block.write_bytes(round, 4096);
                assert!((0..4096).all(|i| block.add(i).read() == round));
                Heaps.dealloc(block, layout);
            }
        }
        sealed();
        // SAFETY: as above.
        unsafe {
            let block = Heaps.alloc(layout);
            block.write_bytes(7, 4096);
            Heaps.dealloc(block, layout);
        }
    }
}

//! An allocator that leaves no garbage in a snapshot.
//!
//! What a component frees while it is being filled (the chunks, the parsed JSON) would be frozen
//! into its snapshot and read by every instance's first page fault. Until [`sealed`] is called,
//! freed memory is set to zero, which snapshots leave out.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, Ordering};

static FILLING: AtomicBool = AtomicBool::new(true);

/// Ends the filling: from here on freeing costs nothing extra.
pub fn sealed() {
    FILLING.store(false, Ordering::Relaxed);
}

/// The system allocator, zeroing what is freed until [`sealed`].
pub struct ZeroOnFree;

// SAFETY: every call is passed on to the system allocator unchanged; the only addition writes
// zeros to a block that the caller has given back and that is still allocated.
unsafe impl GlobalAlloc for ZeroOnFree {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps `alloc`'s contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: `block` was allocated with `layout` and is no longer used by its owner.
        unsafe {
            if FILLING.load(Ordering::Relaxed) {
                std::ptr::write_bytes(block, 0, layout.size());
            }
            System.dealloc(block, layout);
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
                let block = ZeroOnFree.alloc(layout);
                assert!(!block.is_null() && block.addr().is_multiple_of(64));
                block.write_bytes(round, 4096);
                assert!((0..4096).all(|i| block.add(i).read() == round));
                ZeroOnFree.dealloc(block, layout);
            }
        }
        sealed();
        // SAFETY: as above.
        unsafe {
            let block = ZeroOnFree.alloc(layout);
            block.write_bytes(7, 4096);
            ZeroOnFree.dealloc(block, layout);
        }
    }
}

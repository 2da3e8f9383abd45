//! The guests' allocator: what an instance writes lies together.
//!
//! A host undoes what a request wrote and leaves what it only read mapped for the next one. wasmtime
//! does so for up to 32 ranges of pages, and for more it unmaps everything: of a large index thousands
//! of pages, which the next request faults in again. Growing a memory changes what is mapped too, and
//! waits for whoever else looks at that. So instances take their memory from [`Arena`], which lies in
//! one place and is there from the beginning.
//!
//! A component that is filled and frozen before has two heaps, [`Heaps`]. What it frees while it is
//! being filled (the chunks, the parsed JSON) would be frozen into its snapshot and read by every
//! instance's first page fault: until [`sealed`] is called, freed memory is set to zero, which
//! snapshots leave out. In its holes what instances write would lie everywhere; they leave them alone.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::UnsafeCell;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use dlmalloc::Dlmalloc;

/// Bytes of a wasm page.
const PAGE: usize = 64 << 10;
/// Bytes that an instance has without growing its memory.
const RESERVE: usize = 1 << 20;

static FILLING: AtomicBool = AtomicBool::new(true);
/// Where memory ended when the first heap was closed.
static END_OF_FIRST: AtomicUsize = AtomicUsize::new(usize::MAX);
static RESERVED: Reserve = Reserve(UnsafeCell::new([0; RESERVE]));
static TAKEN: AtomicBool = AtomicBool::new(false);
static ARENA: Mutex<Dlmalloc<Pages>> = Mutex::new(Dlmalloc::new_with_allocator(Pages));

/// Ends the filling: what is allocated from here on comes from the [`Arena`], and freeing costs
/// nothing extra.
pub fn sealed() {
    END_OF_FIRST.store(end_of_memory(), Ordering::Relaxed);
    FILLING.store(false, Ordering::Relaxed);
}

/// The allocator of a component that is filled: the system's until [`sealed`], then the [`Arena`].
pub struct Heaps;

// SAFETY: while filling, every call is passed on to the system allocator unchanged; the only addition
// writes zeros to a block that the caller has given back and that is still allocated. Afterwards a
// block goes back to the arena if its address says that it came from there, and else nowhere.
unsafe impl GlobalAlloc for Heaps {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps `alloc`'s contract.
        unsafe {
            match FILLING.load(Ordering::Relaxed) {
                true => System.alloc(layout),
                false => Arena.alloc(layout),
            }
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: `block` was allocated with `layout` and is no longer used by its owner.
        unsafe {
            if FILLING.load(Ordering::Relaxed) {
                std::ptr::write_bytes(block, 0, layout.size());
                System.dealloc(block, layout);
            } else if RESERVED.range().contains(&block.addr())
                || block.addr() >= END_OF_FIRST.load(Ordering::Relaxed)
            {
                Arena.dealloc(block, layout);
            }
        }
    }
}

/// The allocator of a component that is not filled: one heap, which begins with a reserve.
pub struct Arena;

// SAFETY: dlmalloc is an allocator, and the lock keeps its calls apart.
unsafe impl GlobalAlloc for Arena {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let mut arena = ARENA.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: the caller keeps `alloc`'s contract, which is that of `malloc`.
        unsafe { arena.malloc(layout.size(), layout.align()) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let mut arena = ARENA.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: `block` came from `malloc` with this layout.
        unsafe { arena.free(block, layout.size(), layout.align()) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let mut arena = ARENA.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: `block` came from `malloc` with this layout.
        unsafe { arena.realloc(block, layout.size(), layout.align(), size) }
    }
}

/// Zeros that are part of a component's first memory.
#[repr(align(65536))]
struct Reserve(UnsafeCell<[u8; RESERVE]>);

// SAFETY: nothing reads or writes it but through blocks of the arena, to which it is given once.
unsafe impl Sync for Reserve {}

impl Reserve {
    fn range(&self) -> std::ops::Range<usize> {
        let start = self.0.get().addr();
        start..start + RESERVE
    }
}

/// Where the arena's memory comes from: the reserve, then the memory's end.
struct Pages;

// SAFETY: the reserve is handed out once, `grow` gives pages that nothing else uses, and both hold
// zeros.
unsafe impl dlmalloc::Allocator for Pages {
    fn alloc(&self, size: usize) -> (*mut u8, usize, u32) {
        if size <= RESERVE && !TAKEN.swap(true, Ordering::Relaxed) {
            return (RESERVED.0.get().cast(), RESERVE, 0);
        }
        let pages = size.div_ceil(PAGE);
        grow(pages).map_or((null_mut(), 0, 0), |start| (start as *mut u8, pages * PAGE, 0))
    }

    fn remap(&self, _: *mut u8, _: usize, _: usize, _: bool) -> *mut u8 {
        null_mut()
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

/// The address of so many new pages.
#[cfg(target_arch = "wasm32")]
fn grow(pages: usize) -> Option<usize> {
    let page = std::arch::wasm32::memory_grow::<0>(pages);
    // The last page is left alone: no block may end where addresses do.
    (page < (usize::MAX / PAGE).saturating_sub(pages)).then_some(page * PAGE)
}

#[cfg(target_arch = "wasm32")]
fn end_of_memory() -> usize {
    std::arch::wasm32::memory_size::<0>() * PAGE
}

/// Elsewhere, where components are only tested, there is the reserve and no more.
#[cfg(not(target_arch = "wasm32"))]
fn grow(_pages: usize) -> Option<usize> {
    None
}

#[cfg(not(target_arch = "wasm32"))]
fn end_of_memory() -> usize {
    usize::MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_allocated_after_the_seal_lies_in_the_reserve_and_is_taken_again() {
        let layout = Layout::from_size_align(4096, 64).unwrap();
        let write = |allocator: &dyn Fn() -> *mut u8, value: u8| {
            let block = allocator();
            assert!(!block.is_null() && block.addr().is_multiple_of(64));
            // SAFETY: the block has as many bytes.
            unsafe {
                block.write_bytes(value, 4096);
                assert!((0..4096).all(|i| block.add(i).read() == value));
            }
            block
        };
        // SAFETY: blocks are used within their layout and freed once.
        unsafe {
            for round in 0..100 {
                let block = write(&|| Heaps.alloc(layout), round);
                Heaps.dealloc(block, layout);
            }
            let before = write(&|| Heaps.alloc(layout), 1);
            sealed();
            // More than the reserve has, were freed blocks not taken again.
            for round in 0..2 * RESERVE / 4096 {
                let block = write(&|| Heaps.alloc(layout), round as u8);
                assert!(RESERVED.range().contains(&block.addr()));
                let larger = Heaps.realloc(block, layout, 8192);
                assert!(RESERVED.range().contains(&larger.addr()));
                assert!((0..4096).all(|i| larger.add(i).read() == round as u8));
                Heaps.dealloc(larger, Layout::from_size_align(8192, 64).unwrap());
            }
            // A block of the first heap stays as it is.
            Heaps.dealloc(before, layout);
            assert!((0..4096).all(|i| before.add(i).read() == 1));
            System.dealloc(before, layout);
            let too_large = Layout::from_size_align(2 * RESERVE, 8).unwrap();
            assert!(Heaps.alloc(too_large).is_null(), "there is the reserve and no more");
        }
    }
}

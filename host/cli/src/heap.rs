//! How the C library's allocator keeps memory.

/// Makes glibc give back what is freed. By itself it has an arena for each thread, which cannot
/// shrink below the last block in use, and no longer maps blocks of a size that was freed once: a
/// server would keep what compiling and loading took. False where a setting is refused.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub fn give_back() -> bool {
    let settings = [
        (libc::M_ARENA_MAX, 2),
        (libc::M_MMAP_THRESHOLD, 256 << 10),
        (libc::M_TRIM_THRESHOLD, 1 << 20),
    ];
    // SAFETY: mallopt takes two numbers, checks them, and sets them under the allocator's lock.
    settings.iter().all(|&(option, value)| unsafe { libc::mallopt(option, value) } == 1)
}

/// Other allocators are left as they are.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn give_back() -> bool {
    true
}

/// Gives back what is free between blocks in use: of an index, whose vectors are small blocks, that is
/// more than the index itself.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub fn trim() {
    // SAFETY: malloc_trim takes a number, and works under the allocator's locks.
    unsafe { libc::malloc_trim(0) };
}

/// Other allocators are left as they are.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn trim() {}

#[cfg(test)]
mod tests {
    #[test]
    fn the_settings_are_taken_and_memory_is_still_whole() {
        assert!(super::give_back());
        let blocks: Vec<Vec<u8>> = (0..64u8).map(|n| vec![n; usize::from(n) << 14]).collect();
        super::trim();
        assert!(blocks.iter().zip(0..).all(|(block, n)| block.iter().all(|&byte| byte == n)));
    }
}

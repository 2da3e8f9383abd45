//! Randomness for guests that have none.
//!
//! Libraries seed their hash maps from `getrandom`. A guest imports no source of randomness, and
//! a snapshot would freeze whatever it drew, so the bytes are fixed: a bundle's snapshot is the
//! same each time it is made. Nothing secret may be drawn in a guest.

#[cfg(target_arch = "wasm32")]
mod hooks {
    fn fixed(index: usize) -> u8 {
        (index as u8).wrapping_mul(37).wrapping_add(11)
    }

    fn fill(bytes: &mut [u8]) -> Result<(), getrandom02::Error> {
        bytes.iter_mut().enumerate().for_each(|(i, b)| *b = fixed(i));
        Ok(())
    }

    getrandom02::register_custom_getrandom!(fill);

    /// The hook of getrandom 0.3 and 0.4 under `--cfg getrandom_backend="custom"`.
    ///
    /// # Safety
    /// `dest` is valid for writes of `len` bytes.
    #[unsafe(no_mangle)]
    unsafe extern "Rust" fn __getrandom_v03_custom(
        dest: *mut u8,
        len: usize,
    ) -> Result<(), getrandom04::Error> {
        for i in 0..len {
            // SAFETY: getrandom passes a buffer of `len` bytes.
            unsafe { dest.add(i).write(fixed(i)) };
        }
        Ok(())
    }
}

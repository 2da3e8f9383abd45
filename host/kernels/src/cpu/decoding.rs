//! What a decoder asks of the CPU: each kernel's own module does it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rayon::{ThreadPool, Yield};

use super::CpuDevice;
use crate::block_linear::BlockMatrix;
use crate::decoding::DecoderDevice;
use crate::paged_attention::{CpuPages, PagedSequences, PagesShape};
use crate::rotary::Heads;
use crate::{Device, KernelError};
use crate::{block_linear, paged_attention, rms_norm, rotary, swiglu};

impl DecoderDevice for CpuDevice {
    type Blocks = block_linear::Prepared;
    type RmsNorm = rms_norm::Prepared;
    type Pages = CpuPages;
    type Paged = PagedSequences;

    fn step<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        self.enter(|| {
            let _awake = Awake::keep(&self.threads);
            work()
        })
    }

    fn prepare_blocks(
        &self,
        parts: &[BlockMatrix],
        bias: Option<&[f32]>,
    ) -> Result<Self::Blocks, KernelError> {
        self.enter(|| block_linear::Prepared::new(self, parts, bias))
    }

    fn prepare_rms_norm(&self, scale: &[f32], epsilon: f32) -> Result<Self::RmsNorm, KernelError> {
        rms_norm::Prepared::new(scale, epsilon)
    }

    fn pages_within(&self, shape: PagesShape, bytes: usize) -> usize {
        bytes / shape.page_bytes(shape.numbers.size()).max(1)
    }

    fn prepare_pages(&self, shape: PagesShape) -> Result<CpuPages, KernelError> {
        CpuPages::new(shape)
    }

    fn upload_paged(&self, paged: &PagedSequences) -> Result<PagedSequences, KernelError> {
        Ok(paged.clone())
    }

    fn copy_page(&self, pages: &mut CpuPages, from: u32, to: u32) -> Result<(), KernelError> {
        pages.copy(from, to)
    }

    fn block_linear(
        &self,
        x: &Self::Buffer,
        weights: &Self::Blocks,
        residual: Option<&Self::Buffer>,
    ) -> Result<Self::Buffer, KernelError> {
        self.enter(|| block_linear::run(self, x, weights, residual))
    }

    fn rms_norm(
        &self,
        x: &Self::Buffer,
        norm: &Self::RmsNorm,
    ) -> Result<Self::Buffer, KernelError> {
        self.enter(|| rms_norm::run(self, x, norm))
    }

    fn rotate(
        &self,
        qkv: Self::Buffer,
        angles: &Self::Buffer,
        heads: Heads,
        norms: Option<[&Self::RmsNorm; 2]>,
    ) -> Result<Self::Buffer, KernelError> {
        self.enter(|| rotary::run(self, qkv, angles, heads, norms))
    }

    fn swiglu(&self, x: &Self::Buffer) -> Result<Self::Buffer, KernelError> {
        self.enter(|| swiglu::run(self, x))
    }

    fn paged_attention(
        &self,
        qkv: &Self::Buffer,
        pages: &mut CpuPages,
        layer: usize,
        paged: &Self::Paged,
        window: Option<u32>,
    ) -> Result<Self::Buffer, KernelError> {
        self.enter(|| paged_attention::run(self, qkv, pages, layer, paged, window))
    }
}

/// Keeps a pool's threads looking for work until it is dropped. A step's kernels meet more than a
/// hundred times within milliseconds, and to wake a thread takes as long as a small kernel.
struct Awake(Arc<AtomicBool>);

impl Awake {
    /// How often a thread looks in vain before it goes to sleep all the same: so none waits for ever,
    /// whatever it took up meanwhile.
    const MOST: u32 = 1 << 14;

    fn keep(threads: &ThreadPool) -> Awake {
        let over = Arc::new(AtomicBool::new(false));
        let (seen, owner) = (over.clone(), rayon::current_thread_index());
        threads.spawn_broadcast(move |context| {
            let mut idle = if Some(context.index()) == owner { Awake::MOST } else { 0 };
            while idle < Awake::MOST && !seen.load(Ordering::Relaxed) {
                match rayon::yield_now() {
                    Some(Yield::Executed) => idle = 0,
                    _ => idle += 1,
                }
                if idle % 64 == 63 {
                    std::thread::yield_now();
                }
                std::hint::spin_loop();
            }
        });
        Awake(over)
    }
}

impl Drop for Awake {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use rayon::prelude::*;

    use super::*;

    #[test]
    fn steps_beside_each_other_and_steps_that_fail_leave_the_threads_free() {
        let device = CpuDevice::new(4).unwrap();
        let sum = |device: &CpuDevice| {
            device.step(|| (0..50).map(|_| (0..1000u64).into_par_iter().sum::<u64>()).sum::<u64>())
        };
        std::thread::scope(|scope| {
            let all: Vec<_> = (0..4).map(|_| scope.spawn(|| sum(&device))).collect();
            all.into_iter().for_each(|one| assert_eq!(one.join().unwrap(), 50 * 499_500));
        });
        let failed = catch_unwind(AssertUnwindSafe(|| device.step(|| panic!("a kernel failed"))));
        assert!(failed.is_err());
        assert_eq!(sum(&device), 50 * 499_500);
    }
}

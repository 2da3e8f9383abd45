//! Which vector instructions to use, chosen at run time.

use pulp::{Arch, Simd, WithSimd};

/// Blocks of four lanes in plain Rust, which the compiler lowers to what every machine of the
/// target has; pulp's own fallback is one lane wide.
pub(super) type Portable = pulp::Scalar128b;

/// A set of vector instructions. Kernels are written once and compiled for each.
#[derive(Clone, Copy, Debug)]
pub struct Isa(Arch);

impl Isa {
    /// The best that this machine has.
    pub fn detect() -> Isa {
        Isa(Arch::new())
    }

    /// All that this machine has, the best first, so that tests can run every one of them.
    pub fn available() -> Vec<Isa> {
        let mut all = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            all.extend(pulp::x86::V4::try_new().map(|v4| Isa(Arch::V4(v4))));
            all.extend(pulp::x86::V3::try_new().map(|v3| Isa(Arch::V3(v3))));
        }
        #[cfg(target_arch = "aarch64")]
        all.push(Isa::detect());
        all.push(Isa(Arch::Scalar));
        all
    }

    /// Its name, for logs.
    pub fn name(self) -> &'static str {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Arch::V4(_) => "AVX-512",
            #[cfg(target_arch = "x86_64")]
            Arch::V3(_) => "AVX2 + FMA",
            Arch::Scalar => "portable",
            #[allow(unreachable_patterns)]
            _ => "vector",
        }
    }

    /// Runs `work` compiled for these instructions.
    pub(crate) fn run<W: WithSimd>(self, work: W) -> W::Output {
        match self.0 {
            Arch::Scalar => pulp::Scalar128b.vectorize(work),
            vector => vector.dispatch(work),
        }
    }

    /// Runs `work` compiled for these instructions, where the compiler finds the lanes itself.
    pub(crate) fn each<R>(self, work: impl FnOnce() -> R) -> R {
        struct Plain<F>(F);
        impl<R, F: FnOnce() -> R> WithSimd for Plain<F> {
            type Output = R;
            #[inline(always)]
            fn with_simd<S: Simd>(self, _: S) -> R {
                (self.0)()
            }
        }
        self.run(Plain(work))
    }
}

//! Which vector instructions to use, chosen at run time.

use pulp::{Arch, Simd, WithSimd};

/// Blocks of four lanes in plain Rust, which the compiler lowers to what every machine of the
/// target has; pulp's own fallback is one lane wide.
pub(super) type Portable = pulp::Scalar128b;

/// A set of vector instructions. Kernels are written once and compiled for each.
#[derive(Clone, Copy, Debug)]
pub struct Isa {
    arch: Arch,
    /// AVX-512's `vdpbf16ps`. Set only where the machine was found to have it.
    bf16: bool,
    /// AVX-512's `vpdpbusd`. Set only where the machine was found to have it.
    int8: bool,
}

impl Isa {
    /// The best that this machine has.
    pub fn detect() -> Isa {
        let plain = Isa::plain(Arch::new());
        #[cfg(target_arch = "x86_64")]
        if let Arch::V4(_) = plain.arch {
            let bf16 = is_x86_feature_detected!("avx512bf16");
            let int8 = is_x86_feature_detected!("avx512vnni");
            return Isa { bf16, int8, ..plain };
        }
        plain
    }

    /// Without dot products of narrow numbers.
    fn plain(arch: Arch) -> Isa {
        Isa { arch, bf16: false, int8: false }
    }

    /// All that this machine has, the best first, so that tests can run every one of them.
    pub fn available() -> Vec<Isa> {
        let mut all = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            let best = Isa::detect();
            all.extend((best.bf16 || best.int8).then_some(best));
            all.extend(pulp::x86::V4::try_new().map(|v4| Isa::plain(Arch::V4(v4))));
            all.extend(pulp::x86::V3::try_new().map(|v3| Isa::plain(Arch::V3(v3))));
        }
        #[cfg(target_arch = "aarch64")]
        all.push(Isa::detect());
        all.push(Isa::plain(Arch::Scalar));
        all
    }

    /// Its name, for logs.
    pub fn name(self) -> &'static str {
        match (self.arch, self.bf16, self.int8) {
            #[cfg(target_arch = "x86_64")]
            (Arch::V4(_), true, true) => "AVX-512 with BF16 and VNNI",
            #[cfg(target_arch = "x86_64")]
            (Arch::V4(_), true, false) => "AVX-512 with BF16",
            #[cfg(target_arch = "x86_64")]
            (Arch::V4(_), false, true) => "AVX-512 with VNNI",
            #[cfg(target_arch = "x86_64")]
            (Arch::V4(_), false, false) => "AVX-512",
            #[cfg(target_arch = "x86_64")]
            (Arch::V3(_), ..) => "AVX2 + FMA",
            (Arch::Scalar, ..) => "portable",
            #[allow(unreachable_patterns)]
            _ => "vector",
        }
    }

    /// Whether it has AVX-512's vectors.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn has_avx512(self) -> bool {
        matches!(self.arch, Arch::V4(_))
    }

    /// Whether it multiplies pairs of bf16.
    pub(crate) fn has_bf16(self) -> bool {
        self.bf16
    }

    /// Whether it multiplies quads of 8-bit whole numbers.
    pub(crate) fn has_int8(self) -> bool {
        self.int8
    }

    /// Runs `work` compiled for these instructions.
    pub(crate) fn run<W: WithSimd>(self, work: W) -> W::Output {
        match self.arch {
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

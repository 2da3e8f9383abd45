//! How a row of weights lies in a file: plain numbers, or blocks of whole numbers with a common
//! scale, as ggml defines them (ggml-common.h and gguf-py's `quants.py`).

use half::{bf16, f16};

/// The types of weights that a matrix may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// 32-bit floats.
    F32,
    /// Half-precision floats.
    F16,
    /// The upper halves of 32-bit floats.
    Bf16,
    /// 32 of `d q`, `q` of 8 bits.
    Q8_0,
    /// 32 of `d (q - 8)`, `q` of 4 bits.
    Q4_0,
    /// 256 as 8 times 32 of `d s q - e m`, `q` of 4 bits, `s` and `m` of 6.
    Q4K,
    /// The same with `q` of 5 bits.
    Q5K,
    /// 256 as 16 times 16 of `d s (q - 32)`, `q` of 6 bits, `s` of 8.
    Q6K,
}

impl Format {
    /// All of them.
    pub const ALL: [Format; 8] = [
        Format::F32,
        Format::F16,
        Format::Bf16,
        Format::Q8_0,
        Format::Q4_0,
        Format::Q4K,
        Format::Q5K,
        Format::Q6K,
    ];

    /// Its name, as ggml has it.
    pub fn name(self) -> &'static str {
        match self {
            Format::F32 => "F32",
            Format::F16 => "F16",
            Format::Bf16 => "BF16",
            Format::Q8_0 => "Q8_0",
            Format::Q4_0 => "Q4_0",
            Format::Q4K => "Q4_K",
            Format::Q5K => "Q5_K",
            Format::Q6K => "Q6_K",
        }
    }

    /// Numbers of a block.
    pub fn block(self) -> usize {
        match self {
            Format::F32 | Format::F16 | Format::Bf16 => 1,
            Format::Q8_0 | Format::Q4_0 => 32,
            Format::Q4K | Format::Q5K | Format::Q6K => 256,
        }
    }

    /// Bytes of a block.
    pub fn block_bytes(self) -> usize {
        match self {
            Format::F32 => 4,
            Format::F16 | Format::Bf16 => 2,
            Format::Q8_0 => 34,
            Format::Q4_0 => 18,
            Format::Q4K => 144,
            Format::Q5K => 176,
            Format::Q6K => 210,
        }
    }

    /// Whether it is blocks of whole numbers.
    pub fn is_quantised(self) -> bool {
        self.block() > 1
    }

    /// Bytes of a row of `k` numbers. `None` where they are no whole blocks, or too many.
    pub fn row_bytes(self, k: usize) -> Option<usize> {
        let whole = k.is_multiple_of(self.block());
        whole.then(|| (k / self.block()).checked_mul(self.block_bytes()))?
    }

    /// The numbers of a row, as far as both sides go.
    pub fn read(self, row: &[u8], numbers: &mut [f32]) {
        match self {
            Format::F32 => {
                let pairs = numbers.iter_mut().zip(row.as_chunks::<4>().0);
                pairs.for_each(|(x, b)| *x = f32::from_le_bytes(*b));
            }
            Format::F16 => {
                let pairs = numbers.iter_mut().zip(row.as_chunks::<2>().0);
                pairs.for_each(|(x, b)| *x = f16::from_le_bytes(*b).to_f32());
            }
            Format::Bf16 => {
                let pairs = numbers.iter_mut().zip(row.as_chunks::<2>().0);
                pairs.for_each(|(x, b)| *x = bf16::from_le_bytes(*b).to_f32());
            }
            _ => {
                let blocks = row.chunks_exact(self.block_bytes());
                let places = numbers.chunks_exact_mut(self.block());
                for (block, place) in blocks.zip(places) {
                    Codes::of(self, block).numbers(place);
                }
            }
        }
    }
}

/// A quantised block taken apart: number `i` is `d s q - e m`, of which `s` and `m` belong to its
/// run of [`Codes::run`].
pub(crate) struct Codes {
    pub(crate) q: [u8; 256],
    pub(crate) d: f32,
    pub(crate) e: f32,
    pub(crate) s: [i8; 16],
    pub(crate) m: [u8; 16],
    /// What stands for 0, taken from every `q`.
    pub(crate) zero: i32,
    pub(crate) run: usize,
}

impl Codes {
    /// Of one block of a quantised format, whose bytes are as many as it has.
    pub(crate) fn of(format: Format, block: &[u8]) -> Codes {
        let half = |at: usize| f16::from_le_bytes([block[at], block[at + 1]]).to_f32();
        let mut codes =
            Codes { q: [0; 256], d: 0.0, e: 0.0, s: [1; 16], m: [0; 16], zero: 0, run: 32 };
        match format {
            Format::Q8_0 => {
                (codes.d, codes.zero) = (half(0), 128);
                // Kept unsigned: flipping the highest bit adds 128.
                codes.q.iter_mut().zip(&block[2..34]).for_each(|(q, byte)| *q = byte ^ 0x80);
            }
            Format::Q4_0 => {
                (codes.d, codes.zero) = (half(0), 8);
                nibbles(&block[2..18], &mut codes.q[..32]);
            }
            Format::Q4K => {
                (codes.d, codes.e) = (half(0), half(2));
                codes.scales(&block[4..16]);
                for (bytes, q) in block[16..144].chunks(32).zip(codes.q.chunks_mut(64)) {
                    nibbles(bytes, q);
                }
            }
            Format::Q5K => {
                (codes.d, codes.e) = (half(0), half(2));
                codes.scales(&block[4..16]);
                let fifth = &block[16..48];
                for (bytes, q) in block[48..176].chunks(32).zip(codes.q.chunks_mut(64)) {
                    nibbles(bytes, q);
                }
                for (i, q) in codes.q.iter_mut().enumerate() {
                    *q |= (fifth[i % 32] >> (i / 32) & 1) << 4;
                }
            }
            Format::Q6K => {
                (codes.d, codes.zero, codes.run) = (half(208), 32, 16);
                let (low, high) = (&block[..128], &block[128..192]);
                for (bytes, q) in low.chunks(64).zip(codes.q.chunks_mut(128)) {
                    nibbles(bytes, q);
                }
                for (i, q) in codes.q.iter_mut().enumerate() {
                    *q |= (high[i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3) << 4;
                }
                codes.s = std::array::from_fn(|i| block[192 + i].cast_signed());
            }
            Format::F32 | Format::F16 | Format::Bf16 => unreachable!("{format:?} has no blocks"),
        }
        codes
    }

    /// Eight pairs of 6 bits in 12 bytes.
    fn scales(&mut self, packed: &[u8]) {
        for i in 0..4 {
            let (s, m, upper) = (packed[i], packed[4 + i], packed[8 + i]);
            self.s[i] = (s & 63) as i8;
            self.m[i] = m & 63;
            self.s[4 + i] = (upper & 15 | s >> 2 & 0x30) as i8;
            self.m[4 + i] = upper >> 4 | m >> 2 & 0x30;
        }
    }

    /// What the block stands for.
    fn numbers(&self, place: &mut [f32]) {
        for (i, (x, q)) in place.iter_mut().zip(self.q).enumerate() {
            let run = i / self.run;
            let whole = (i32::from(q) - self.zero) as f32;
            *x = self.d * f32::from(self.s[run]) * whole - self.e * f32::from(self.m[run]);
        }
    }
}

/// The lower halves of all bytes, then the upper ones.
fn nibbles(bytes: &[u8], q: &mut [u8]) {
    let (low, high) = q.split_at_mut(bytes.len());
    for ((byte, low), high) in bytes.iter().zip(low).zip(high) {
        (*low, *high) = (byte & 15, byte >> 4);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Blocks whose numbers were worked out by hand from ggml's definitions.
    #[test]
    fn blocks_are_read_as_ggml_defines_them() {
        let half = |x: f32| f16::from_f32(x).to_le_bytes();
        let read = |format: Format, parts: &[&[u8]]| {
            let mut numbers = vec![f32::NAN; format.block()];
            let block = parts.concat();
            assert_eq!(block.len(), format.block_bytes());
            format.read(&block, &mut numbers);
            numbers
        };
        let bytes: Vec<u8> = (0..128).collect();
        let q8 = read(Format::Q8_0, &[&half(0.5), &[0xff; 16], &[3; 16]]);
        assert_eq!((q8[0], q8[31]), (-0.5, 1.5));
        let q4 = read(Format::Q4_0, &[&half(2.0), &[0x1f; 16]]);
        assert_eq!((q4[0], q4[15], q4[16], q4[31]), (14.0, 14.0, -14.0, -14.0));
        // Scales 1..=4 and 0x15.., minima 5..=8: the upper two bits of the last four lie in the first.
        let scales = [0x41, 2, 3, 4, 5, 0x86, 7, 8, 0x25, 0, 0, 0xff];
        let q4 = read(Format::Q4K, &[&half(1.0), &half(0.5), &scales, &bytes]);
        assert_eq!((q4[1], q4[33]), (1.0 - 2.5, 2.0 * 0.0 - 3.0));
        assert_eq!((q4[17], q4[49]), (1.0 - 2.5, 2.0 - 3.0));
        // Run 4: scale 5 | 16, minimum 2; its bytes are 64.., the lower halves.
        assert_eq!(q4[128 + 1], 21.0 - 1.0);
        // Run 7: scale 15, minimum 15; run 5: minimum 0 | 2 << 4.
        assert_eq!(q4[224 + 2], 15.0 * 6.0 - 7.5);
        assert_eq!(q4[160], 0.0 - 16.0);
        let fifth = [0b10; 32];
        let q5 = read(Format::Q5K, &[&half(1.0), &half(0.5), &scales, &fifth, &bytes]);
        assert_eq!((q5[1], q5[33]), (1.0 - 2.5, 2.0 * 16.0 - 3.0));
        let signs = [1, 0xff, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8];
        let q6 = read(Format::Q6K, &[&bytes, &[0b1110_0100; 64], &signs, &half(1.0)]);
        // The quarters' upper bits are 0, 1, 2, 3.
        assert_eq!((q6[1], q6[17]), (1.0 - 32.0, -(17.0 - 16.0 - 32.0)));
        assert_eq!(
            (q6[32], q6[64], q6[96]),
            (2.0 * (16.0 - 32.0), 3.0 * (32.0 - 32.0), 4.0 * 18.0)
        );
    }

    #[test]
    fn rows_are_whole_blocks() {
        assert_eq!(Format::Q4_0.row_bytes(64), Some(36));
        assert_eq!(Format::Q4_0.row_bytes(65), None);
        assert_eq!(Format::F32.row_bytes(usize::MAX), None);
        let mut numbers = [0.0; 2];
        Format::F16.read(&[0, 0x3c, 0, 0xc0], &mut numbers);
        assert_eq!(numbers, [1.0, -2.0]);
        Format::Bf16.read(&[0x80, 0x3f, 0, 0xc0], &mut numbers);
        assert_eq!(numbers, [1.0, -2.0]);
    }
}

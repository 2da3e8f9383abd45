//! What each of a decoder's kernels is put to.

use super::{Bench, Case, Exactness, ParityError, Report};
use crate::block_linear::{BlockMatrix, Format, RowOrder, reference::block_linear};
use crate::paged_attention::reference::paged_attention;
use crate::rotary::Heads;
use crate::{DecoderDevice, PAGE, PageNumbers, PagedSequences, PagesShape};
use crate::{rms_norm, rotary, swiglu};

type Outcome = Result<(), ParityError>;

/// Puts every kernel of a decoder beside its reference. `quantises` says whether rows are rounded
/// where they meet blocks of whole numbers. Fails at the first value beyond tolerance.
pub fn check_decoding<D: DecoderDevice>(
    device: &D,
    exactness: Exactness,
    quantises: bool,
) -> Result<Vec<Report>, ParityError> {
    let mut bench = Bench { device, exactness, reports: Vec::new() };
    block_linear_of_every_format(&mut bench, quantises)?;
    let kernels: [Case<D>; 4] = [rms_norm, rotary, swiglu, attention];
    kernels.iter().try_for_each(|kernel| kernel(&mut bench))?;
    Ok(bench.reports)
}

/// A matrix of random bytes, whose scales are made small and finite.
fn matrix(format: Format, n: usize, k: usize, seed: u64, order: RowOrder) -> BlockMatrix {
    let size = format.row_bytes(k).unwrap_or_default() * n;
    let drawn = super::numbers(size, seed);
    let mut bytes: Vec<u8> = drawn.iter().map(|x| ((x + 1.0) * 128.0) as u8).collect();
    for (block, value) in bytes.chunks_exact_mut(format.block_bytes()).zip(&drawn) {
        let half = |x: f32| half::f16::from_f32(x).to_le_bytes();
        match format {
            Format::F32 => block.copy_from_slice(&value.to_le_bytes()),
            // What bf16 holds too.
            Format::F16 => {
                block.copy_from_slice(&half(half::bf16::from_f32(*value).to_f32()));
            }
            Format::Bf16 => block.copy_from_slice(&half::bf16::from_f32(*value).to_le_bytes()),
            Format::Q8_0 => block[..2].copy_from_slice(&half(value / 127.0)),
            Format::Q4_0 => block[..2].copy_from_slice(&half(value / 8.0)),
            Format::Q4K | Format::Q5K => {
                block[..2].copy_from_slice(&half(value / 1000.0));
                block[2..4].copy_from_slice(&half(value / 70.0));
            }
            Format::Q6K => block[208..].copy_from_slice(&half(value / 4000.0)),
        }
    }
    BlockMatrix { format, bytes: bytes.into(), n, k, order }
}

fn block_linear_of_every_format<D: DecoderDevice>(
    bench: &mut Bench<D>,
    quantises: bool,
) -> Outcome {
    for format in Format::ALL {
        for m in [0, 1, 8, 13, 97] {
            for (n, blocks) in [(1, 1), (31, 2), (32, 1), (70, 3)] {
                let k = blocks * format.block().max(32);
                let parts = [matrix(format, n, k, 2, RowOrder::Plain)];
                product(bench, m, &parts, quantises)?;
            }
        }
    }
    // Plain numbers need be no whole blocks; parts may be of several formats.
    for m in [1, 13, 100] {
        product(bench, m, &[matrix(Format::F16, 5, 7, 1, RowOrder::Plain)], quantises)?;
        let of = |format, n, order| matrix(format, n, 512, 3, order);
        let mixed = [
            of(Format::Q4K, 64, RowOrder::Alternating(16)),
            of(Format::F32, 33, RowOrder::Plain),
            of(Format::Q6K, 40, RowOrder::Alternating(8)),
        ];
        product(bench, m, &mixed, quantises)?;
    }
    Ok(())
}

fn product<D: DecoderDevice>(
    bench: &mut Bench<D>,
    m: usize,
    parts: &[BlockMatrix],
    quantises: bool,
) -> Outcome {
    let device = bench.device;
    let (k, n) = (parts[0].k, parts.iter().map(|part| part.n).sum::<usize>());
    let (x, bias) = (bench.numbers(m * k, 1, 1.0), bench.numbers(n, 3, 1.0));
    let residual = bench.numbers(m * n, 4, 1.0);
    let (x_d, r_d) = (device.upload(m, k, &x)?, device.upload(m, n, &residual)?);
    let case =
        format!("m {m}, n {n}, k {k}, {:?}", parts.iter().map(|p| p.format).collect::<Vec<_>>());
    // As of any product, see `cases.rs`; codes are multiplied before what they stand for is known.
    let tolerance = 2e-6 + 8.0 * k as f64 * f64::from(f32::EPSILON);
    let plain = device.prepare_blocks(parts, None)?;
    let y = device.block_linear(&x_d, &plain, None)?;
    let expected = block_linear(&x, parts, None, None, quantises);
    bench.compare("block_linear", case.clone(), &y, &expected, tolerance)?;
    let biased = device.prepare_blocks(parts, Some(&bias))?;
    let y = device.block_linear(&x_d, &biased, Some(&r_d))?;
    let expected = block_linear(&x, parts, Some(&bias), Some(&residual), quantises);
    bench.compare("block_linear", case, &y, &expected, tolerance)
}

fn rms_norm<D: DecoderDevice>(bench: &mut Bench<D>) -> Outcome {
    for (m, h) in [(0, 8), (1, 1), (1, 576), (5, 15), (33, 63), (65, 384)] {
        let (x, scale) = (bench.numbers(m * h, 1, 3.0), bench.numbers(h, 2, 1.0));
        let norm = bench.device.prepare_rms_norm(&scale, 1e-5)?;
        let y = bench.device.rms_norm(&bench.device.upload(m, h, &x)?, &norm)?;
        let expected = rms_norm::reference::rms_norm(&x, &scale, 1e-5);
        bench.compare("rms_norm", format!("[{m}, {h}]"), &y, &expected, 2e-6)?;
    }
    Ok(())
}

fn rotary<D: DecoderDevice>(bench: &mut Bench<D>) -> Outcome {
    let device = bench.device;
    for (t, queries, keys, width) in [(0, 1, 1, 2), (1, 9, 3, 64), (17, 4, 4, 6), (40, 6, 2, 80)] {
        let heads = Heads { queries, keys, width };
        let columns = (queries + 2 * keys) * width;
        let qkv = bench.numbers(t * columns, 1, 2.0);
        let angles = bench.numbers(t * width, 2, 1.0);
        let (q, k) = (bench.numbers(width, 3, 1.0), bench.numbers(width, 4, 1.0));
        let angles_d = device.upload(t, width, &angles)?;
        let case = format!("{t} rows of {heads:?}");
        let y = device.rotate(device.upload(t, columns, &qkv)?, &angles_d, heads, None)?;
        let expected = rotary::reference::rotary(&qkv, &angles, heads, None);
        bench.compare("rotary", case.clone(), &y, &expected, 2e-6)?;
        let norms = [device.prepare_rms_norm(&q, 1e-6)?, device.prepare_rms_norm(&k, 1e-6)?];
        let norms = Some([&norms[0], &norms[1]]);
        let y = device.rotate(device.upload(t, columns, &qkv)?, &angles_d, heads, norms)?;
        let expected = rotary::reference::rotary(&qkv, &angles, heads, Some(([&q, &k], 1e-6)));
        bench.compare("rotary", case, &y, &expected, 4e-6)?;
    }
    Ok(())
}

fn swiglu<D: DecoderDevice>(bench: &mut Bench<D>) -> Outcome {
    for (m, i) in [(0, 4), (1, 1), (3, 64), (20, 37)] {
        let x = bench.numbers(m * 2 * i, 1, 20.0);
        let y = bench.device.swiglu(&bench.device.upload(m, 2 * i, &x)?)?;
        let expected = swiglu::reference::swiglu(&x, i);
        // Products up to 400, of a quotient within some units in the last place.
        bench.compare("swiglu", format!("[{m}, {i}]"), &y, &expected, 2e-4)?;
    }
    Ok(())
}

/// Sequences whose tokens come a few at a time, in pages in no order, beside the whole at once.
fn attention<D: DecoderDevice>(bench: &mut Bench<D>) -> Outcome {
    for (queries, keys, width) in [(9, 3, 64), (4, 4, 6), (26, 2, 33), (2, 1, 96)] {
        for (window, numbers) in
            [(None, PageNumbers::F32), (Some(40), PageNumbers::F16), (Some(1), PageNumbers::F32)]
        {
            attention_of(bench, Heads { queries, keys, width }, window, numbers)?;
        }
    }
    Ok(())
}

/// Of three sequences, the tokens that come in each step: many, some, single ones together, none.
const STEPS: [[u32; 3]; 6] =
    [[270, 1, 0], [1, 37, 5], [1, 1, 1], [0, 1, 1], [13, 0, 100], [1, 1, 0]];

fn attention_of<D: DecoderDevice>(
    bench: &mut Bench<D>,
    heads: Heads,
    window: Option<u32>,
    numbers: PageNumbers,
) -> Outcome {
    let device = bench.device;
    let totals: [u32; 3] = std::array::from_fn(|i| STEPS.iter().map(|step| step[i]).sum());
    let columns = (heads.queries + 2 * heads.keys) * heads.width;
    let all: [Vec<f32>; 3] =
        std::array::from_fn(|i| bench.numbers(totals[i] as usize * columns, i as u64 + 1, 2.0));
    let tables: [Vec<u32>; 3] = std::array::from_fn(|i| {
        let count = (totals[i] as usize).div_ceil(PAGE) as u32;
        (0..count).map(|page| page * 3 + i as u32).rev().collect()
    });
    let shape = PagesShape { layers: 2, pages: 40, heads, numbers };
    let mut pages = device.prepare_pages(shape)?;
    let kept: fn(f32) -> f32 = match numbers {
        PageNumbers::F32 => |x| x,
        PageNumbers::F16 => |x| half::f16::from_f32(x).to_f32(),
    };
    let mut past = [0u32; 3];
    for step in STEPS {
        let each = (0..3).map(|i| (step[i], past[i], &tables[i][..]));
        let paged = PagedSequences::new(each)?;
        let (mut x, mut expected) = (Vec::new(), Vec::new());
        for i in 0..3 {
            let rows = past[i] as usize..(past[i] + step[i]) as usize;
            x.extend(&all[i][rows.start * columns..rows.end * columns]);
            expected.extend(paged_attention(&all[i], heads, rows, window, kept));
            past[i] += step[i];
        }
        let x = device.upload(paged.sequences().tokens(), columns, &x)?;
        let paged = device.upload_paged(&paged)?;
        let y = device.paged_attention(&x, &mut pages, 1, &paged, window)?;
        let case = format!("{heads:?}, window {window:?}, {numbers:?}, {step:?}");
        // A GPU keeps what its matrices are stored in, and the values here are rounded to that; of f16
        // only a CPU's cache is put to it, whose reference rounds alike.
        let rounding = if bench.exactness.arithmetic > 1.0 { 4e-3 } else { 0.0 };
        bench.compare("paged_attention", case, &y, &expected, 2e-5 + rounding)?;
    }
    Ok(())
}

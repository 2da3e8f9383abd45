//! Shapes that nobody thought of: cases drawn from bytes, by a fuzzer or at random.

use super::cases::{EPILOGUES, attention_of, linear_of};
use super::{Bench, Exactness, ParityError, numbers};
use crate::device::{LinearWeights, NormWeights};
use crate::{CpuDevice, Device, Epilogue, FeedForward, KernelError, Pooling, Precision, Sequences};

/// A case's choices, byte by byte; 0 once there are no more.
struct Draw<'a>(&'a [u8]);

impl Draw<'_> {
    fn below(&mut self, end: usize) -> usize {
        let (byte, rest) = self.0.split_first().map_or((0, self.0), |(byte, rest)| (*byte, rest));
        self.0 = rest;
        usize::from(byte) % end
    }

    fn lengths(&mut self) -> Vec<u32> {
        (0..self.below(20))
            .map(|_| [0, 1, self.below(20), self.below(140)][self.below(4)] as u32)
            .collect()
    }
}

/// Puts one of `devices` to the case that `bytes` say, at the precision that they say: a product or
/// an attention beside its reference, or steps taken at once beside the same steps one by one,
/// which must give the same bits.
pub fn check_drawn(devices: &[CpuDevice], bytes: &[u8]) -> Result<(), ParityError> {
    let draw = &mut Draw(bytes);
    let Some(device) = devices.get(draw.below(devices.len().max(1))) else { return Ok(()) };
    let precision = Precision::ALL[draw.below(3)];
    let device = device.clone().at(precision);
    let exactness = Exactness::at(precision);
    // Of billions of values, one is where deviations are twice those of thousands.
    let exactness = Exactness { terms: 2.0 * exactness.terms, ..exactness };
    let mut bench = Bench { device: &device, exactness, reports: Vec::new() };
    match draw.below(4) {
        0 => {
            let shape = (draw.below(256), 1 + draw.below(150), 1 + draw.below(200));
            linear_of(&mut bench, shape, EPILOGUES[draw.below(4)])
        }
        1 => {
            let lengths = draw.lengths();
            attention_of(&mut bench, (1 + draw.below(4), 1 + draw.below(70)), &lengths)
        }
        2 => feed_forward(&device, draw.below(256), 1 + draw.below(60), 1 + draw.below(120)),
        _ => {
            let lengths = draw.lengths();
            self_attention(&device, &lengths, 1 + draw.below(4), 1 + draw.below(40))
        }
    }
}

fn matrix(
    device: &CpuDevice,
    n: usize,
    k: usize,
) -> Result<<CpuDevice as Device>::Linear, KernelError> {
    let (weight, bias) = (numbers(n * k, 2), numbers(n, 3));
    let prepared = device.prepare_linear(LinearWeights { weight: &weight, bias: &bias, n, k })?;
    // As a later start has it.
    device.restore_linear(device.words(&prepared).to_vec().into(), &bias, [n, k])
}

fn same(
    kernel: &'static str,
    case: String,
    found: &<CpuDevice as Device>::Buffer,
    expected: &<CpuDevice as Device>::Buffer,
) -> Result<(), ParityError> {
    let (found, expected) = (found.data(), expected.data());
    if found.len() != expected.len() {
        let (found, expected) = (found.len(), expected.len());
        return Err(ParityError::Length { kernel, case, found, expected });
    }
    let differs = |(_, (a, b)): &(usize, (&f32, &f32))| a.to_bits() != b.to_bits();
    match found.iter().zip(expected).enumerate().find(differs) {
        None => Ok(()),
        Some((index, (&found, &expected))) => {
            let (expected, error) = (f64::from(expected), f64::from(found - expected));
            Err(ParityError::Value { kernel, case, index, found, expected, error })
        }
    }
}

fn feed_forward(device: &CpuDevice, m: usize, h: usize, wide: usize) -> Result<(), ParityError> {
    let (up, down) = (matrix(device, wide, h)?, matrix(device, h, wide)?);
    let (gamma, beta) = (numbers(h, 4), numbers(h, 5));
    let norm = device.prepare_norm(NormWeights { gamma: &gamma, beta: &beta, epsilon: 1e-6 })?;
    let x = device.upload(m, h, &numbers(m * h, 1))?;
    let between = device.linear(&x, &up, Epilogue::Gelu)?;
    let sum = device.linear(&between, &down, Epilogue::Residual(&x))?;
    let expected = device.layer_norm(&sum, None, &norm)?;
    let case = format!("{}: {m} rows of {h}, {wide} wide", device.name());
    let weights = || FeedForward { up: &up, down: &down, norm: &norm };
    same("feed_forward", case.clone(), &device.feed_forward(&x, weights())?, &expected)?;
    let found = device.linear_norm(&between, &down, &x, &norm)?;
    same("linear_norm", case.clone(), &found, &expected)?;
    let expected = device.feed_forward(&expected, weights())?;
    let found = device.attended(&between, &x, (&down, &norm), weights())?;
    same("attended", case, &found, &expected)
}

fn self_attention(
    device: &CpuDevice,
    lengths: &[u32],
    heads: usize,
    d: usize,
) -> Result<(), ParityError> {
    let (sequences, hidden) = (Sequences::from_lengths(lengths)?, heads * d);
    let (tokens, k) = (sequences.tokens(), 1 + d);
    let qkv = matrix(device, 3 * hidden, k)?;
    let x = device.upload(tokens, k, &numbers(tokens * k, 1))?;
    let expected =
        device.attention(&device.linear(&x, &qkv, Epilogue::None)?, &sequences, heads)?;
    let case = format!("{}: {heads} heads of {d}, lengths {lengths:?}", device.name());
    let found = device.self_attention(&x, &qkv, &sequences, heads)?;
    same("self_attention", case.clone(), &found, &expected)?;
    let first = device.pool(&expected, &sequences, Pooling::Cls, false)?;
    let found = device.first_attention(&x, &qkv, &sequences, heads)?;
    same("first_attention", case, &found, &first)
}

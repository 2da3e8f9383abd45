//! The vectors, as the walk reads them and as hits are scored.

use std::cmp::Ordering::Less;
use std::ops::Range;

use crate::dot::{self, BLOCK, Codes, Factors};
use crate::{Precision, Vector};

/// What the greatest component of a vector becomes, in 24 bits.
const GREATEST: i32 = 127 << 16;

/// More components than any model gives, and few enough for sums of products to fit 31 bits.
pub(crate) const MAX_DIMENSIONS: usize = 1 << 16;

/// What sums of floats may be off by, of unit vectors.
const ROUNDING: f32 = 1e-6;

/// Rows that are compared in one go, so that their scores stay in the fastest cache.
const ROWS: usize = 64;

/// Vectors in 24, 16 or 8 bits a component, in two planes: the high 8 bits, rounded, which are all
/// that a walk reads, and 16, 8 or none of what they leave.
///
/// Component `i` of vector `v` is `(high * 2^16 + low) * unit[v]`. With 24 bits, the size of an f32's
/// significand, it is off by at most 2^-25 of the vector's greatest component, so a score is as
/// exact as sums in f32 are; with 16 by 2^-16, with 8 by 2^-8.
pub(crate) struct Table {
    pub(crate) dimensions: usize,
    /// Rows of [`Table::blocks`] blocks, padded with zeros.
    pub(crate) high: Vec<Codes>,
    pub(crate) low: Low,
    /// A number a vector.
    pub(crate) unit: Vec<f32>,
}

/// What the high bits leave: rows of as many blocks.
pub(crate) enum Low {
    /// All of it, to 24 bits.
    Sixteen(Vec<[i16; BLOCK]>),
    /// Its own high bits, rounded.
    Eight(Vec<[i8; BLOCK]>),
    /// Nothing.
    None,
}

impl Low {
    fn with_capacity(precision: Precision, blocks: usize) -> Low {
        match precision {
            Precision::F32 => Low::Sixteen(Vec::with_capacity(blocks)),
            Precision::F16 => Low::Eight(Vec::with_capacity(blocks)),
            Precision::Int8 => Low::None,
        }
    }

    fn push(&mut self, rest: [i16; BLOCK]) {
        match self {
            Low::Sixteen(low) => low.push(rest),
            // What would be 128 is 127: a half of the last place more.
            Low::Eight(low) => {
                low.push(rest.map(|rest| ((i32::from(rest) + 128) >> 8).min(127) as i8))
            }
            Low::None => {}
        }
    }

    /// Bits of a component, the high ones among them.
    pub(crate) fn bits(&self) -> usize {
        match self {
            Low::Sixteen(_) => 24,
            Low::Eight(_) => 16,
            Low::None => 8,
        }
    }

    pub(crate) fn precision(&self) -> Precision {
        match self {
            Low::Sixteen(_) => Precision::F32,
            Low::Eight(_) => Precision::F16,
            Low::None => Precision::Int8,
        }
    }

    /// Both arrays that there may be; one is empty, or both are.
    pub(crate) fn arrays(&self) -> (&[[i16; BLOCK]], &[[i8; BLOCK]]) {
        match self {
            Low::Sixteen(low) => (low, &[]),
            Low::Eight(low) => (&[], low),
            Low::None => (&[], &[]),
        }
    }
}

/// A query as [`Table::scores`] takes it.
pub(crate) struct Query {
    /// The vector, padded with zeros.
    floats: Vec<[f32; BLOCK]>,
    /// The vector in whole numbers.
    factors: Vec<Factors>,
    /// What a product is multiplied by, beside the row's unit, to be a cosine.
    unit: f32,
    /// How far such a cosine may be off: so much, and so much times the row's unit.
    error: [f32; 2],
}

impl Table {
    /// No vectors yet, and room for `count`.
    pub(crate) fn with_capacity(dimensions: usize, count: usize, precision: Precision) -> Table {
        let blocks = count * dimensions.div_ceil(BLOCK);
        Table {
            dimensions,
            high: Vec::with_capacity(blocks),
            low: Low::with_capacity(precision, blocks),
            unit: Vec::with_capacity(count),
        }
    }

    /// Adds a vector, which has `dimensions` components.
    pub(crate) fn push(&mut self, vector: &Vector) {
        let greatest = vector.as_slice().iter().fold(0f32, |most, x| most.max(x.abs()));
        let factor = if greatest > 0.0 { GREATEST as f32 / greatest } else { 0.0 };
        for components in vector.as_slice().chunks(BLOCK) {
            let (mut codes, mut rest) = (Codes([0; BLOCK]), [0; BLOCK]);
            for ((x, code), rest) in components.iter().zip(&mut codes.0).zip(&mut rest) {
                let whole = ((x * factor).round() as i32).clamp(-GREATEST, GREATEST);
                let high = (whole + (1 << 15)) >> 16;
                *code = high as i8;
                *rest = (whole - (high << 16)) as i16;
            }
            self.high.push(codes);
            self.low.push(rest);
        }
        self.unit.push(greatest / GREATEST as f32);
    }

    /// Number of vectors.
    pub(crate) fn len(&self) -> usize {
        self.unit.len()
    }

    /// Blocks of a row.
    pub(crate) fn blocks(&self) -> usize {
        self.dimensions.div_ceil(BLOCK)
    }

    /// Row `row`, as exact as it is kept.
    pub(crate) fn vector(&self, row: u32) -> Vector {
        let mut whole: Vec<i32> = self
            .row(row)
            .iter()
            .flat_map(|codes| codes.0.map(|high| i32::from(high) << 16))
            .collect();
        let blocks = self.blocks_of(row);
        let mut add = |low: &mut dyn Iterator<Item = i32>| {
            whole.iter_mut().zip(low).for_each(|(whole, low)| *whole += low);
        };
        match &self.low {
            Low::Sixteen(low) => add(&mut low[blocks].as_flattened().iter().map(|&low| low.into())),
            Low::Eight(low) => {
                add(&mut low[blocks].as_flattened().iter().map(|&low| i32::from(low) << 8));
            }
            Low::None => {}
        }
        let whole = whole.into_iter().take(self.dimensions);
        Vector::normalized(whole.map(|whole| whole as f32).collect())
    }

    fn blocks_of(&self, row: u32) -> Range<usize> {
        let start = row as usize * self.blocks();
        start..start + self.blocks()
    }

    fn row(&self, row: u32) -> &[Codes] {
        &self.high[self.blocks_of(row)]
    }

    /// `vector` ready to be compared: cut or padded with zeros, should it not have `dimensions`
    /// components.
    pub(crate) fn query(&self, vector: &[f32]) -> Query {
        let greatest = vector.iter().fold(0f32, |most, x| most.max(x.abs()));
        // As fine as it may be for a sum of products with codes to stay within 31 bits.
        let finest = (i32::MAX / 127 / self.dimensions.max(1) as i32).min(1 << 14) as f32;
        let factor = if greatest > 0.0 { finest / greatest } else { 0.0 };
        let mut floats = vec![[0.0; BLOCK]; self.blocks()];
        floats.as_flattened_mut().iter_mut().zip(vector).for_each(|(to, x)| *to = *x);
        let factors = floats.iter().map(|block| block.map(|x| (x * factor).round() as i16));
        // A row's codes are off by half of their last place, the query's factors by half of theirs,
        // and a unit vector's components sum up to the root of their number at most.
        let sum: f32 = vector.iter().map(|x| x.abs()).sum();
        let error = [
            0.5 * greatest / finest * (self.dimensions as f32).sqrt() + ROUNDING,
            f32::from(1u16 << 15) * sum,
        ];
        Query { factors: factors.collect(), unit: greatest / finest * 65536.0, floats, error }
    }

    /// Room for [`Table::query_row`].
    pub(crate) fn empty_query(&self) -> Query {
        Query { floats: vec![], factors: vec![], unit: 0.0, error: [0.0; 2] }
    }

    /// Row `row`, ready to be compared with others; takes the place of what `query` was.
    pub(crate) fn query_row(&self, row: u32, query: &mut Query) {
        query.factors.clear();
        query.factors.extend(self.row(row).iter().map(|codes| codes.0.map(i16::from)));
        query.unit = self.unit[row as usize] * 65536.0 * 65536.0;
    }

    /// Cosines of `query` and each of `rows`, by their codes: off by about 0.001. `dots` is room
    /// to work in.
    pub(crate) fn scores<'a>(
        &'a self,
        query: &'a Query,
        rows: &'a [u32],
        dots: &'a mut Vec<i32>,
    ) -> impl Iterator<Item = f32> + 'a {
        dots.resize(rows.len(), 0);
        dot::touch(query.factors.len(), &self.high, &self.unit, rows);
        dot::dots(&query.factors, &self.high, rows, dots);
        rows.iter()
            .zip(dots.iter())
            .map(|(&row, &dot)| dot as f32 * (query.unit * self.unit[row as usize]))
    }

    /// Tells `with` the score of each of `rows`, like [`Table::scores`].
    pub(crate) fn each(
        &self,
        query: &Query,
        rows: Range<u32>,
        dots: &mut Vec<i32>,
        mut with: impl FnMut(u32, f32),
    ) {
        let end = rows.end;
        for start in rows.step_by(ROWS) {
            let some: [u32; ROWS] = std::array::from_fn(|i| start + i as u32);
            let some = &some[..ROWS.min((end - start) as usize)];
            some.iter()
                .zip(self.scores(query, some, dots))
                .for_each(|(&row, score)| with(row, score));
        }
    }

    /// Those of `rows` that may be among the `k` nearest to `query`, which [`Table::query`] made: as
    /// rough scores show it, whose greatest errors are known.
    pub(crate) fn near(&self, query: &Query, mut rows: Vec<u32>, k: usize) -> Vec<u32> {
        let [error, by_unit] = query.error;
        let error = |row: u32| error + by_unit * self.unit[row as usize];
        // What each scores at least.
        let mut least = Vec::with_capacity(rows.len());
        let mut dots = vec![];
        for some in rows.chunks(ROWS) {
            let scores = self.scores(query, some, &mut dots);
            least.extend(some.iter().zip(scores).map(|(&row, score)| score - error(row)));
        }
        if k == 0 || k >= rows.len() {
            return rows;
        }
        let mut sorted = least.clone();
        let (_, &mut kth, _) = sorted.select_nth_unstable_by(k - 1, |a, b| b.total_cmp(a));
        let mut least = least.into_iter();
        // A query of no numbers is near to all.
        let far = |row: u32, least: f32| (least + 2.0 * error(row)).partial_cmp(&kth) == Some(Less);
        rows.retain(|&row| least.next().is_none_or(|least| !far(row, least)));
        rows
    }

    /// The cosine of `query`, which [`Table::query`] made, and row `row`.
    pub(crate) fn score(&self, query: &Query, row: u32) -> f32 {
        let (query, high, blocks) = (&query.floats, self.row(row), self.blocks_of(row));
        let whole = match &self.low {
            Low::Sixteen(low) => dot::exact(query, high, &low[blocks]),
            Low::Eight(low) => dot::halves(query, high, &low[blocks]),
            Low::None => dot::bytes(query, high),
        };
        whole * self.unit[row as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A vector whose components span many magnitudes.
    fn vector(dimensions: usize, seed: usize) -> Vector {
        let component = |i: usize| ((i * 7 + seed) as f32).sin() * 10f32.powi(-(i as i32 % 5));
        Vector::normalized((0..dimensions).map(component).collect())
    }

    #[test]
    fn components_keep_24_bits() {
        let vector = vector(150, 3);
        let mut table = Table::with_capacity(150, 1, Precision::F32);
        table.push(&vector);
        let greatest = vector.as_slice().iter().fold(0f32, |most, x| most.max(x.abs()));
        let high = table.high.iter().flat_map(|codes| codes.0);
        let Low::Sixteen(low) = &table.low else { panic!("16 bits are kept of the rest") };
        let stored = high.zip(low.as_flattened()).map(|(high, &low)| {
            f64::from((i32::from(high) << 16) + i32::from(low)) * f64::from(table.unit[0])
        });
        let stored: Vec<f64> = stored.collect();
        for (x, stored) in vector.as_slice().iter().zip(&stored) {
            let error = (f64::from(*x) - stored).abs() / f64::from(greatest);
            assert!(error <= 1.3 * 2f64.powi(-24), "{x} {stored}");
        }
        assert_eq!(stored[150..], [0.0; 42]);
        let back = table.vector(0);
        assert_eq!(back.dimensions(), 150);
        for (x, back) in vector.as_slice().iter().zip(back.as_slice()) {
            assert!((x - back).abs() <= greatest * 3.0 * 2f32.powi(-24), "{x} {back}");
        }
    }

    #[test]
    fn rough_scores_are_near_and_exact_ones_exact() {
        for dimensions in [1, 3, 64, 65, 384, 1024] {
            let vectors: Vec<Vector> = (0..20).map(|seed| vector(dimensions, seed)).collect();
            let mut table = Table::with_capacity(dimensions, 20, Precision::F32);
            vectors.iter().for_each(|vector| table.push(vector));
            let rows: Vec<u32> = (0..20).rev().collect();
            let (query, mut dots) = (table.query(vectors[9].as_slice()), vec![]);
            let mut row = table.empty_query();
            table.query_row(9, &mut row);
            for query in [&query, &row] {
                for (&row, rough) in rows.iter().zip(table.scores(query, &rows, &mut dots)) {
                    let cosine = vectors[9].cosine(&vectors[row as usize]);
                    assert!((rough - cosine).abs() < 0.02, "{dimensions}: {rough} {cosine}");
                }
            }
            for &row in &rows {
                let (score, cosine) = (table.score(&query, row), &vectors[row as usize]);
                assert!((score - vectors[9].cosine(cosine)).abs() < 5e-7, "{dimensions}: {score}");
            }
        }
    }

    #[test]
    fn fewer_bits_are_as_exact_as_they_can_be() {
        for (precision, bits, error) in [(Precision::F16, 16, 2e-5), (Precision::Int8, 8, 4e-3)] {
            let vectors: Vec<Vector> = (0..20).map(|seed| vector(384, seed)).collect();
            let mut table = Table::with_capacity(384, 20, precision);
            vectors.iter().for_each(|vector| table.push(vector));
            let query = table.query(vectors[9].as_slice());
            assert_eq!(table.low.bits(), bits);
            for (row, vector) in (0..20).zip(&vectors) {
                let (score, cosine) = (table.score(&query, row), vectors[9].cosine(vector));
                assert!((score - cosine).abs() < error, "{bits} bits: {score} {cosine}");
                // What is read back is stored again as it was.
                let mut again = Table::with_capacity(384, 1, precision);
                again.push(&table.vector(row));
                assert_eq!(again.row(0), table.row(row));
                let back = vector.cosine(&table.vector(row));
                assert!(back > 1.0 - error, "{bits} bits: {back}");
            }
        }
    }
}

//! Which vectors become seeds, and which seeds the others are near to.
//!
//! Links of the lowest layer hardly leave a cluster, so a walk finds one only if it enters the graph
//! there: every cluster should have a seed. Of a sample those become seeds that have no seed among
//! their nearest in it. Then what is far from all seeds is sampled, for clusters that were missed.

use std::collections::BTreeSet;

use rayon::ThreadPool;
use rayon::prelude::*;

use crate::layer::NONE;
use crate::table::{Query, Table};
use crate::{Precision, Vector};

/// Seeds of a small index: any will do.
pub(crate) const SEEDS: usize = 2048;
/// Vectors for a seed, about, where there are many.
pub(crate) const VECTORS_A_SEED: usize = 64;
/// Seeds from which a vector's neighbours are looked for.
pub(crate) const ENTRIES: usize = 8;
/// Vectors for one in each sample.
const SAMPLED: usize = 32;
/// Vectors for one of those that are far from all seeds.
const FAR: usize = 8;
/// How many of its nearest in the sample a seed is the only one among.
const ALONE: usize = 4;
/// Vectors whose nearest seeds are looked for between two reports of progress.
const BATCH: usize = 16384;

/// The best rows, best first; [`NONE`] stands where one is missing.
#[derive(Clone, Copy)]
pub(crate) struct Nearest<const N: usize>([(f32, u32); N]);

impl<const N: usize> Nearest<N> {
    pub(crate) const NOTHING: Self = Nearest([(f32::NEG_INFINITY, NONE); N]);

    /// Takes `row` in, if it is among the best.
    #[inline]
    pub(crate) fn offer(&mut self, score: f32, row: u32) {
        let worse = self.0.iter().rev().take_while(|other| score > other.0).count();
        if worse > 0 {
            self.0[N - worse..].rotate_right(1);
            self.0[N - worse] = (score, row);
        }
    }

    /// The rows there are.
    pub(crate) fn rows(&self) -> impl Iterator<Item = u32> {
        self.0.iter().map(|&(_, row)| row).filter(|&row| row != NONE)
    }

    fn best_score(&self) -> f32 {
        self.0[0].0
    }
}

/// Seeds, and the nearest of them to each vector.
pub(crate) struct Seeding {
    /// Their numbers.
    pub(crate) seeds: Vec<u32>,
    /// Of each vector, places in `seeds`.
    pub(crate) near: Vec<Nearest<ENTRIES>>,
}

impl Seeding {
    /// Chooses seeds among `vectors`, whose numbers come in the order they are drawn in. `progress` is
    /// told nothing but that there is some; its error ends the choice.
    pub(crate) fn choose<E>(
        vectors: &[Vector],
        order: Vec<u32>,
        pool: &ThreadPool,
        progress: &mut dyn FnMut() -> Result<(), E>,
    ) -> Result<Seeding, E> {
        let mut seeding = Seeding { seeds: vec![], near: vec![Nearest::NOTHING; vectors.len()] };
        if order.len() / VECTORS_A_SEED <= SEEDS {
            let seeds = &order[..order.len().min(SEEDS)];
            seeding.add(vectors, seeds, pool, progress)?;
            return Ok(seeding);
        }
        let first = spread(vectors, &order[..order.len() / SAMPLED], pool);
        seeding.add(vectors, &first, pool, progress)?;
        let mut far = order;
        let score = |&number: &u32| seeding.near[number as usize].best_score();
        let count = far.len() / FAR;
        far.select_nth_unstable_by(count, |a, b| score(a).total_cmp(&score(b)));
        far.truncate(count);
        let far: Vec<u32> = far.into_iter().step_by(SAMPLED / FAR).collect();
        let second = spread(vectors, &far, pool);
        seeding.add(vectors, &second, pool, progress)?;
        Ok(seeding)
    }

    /// Adds seeds, of which some may be there already.
    fn add<E>(
        &mut self,
        vectors: &[Vector],
        numbers: &[u32],
        pool: &ThreadPool,
        progress: &mut dyn FnMut() -> Result<(), E>,
    ) -> Result<(), E> {
        let known: BTreeSet<u32> = self.seeds.iter().copied().collect();
        let first = self.seeds.len();
        self.seeds.extend(numbers.iter().filter(|number| !known.contains(number)));
        let seeds = table(vectors, &self.seeds[first..]);
        let look = |dots: &mut Vec<i32>, (near, vector): (&mut Nearest<ENTRIES>, &Vector)| {
            let query = seeds.query(vector.as_slice());
            let rows = 0..seeds.len() as u32;
            seeds.each(&query, rows, dots, |row, score| near.offer(score, first as u32 + row));
        };
        for (near, vectors) in self.near.chunks_mut(BATCH).zip(vectors.chunks(BATCH)) {
            progress()?;
            pool.install(|| near.par_iter_mut().zip(vectors).for_each_init(Vec::new, look));
        }
        Ok(())
    }
}

fn table(vectors: &[Vector], numbers: &[u32]) -> Table {
    let dimensions = vectors.first().map_or(0, Vector::dimensions);
    let mut table = Table::with_capacity(dimensions, numbers.len(), Precision::Int8);
    numbers.iter().for_each(|&number| table.push(&vectors[number as usize]));
    table
}

/// Those of the sample that have none of the ones before them among their nearest.
fn spread(vectors: &[Vector], sample: &[u32], pool: &ThreadPool) -> Vec<u32> {
    let table = table(vectors, sample);
    let rows = 0..table.len() as u32;
    let nearest = |(query, dots): &mut (Query, Vec<i32>), row: u32| {
        let mut nearest = Nearest::<ALONE>::NOTHING;
        table.query_row(row, query);
        table.each(query, rows.clone(), dots, |other, score| {
            if other != row {
                nearest.offer(score, other);
            }
        });
        nearest
    };
    let room = || (table.empty_query(), vec![]);
    let nearest: Vec<Nearest<ALONE>> =
        pool.install(|| rows.clone().into_par_iter().map_init(room, nearest).collect());
    let mut chosen = vec![false; sample.len()];
    for (row, nearest) in nearest.iter().enumerate() {
        chosen[row] = !nearest.rows().any(|other| chosen[other as usize]);
    }
    let chosen = sample.iter().zip(chosen).filter_map(|(&number, chosen)| chosen.then_some(number));
    chosen.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_are_kept_in_order() {
        let mut nearest = Nearest::<3>::NOTHING;
        assert_eq!(nearest.rows().count(), 0);
        let scores = [0.5, f32::NAN, -2.0, 0.75, 0.5, 0.625];
        (0..).zip(scores).for_each(|(row, score)| nearest.offer(score, row));
        assert_eq!(nearest.rows().collect::<Vec<u32>>(), [3, 5, 0]);
    }

    /// 1,408 clusters of 100, far from each other: one in five has none in a sample of 1 / 64.
    #[test]
    fn every_cluster_has_a_seed_and_all_are_near_to_one_of_their_own() {
        let (clusters, count) = (1408, 140_800);
        let vector = |number: usize| {
            let component = |i: usize| {
                let centre = (((number % clusters) * 31 + i) as f32 * 12.9898).sin() * 43758.547;
                let own = ((number * 17 + i) as f32 * 78.233).sin() * 43758.547;
                centre - centre.floor() - 0.5 + 0.4 * (own - own.floor() - 0.5)
            };
            Vector::normalized((0..48).map(component).collect())
        };
        let vectors: Vec<Vector> = (0..count).map(vector).collect();
        let order = (0..count).map(|i| (i * 77_773 % count) as u32).collect();
        let pool = rayon::ThreadPoolBuilder::new().build().unwrap();
        let mut told = 0;
        let mut progress = || {
            told += 1;
            Ok::<(), ()>(())
        };
        let seeding = Seeding::choose(&vectors, order, &pool, &mut progress).unwrap();
        assert_eq!(told, 2 * count.div_ceil(BATCH));
        let seeded: BTreeSet<usize> =
            seeding.seeds.iter().map(|&seed| seed as usize % clusters).collect();
        assert!(seeded.len() > clusters * 99 / 100, "{} have a seed", seeded.len());
        assert!(seeding.seeds.len() < count / 32, "{} seeds", seeding.seeds.len());
        let own = |&(number, near): &(usize, &Nearest<ENTRIES>)| {
            near.rows()
                .any(|place| seeding.seeds[place as usize] as usize % clusters == number % clusters)
        };
        let own = seeding.near.iter().enumerate().filter(own).count();
        assert!(own > count * 99 / 100, "{own} are near to their own");
    }
}

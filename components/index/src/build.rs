//! Vectors to a graph.
//!
//! instant-distance connects some of the vectors, the seeds ([`crate::seeding`]). Its layers become
//! the upper ones here, and its lowest is what the rest is grown on. Few vectors are all seeds.

use rayon::ThreadPoolBuilder;

use crate::graph::Graph;
use crate::grow::Growing;
use crate::layer::{Layer, NONE};
use crate::seed::Seeds;
use crate::seeding::{ENTRIES, Nearest, Seeding};
use crate::table::{MAX_DIMENSIONS, Table};
use crate::{BuildOptions, IndexError, Vector};

/// Neighbours a node has at most in the lowest layer. With 64, as instant-distance has, walks of
/// equal recall are no faster; with 32 they are slower at high recall.
pub(crate) const WIDTH: usize = 48;
/// Neighbours a node has at most in an upper layer.
pub(crate) const UPPER: usize = 32;
/// Vectors inserted between two reports of progress.
const BATCH: usize = 4096;

pub(crate) fn build<E: From<IndexError>>(
    mut vectors: Vec<Vector>,
    options: BuildOptions,
    progress: &mut dyn FnMut(usize) -> Result<(), E>,
) -> Result<Graph, E> {
    let dimensions = dimensions(&vectors)?;
    let pool = ThreadPoolBuilder::new().num_threads(options.threads).build();
    let pool = pool.map_err(IndexError::Threads)?;
    let order = shuffled(vectors.len(), options.seed);
    let seeding = Seeding::choose(&vectors, order, &pool, &mut || progress(0))?;
    let seeds = pool.install(|| Seeds::build(&vectors, &seeding.seeds, options))?;
    progress(seeds.numbers.len())?;
    let base = layer(seeds.lowest.iter().map(|halves| halves.as_flattened()), WIDTH);
    let mut upper: Vec<Layer> = seeds.upper.iter().map(|nodes| layer(nodes, UPPER)).collect();
    let mut passages = seeds.numbers;
    let mut table = Table::with_capacity(dimensions, vectors.len(), options.precision);
    passages.iter().for_each(|&number| table.push(&vectors[number as usize]));
    if passages.len() == vectors.len() {
        return Ok(Graph::new(table, passages, base, upper));
    }

    // Neighbours lie together: what is near one seed follows in a row.
    let first = passages.len();
    let mut rest = grouped(seeding, &passages);
    for &(_, number) in &rest {
        // The floats are not needed any more.
        table.push(&std::mem::take(&mut vectors[number as usize]));
        passages.push(number);
    }
    drop(vectors);

    upper.insert(0, layer(base.links.chunks(base.width), UPPER));
    let growing = Growing::new(&table, base);
    let mut done = first;
    for batch in scattered(rest.len()).chunks(BATCH) {
        let nodes = batch.iter().map(|&at| ((first + at) as u32, std::mem::take(&mut rest[at].0)));
        let nodes: Vec<(u32, Vec<u32>)> = nodes.collect();
        pool.install(|| growing.insert(&nodes, options.ef_construction));
        done += batch.len();
        progress(done)?;
    }
    let base = growing.finish();
    Ok(Graph::new(table, passages, base, upper))
}

/// The length that all `vectors` have.
fn dimensions(vectors: &[Vector]) -> Result<usize, IndexError> {
    let expected = vectors.first().map_or(0, Vector::dimensions);
    let lengths = vectors.iter().map(Vector::dimensions);
    match lengths.enumerate().find(|&(_, found)| found != expected) {
        Some((index, found)) => Err(IndexError::Dimensions { index, found, expected }),
        None if expected > MAX_DIMENSIONS => Err(IndexError::TooLong(expected)),
        None => Ok(expected),
    }
}

/// A layer of at most `width` of each node's neighbours.
fn layer<L: AsRef<[u32]>>(nodes: impl IntoIterator<Item = L>, width: usize) -> Layer {
    let mut links = vec![];
    for (node, neighbours) in nodes.into_iter().enumerate() {
        let neighbours = neighbours.as_ref().iter().take(width);
        links.extend(neighbours);
        links.resize((node + 1) * width, NONE);
    }
    Layer { width, links }
}

/// The vectors that are no seeds, next to each other those that are near the same seed: of each its
/// number, and the nodes of its nearest seeds. `seeds` are the seeds' numbers in the nodes' order.
fn grouped(seeding: Seeding, seeds: &[u32]) -> Vec<(Vec<u32>, u32)> {
    let mut nodes = vec![NONE; seeding.near.len()];
    (0..).zip(seeds).for_each(|(node, &number)| nodes[number as usize] = node);
    let near = |near: &Nearest<ENTRIES>| {
        near.rows().map(|place| nodes[seeding.seeds[place as usize] as usize]).collect()
    };
    let rest = (0..).zip(&seeding.near).filter(|(number, _)| nodes[*number as usize] == NONE);
    let mut rest: Vec<(Vec<u32>, u32)> =
        rest.map(|(number, nearest)| (near(nearest), number)).collect();
    rest.sort_unstable_by_key(|(near, number)| (near.first().copied(), *number));
    rest
}

/// The numbers below `count`, each far from the one before: what is inserted at the same time and
/// after one another should not lie together.
fn scattered(count: usize) -> Vec<usize> {
    let start = count * 5 / 8;
    let step = (start..).find(|&step| common_divisor(step, count) == 1).unwrap_or(1);
    (0..count).map(|i| i * step % count).collect()
}

fn common_divisor(a: usize, b: usize) -> usize {
    if b == 0 { a } else { common_divisor(b, a % b) }
}

/// The numbers below `count`, in an order drawn from `seed`.
fn shuffled(count: usize, seed: u64) -> Vec<u32> {
    let mut state = seed;
    // SplitMix64 (Steele, Lea & Flood, 2014).
    let mut draw = move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    let mut order: Vec<u32> = (0..count as u32).collect();
    for i in (1..count).rev() {
        order.swap(i, (draw() % (i as u64 + 1)) as usize);
    }
    order
}

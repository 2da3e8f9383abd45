//! The CPU's half: some tokens' queries against a run of pages at a time.

use rayon::prelude::*;

use super::pages::{CpuPages, Layers, PagesShape};
use super::{PAGE, PagedSequences, fits};
use crate::KernelError;
use crate::cpu::{self, CpuBuffer, CpuDevice, Isa, Operands, PANEL, PANEL_ROWS, Stored, tiles};

/// Pages whose scores there are at a time. They are counted from a sequence's first, so that a
/// token's result is the same whatever is asked beside it.
const RUN: usize = 8;

/// Tokens that one task takes, all heads of them.
const BLOCK: usize = 16;

pub(crate) fn run(
    device: &CpuDevice,
    qkv: &CpuBuffer,
    pages: &mut CpuPages,
    layer: usize,
    paged: &PagedSequences,
    window: Option<u32>,
) -> Result<CpuBuffer, KernelError> {
    let shape = pages.shape;
    fits(shape, qkv.shape(), layer, paged)?;
    let heads = shape.heads;
    let mut y = device.take(qkv.rows(), heads.queries * heads.width);
    let attention = Attention { isa: device.isa, shape, paged, window, qkv };
    match &mut pages.layers {
        Layers::F32(layers) => attention.run(&mut layers[layer], y.data_mut()),
        Layers::F16(layers) => attention.run(&mut layers[layer], y.data_mut()),
    }
    Ok(y)
}

struct Attention<'a> {
    isa: Isa,
    shape: PagesShape,
    paged: &'a PagedSequences,
    window: Option<u32>,
    qkv: &'a CpuBuffer,
}

/// Queries of one sequence that one head of keys serves.
struct Queries<'a> {
    /// Of the first, among the new tokens, and in its sequence.
    row: usize,
    position: usize,
    /// Tokens.
    count: usize,
    /// Head of keys.
    head: usize,
    /// The sequence's.
    pages: &'a [u32],
}

/// Some rows of a task, which are multiplied together: each is one token's query by one of the heads
/// that share the keys.
struct Tile {
    /// The first row, of the task's.
    top: usize,
    height: usize,
    /// Each row's token in its sequence.
    positions: [usize; PANEL_ROWS],
    /// `[rows, width]`, scaled.
    queries: Vec<f32>,
    /// Panels `[rows, PANEL]` of the weighted sum of values.
    values: Vec<f32>,
    /// Each row's largest score so far, and its sum of weights.
    most: [f32; PANEL_ROWS],
    sums: [f32; PANEL_ROWS],
}

impl Attention<'_> {
    fn run<T: Stored>(&self, layer: &mut [T], y: &mut [f32]) {
        let heads = self.shape.heads;
        let size = self.shape.pages * self.shape.page_numbers().1;
        let keep = |(head, part): (usize, &mut [T])| self.keep(head, part);
        match self.qkv.rows() > BLOCK {
            true => layer.par_chunks_exact_mut(size).enumerate().for_each(keep),
            false => layer.chunks_exact_mut(size).enumerate().for_each(keep),
        }
        let (layer, group) = (&*layer, heads.queries / heads.keys);
        let sequences = self.paged.sequences();
        let single = sequences.ranges().all(|rows| rows.len() <= 1);
        let mut tasks = Vec::new();
        for (index, rows) in sequences.ranges().enumerate() {
            let (past, pages) = (self.paged.past[index] as usize, self.paged.pages(index));
            for row in rows.clone().step_by(BLOCK) {
                let position = past + row - rows.start;
                let count = BLOCK.min(rows.end - row);
                // Of single tokens each head is a task.
                let of = |head| Queries { row, position, count, head, pages };
                tasks.extend((0..if single { heads.keys } else { 1 }).map(of));
            }
        }
        let mut parts = Vec::with_capacity(tasks.len());
        let mut rest = y;
        for task in &tasks {
            let columns = if single { group } else { heads.queries } * heads.width;
            let (part, after) = rest.split_at_mut(task.count * columns);
            parts.push(part);
            rest = after;
        }
        let each = parts.into_par_iter().with_max_len(1).enumerate();
        each.for_each(|(index, out)| match single {
            true => {
                let keys = |next: &Queries| self.keys(layer, next, self.run_of(next));
                let next = tasks.get(index + 1).map_or(&[][..], keys);
                self.attend(layer, &tasks[index], out, group * heads.width, next);
            }
            false => (0..heads.keys).for_each(|head| {
                let (task, stride) =
                    (Queries { head, ..tasks[index] }, heads.queries * heads.width);
                let out = &mut out[head * group * heads.width..];
                self.attend(layer, &task, out, stride, &[]);
            }),
        });
    }

    /// Keys and values of a head in a page.
    fn page<'a, T>(&self, layer: &'a [T], head: usize, page: u32) -> (&'a [T], &'a [T]) {
        let (keys, size) = self.shape.page_numbers();
        layer[(head * self.shape.pages + page as usize) * size..][..size].split_at(keys)
    }

    /// The first keys of a run of pages.
    fn keys<'a, T>(&self, layer: &'a [T], task: &Queries, run: usize) -> &'a [T] {
        self.page(layer, task.head, task.pages[run * RUN]).0
    }

    /// The run of pages that a task begins with.
    fn run_of(&self, task: &Queries) -> usize {
        self.first(task.position) / PAGE / RUN
    }

    /// Keeps the new keys and values of a head.
    fn keep<T: Stored>(&self, head: usize, part: &mut [T]) {
        let (heads, columns) = (self.shape.heads, self.qkv.columns());
        let (d, (keys, size)) = (heads.width, self.shape.page_numbers());
        let key = (heads.queries + head) * d;
        let value = (heads.queries + heads.keys + head) * d;
        let mut numbers = vec![T::nearest(0.0); d];
        for (index, rows) in self.paged.sequences().ranges().enumerate() {
            let (past, pages) = (self.paged.past[index] as usize, self.paged.pages(index));
            for (position, row) in (past..).zip(rows) {
                let row = &self.qkv.data()[row * columns..][..columns];
                let (page, at) = (pages[position / PAGE] as usize, position % PAGE);
                let (k, v) = part[page * size..][..size].split_at_mut(keys);
                if at == 0 {
                    // What another sequence left here is multiplied by 0, which an infinity is not.
                    v.fill(T::nearest(0.0));
                }
                T::all_nearest(&row[key..key + d], &mut numbers);
                k[at..].iter_mut().step_by(PAGE).zip(&numbers).for_each(|(k, &x)| *k = x);
                let panels = v.chunks_exact_mut(PAGE * PANEL);
                for (panel, x) in panels.zip(row[value..value + d].chunks(PANEL)) {
                    T::all_nearest(x, &mut panel[at * PANEL..][..x.len()]);
                }
            }
        }
    }

    /// All queries of a task to `out`, whose rows, one a token, are `stride` apart. Each run of pages is
    /// taken by all tiles before the next is, so that keys and values are read from memory once. `next`
    /// are the keys that the next task begins with.
    fn attend<T: Stored>(
        &self,
        layer: &[T],
        task: &Queries,
        out: &mut [f32],
        stride: usize,
        next: &[T],
    ) {
        let heads = self.shape.heads;
        let (d, group) = (heads.width, heads.queries / heads.keys);
        let mut tiles: Vec<Tile> = tiles(task.count * group, PANEL_ROWS)
            .map(|(top, height)| self.tile(task, top, height))
            .collect();
        let mut scores = vec![0.0; PANEL_ROWS.min(task.count * group) * RUN * PAGE];
        let last = task.position + task.count - 1;
        for run in self.run_of(task)..=last / PAGE / RUN {
            let next =
                if run == last / PAGE / RUN { next } else { self.keys(layer, task, run + 1) };
            for tile in &mut tiles {
                self.take(layer, task, run, tile, &mut scores, next);
            }
        }
        for Tile { top, height, values, sums, .. } in &tiles {
            for (row, sum) in (*top..top + height).zip(sums) {
                let out = &mut out[row / group * stride + row % group * d..][..d];
                let panels = values.chunks_exact(height * PANEL);
                for (out, panel) in out.chunks_mut(PANEL).zip(panels) {
                    let values = &panel[(row - top) * PANEL..];
                    out.iter_mut().zip(values).for_each(|(out, x)| *out = x / sum);
                }
            }
        }
    }

    /// The first position that a token sees.
    fn first(&self, position: usize) -> usize {
        self.window.map_or(0, |window| (position + 1).saturating_sub(window as usize))
    }

    fn tile(&self, task: &Queries, top: usize, height: usize) -> Tile {
        let heads = self.shape.heads;
        let (d, group) = (heads.width, heads.queries / heads.keys);
        let scale = 1.0 / (d as f32).sqrt();
        let mut queries = vec![0.0; height * d];
        for (row, place) in (top..top + height).zip(queries.chunks_exact_mut(d)) {
            let at = (task.row + row / group) * self.qkv.columns();
            let query = &self.qkv.data()[at + (task.head * group + row % group) * d..][..d];
            place.iter_mut().zip(query).for_each(|(place, x)| *place = x * scale);
        }
        Tile {
            top,
            height,
            positions: std::array::from_fn(|row| task.position + (top + row) / group),
            queries,
            values: vec![0.0; height * d.next_multiple_of(PANEL)],
            most: [f32::NEG_INFINITY; PANEL_ROWS],
            sums: [0.0; PANEL_ROWS],
        }
    }

    /// What a tile's queries see of a run of pages, added to its weighted values.
    fn take<T: Stored>(
        &self,
        layer: &[T],
        task: &Queries,
        run: usize,
        tile: &mut Tile,
        scores: &mut [f32],
        next: &[T],
    ) {
        let &mut Tile { height, ref positions, ref queries, .. } = tile;
        let last = positions[height - 1] / PAGE;
        if !(self.first(positions[0]) / PAGE / RUN..=last / RUN).contains(&run) {
            return;
        }
        let d = self.shape.heads.width;
        let pages = &task.pages[run * RUN..=last.min(run * RUN + RUN - 1)];
        let page = |page: u32| self.page(layer, task.head, page);
        // Keys and values in the order in which they are read; other tiles find them in the caches.
        let after = |index: usize| match index + 1 {
            _ if tile.top > 0 => &[],
            next if next < pages.len() => page(pages[next]).0,
            next if next < 2 * pages.len() => page(pages[next - pages.len()]).1,
            _ => next,
        };
        for (index, &id) in pages.iter().enumerate() {
            self.isa.multiply_stored(Operands {
                rows: height,
                a: queries,
                a_stride: d,
                panel: page(id).0,
                next: after(index),
                out: &mut scores[index * PAGE..],
                out_stride: RUN * PAGE,
                add: false,
            });
        }
        let seen = run * RUN * PAGE;
        let (values, most, sums) = (&mut tile.values, &mut tile.most, &mut tile.sums);
        self.isa.each(
            #[inline(always)]
            || {
                for (row, scores) in scores.chunks_exact_mut(RUN * PAGE).enumerate().take(height) {
                    let end = (positions[row] + 1).saturating_sub(seen).min(pages.len() * PAGE);
                    let start = self.first(positions[row]).saturating_sub(seen).min(end);
                    let factor = weigh(scores, start..end, &mut most[row], &mut sums[row]);
                    if factor != 1.0 {
                        for panel in values.chunks_exact_mut(height * PANEL) {
                            panel[row * PANEL..][..PANEL].iter_mut().for_each(|x| *x *= factor);
                        }
                    }
                }
            },
        );
        for (index, &id) in pages.iter().enumerate() {
            let panels = page(id).1.chunks_exact(PAGE * PANEL).enumerate();
            let next = after(pages.len() + index);
            for ((at, panel), out) in panels.zip(values.chunks_exact_mut(height * PANEL)) {
                self.isa.multiply_stored(Operands {
                    rows: height,
                    a: &scores[index * PAGE..],
                    a_stride: RUN * PAGE,
                    panel,
                    next: next.get(at * PAGE * PANEL..).unwrap_or_default(),
                    out,
                    out_stride: PANEL,
                    add: true,
                });
            }
        }
    }
}

/// `exp(score - max)` of what a row sees of a run of pages, 0 of the rest. `most` and `sum` are of all
/// runs so far; what was summed up before is to be multiplied by the result.
#[inline(always)]
fn weigh(scores: &mut [f32], seen: std::ops::Range<usize>, most: &mut f32, sum: &mut f32) -> f32 {
    let end = seen.end;
    scores[..seen.start].fill(0.0);
    scores[end..].fill(0.0);
    let scores = &mut scores[seen];
    if scores.is_empty() {
        return 1.0;
    }
    let before = *most;
    let largest = cpu::max(scores);
    *most = if largest > before { largest } else { before };
    let now = *most;
    let weights = cpu::map_and_sum_in_order(scores, |x| cpu::exp(x - now));
    // Of the first run there is nothing before.
    let factor = if before == f32::NEG_INFINITY { 1.0 } else { cpu::exp(before - now) };
    *sum = *sum * factor + weights;
    factor
}

// y = x Wᵀ + b (+ residual), weights in panels as pack.rs lays them: 32 outputs side by side, each
// number made an f32 where it is used. A workgroup takes a panel and ROWS rows of x.
struct Shape {
    m: u32,
    // Outputs of this part of the weights.
    n: u32,
    k: u32,
    // Columns of y, and the first that this part gives.
    columns: u32,
    first_column: u32,
    panels: u32,
}
var<immediate> shape: Shape;

@group(0) @binding(0) var<storage, read> x: array<stored>; // [m, k]
@group(0) @binding(1) var<storage, read> panels: array<u32>;
@group(0) @binding(2) var<storage, read> bias: array<f32>; // [columns]
@group(0) @binding(3) var<storage, read> residual: array<stored>; // [m, columns]
@group(0) @binding(4) var<storage, read_write> y: array<stored>; // [m, columns]

const F32 = 0u;
const F16 = 1u;
const BF16 = 2u;
const BYTES = 3u;
const NIBBLES = 4u;
override BITS: u32 = 0u;
// Words before a block's runs, runs of a block, inputs of a run, what stands for 0.
override HEAD: u32 = 0u;
override RUNS: u32 = 1u;
override RUN: u32 = 32u;
override ZERO: u32 = 0u;
override ADD_RESIDUAL: bool = false;

const ROWS = 4u;
const COLUMNS = 32u;
const SCALES = 16u; // words

var<private> sums: array<f32, ROWS>;

fn add(top: u32, at: u32, weight: f32) {
    for (var row = 0u; row < ROWS; row++) {
        if top + row < shape.m {
            sums[row] += weight * f32(x[(top + row) * shape.k + at]);
        }
    }
}

fn byte(word: u32, at: u32) -> u32 {
    return word >> (8u * (at % 4u)) & 255u;
}

fn plain(top: u32, panel: u32, lane: u32) {
    let first = panel * shape.k * COLUMNS;
    for (var at = 0u; at < shape.k; at++) {
        let i = first + at * COLUMNS + lane;
        if BITS == F32 {
            add(top, at, bitcast<f32>(panels[i]));
        } else if BITS == F16 {
            add(top, at, unpack2x16float(panels[i / 2u])[i % 2u]);
        } else {
            add(top, at, bitcast<f32>((panels[i / 2u] >> (16u * (i % 2u))) << 16u));
        }
    }
}

fn blocks(top: u32, panel: u32, lane: u32) {
    let words = select(RUN / 4u, RUN / 8u, BITS == NIBBLES) * COLUMNS;
    let block = HEAD + RUNS * (SCALES + words);
    var at = panel * (shape.k / (RUNS * RUN)) * block;
    for (var first = 0u; first < shape.k;) {
        let head = at;
        at += HEAD;
        for (var run = 0u; run < RUNS; run++) {
            var scale: f32;
            var least = 0.0;
            if HEAD == 0u {
                scale = unpack2x16float(panels[at + lane / 2u])[lane % 2u];
            } else {
                let s = i32(byte(panels[at + lane / 4u], lane) << 24u) >> 24u;
                scale = bitcast<f32>(panels[head + lane]) * f32(s);
                if HEAD == 2u * COLUMNS {
                    let m = byte(panels[at + (COLUMNS + lane) / 4u], lane);
                    least = bitcast<f32>(panels[head + COLUMNS + lane]) * f32(m);
                }
            }
            for (var i = 0u; i < RUN; i++) {
                var word = i / 4u;
                var shift = 0u;
                var mask = 255u;
                if BITS == NIBBLES {
                    word = i / 4u % (RUN / 8u);
                    shift = 4u * (i / (RUN / 2u));
                    mask = 15u;
                }
                let code = byte(panels[at + SCALES + word * COLUMNS + lane], i) >> shift & mask;
                add(top, first + i, scale * f32(i32(code) - i32(ZERO)) - least);
            }
            at += SCALES + words;
            first += RUN;
        }
    }
}

@compute @workgroup_size(COLUMNS)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let task = group.y * groups.x + group.x;
    let panel = task % shape.panels;
    let top = task / shape.panels * ROWS;
    if top >= shape.m {
        return;
    }
    if BITS == BYTES || BITS == NIBBLES {
        blocks(top, panel, lane);
    } else {
        plain(top, panel, lane);
    }
    let column = panel * COLUMNS + lane;
    if column >= shape.n {
        return;
    }
    let whole_column = shape.first_column + column;
    for (var row = 0u; row < ROWS; row++) {
        if top + row < shape.m {
            let at = (top + row) * shape.columns + whole_column;
            var value = sums[row] + bias[whole_column];
            if ADD_RESIDUAL {
                value += f32(residual[at]);
            }
            y[at] = stored(value);
        }
    }
}

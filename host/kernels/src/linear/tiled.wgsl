// y = f(x Wᵀ + b) in tiles of 64x64, 4x4 elements an invocation. Sums run over k from 0 upwards.
struct Shape {
    m: u32,
    // Rows of this part of the weights.
    n: u32,
    k: u32,
    // Columns of y, and the first that this part gives.
    columns: u32,
    first_column: u32,
}
var<immediate> shape: Shape;

@group(0) @binding(0) var<storage, read> x: array<stored>; // [m, k]
@group(0) @binding(1) var<storage, read> weight: array<stored>; // [n, k]
@group(0) @binding(2) var<storage, read> bias: array<f32>; // [columns]
@group(0) @binding(3) var<storage, read> residual: array<stored>; // [m, columns]
@group(0) @binding(4) var<storage, read_write> y: array<stored>; // [m, columns]

override ACTIVATION: u32 = 0u;

const TILE = 64u;
const DEPTH = 16u;
// Fours of a tile's edge, one more so that a column's writes spread over the memory's banks.
const PITCH = TILE / 4u + 1u;
// [DEPTH, TILE] each, in fours.
var<workgroup> rows: array<vec4<f32>, DEPTH * PITCH>;
var<workgroup> columns: array<vec4<f32>, DEPTH * PITCH>;

fn element_of_x(row: u32, at: u32) -> f32 {
    if row < shape.m && at < shape.k {
        return f32(x[row * shape.k + at]);
    }
    return 0.0;
}

fn element_of_weight(row: u32, at: u32) -> f32 {
    if row < shape.n && at < shape.k {
        return f32(weight[row * shape.k + at]);
    }
    return 0.0;
}

fn finish(row: u32, column: u32, value: f32) {
    if row >= shape.m || column >= shape.n {
        return;
    }
    let whole_column = shape.first_column + column;
    let at = row * shape.columns + whole_column;
    var result = activate(ACTIVATION, value + bias[whole_column]);
    if ACTIVATION == RESIDUAL {
        result += f32(residual[at]);
    }
    y[at] = stored(result);
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let top = group.y * TILE;
    let left = group.x * TILE;
    let across = lane % 16u;
    let down = lane / 16u;
    var sums: array<vec4<f32>, 4>;
    for (var first = 0u; first < shape.k; first += DEPTH) {
        let at = first + across;
        let row = top + down * 4u;
        rows[across * PITCH + down] = vec4(
            element_of_x(row, at),
            element_of_x(row + 1u, at),
            element_of_x(row + 2u, at),
            element_of_x(row + 3u, at),
        );
        let column = left + down * 4u;
        columns[across * PITCH + down] = vec4(
            element_of_weight(column, at),
            element_of_weight(column + 1u, at),
            element_of_weight(column + 2u, at),
            element_of_weight(column + 3u, at),
        );
        workgroupBarrier();
        for (var i = 0u; i < DEPTH; i++) {
            let a = rows[i * PITCH + down];
            let b = columns[i * PITCH + across];
            sums[0] += a.x * b;
            sums[1] += a.y * b;
            sums[2] += a.z * b;
            sums[3] += a.w * b;
        }
        workgroupBarrier();
    }
    for (var i = 0u; i < 4u; i++) {
        for (var j = 0u; j < 4u; j++) {
            finish(top + down * 4u + i, left + across * 4u + j, sums[i][j]);
        }
    }
}

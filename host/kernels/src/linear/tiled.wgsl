// y = f(x Wᵀ + b) in tiles of 64x64, 8x8 elements an invocation. Sums run over k from 0 upwards.
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
// Columns of a step: as many as the memory that a workgroup shares has room for.
override DEPTH: u32 = 32u;
// Fours of a tile's edge, one more so that a column's writes spread over the memory's banks.
const PITCH = TILE / 4u + 1u;
// [DEPTH, TILE] each, in fours.
override STEP: u32 = DEPTH * PITCH;
var<workgroup> rows: array<vec4<f32>, STEP>;
var<workgroup> columns: array<vec4<f32>, STEP>;

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

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let top = group.y * TILE;
    let left = group.x * TILE;
    // The invocation's fours: rows 4 down and 32 + 4 down, columns 4 across and 32 + 4 across.
    let across = lane % 8u;
    let down = lane / 8u;
    // Row by row, the left four and the right.
    var sums: array<vec4<f32>, 16>;
    for (var first = 0u; first < shape.k; first += DEPTH) {
        for (var i = lane; i < DEPTH * TILE / 4u; i += 64u) {
            let at = i % DEPTH;
            let four = i / DEPTH;
            let row = top + four * 4u;
            rows[at * PITCH + four] = vec4(
                element_of_x(row, first + at),
                element_of_x(row + 1u, first + at),
                element_of_x(row + 2u, first + at),
                element_of_x(row + 3u, first + at),
            );
            let column = left + four * 4u;
            columns[at * PITCH + four] = vec4(
                element_of_weight(column, first + at),
                element_of_weight(column + 1u, first + at),
                element_of_weight(column + 2u, first + at),
                element_of_weight(column + 3u, first + at),
            );
        }
        workgroupBarrier();
        for (var i = 0u; i < DEPTH; i++) {
            let upper = rows[i * PITCH + down];
            let lower = rows[i * PITCH + 8u + down];
            let near = columns[i * PITCH + across];
            let far = columns[i * PITCH + 8u + across];
            sums[0] += upper.x * near;
            sums[1] += upper.x * far;
            sums[2] += upper.y * near;
            sums[3] += upper.y * far;
            sums[4] += upper.z * near;
            sums[5] += upper.z * far;
            sums[6] += upper.w * near;
            sums[7] += upper.w * far;
            sums[8] += lower.x * near;
            sums[9] += lower.x * far;
            sums[10] += lower.y * near;
            sums[11] += lower.y * far;
            sums[12] += lower.z * near;
            sums[13] += lower.z * far;
            sums[14] += lower.w * near;
            sums[15] += lower.w * far;
        }
        workgroupBarrier();
    }
    for (var i = 0u; i < 16u; i++) {
        let row = top + i / 8u * 32u + down * 4u + i / 2u % 4u;
        let column = left + i % 2u * 32u + across * 4u;
        for (var j = 0u; j < 4u; j++) {
            finish(row, column + j, sums[i][j]);
        }
    }
}

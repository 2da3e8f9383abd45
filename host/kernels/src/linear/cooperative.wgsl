// y = f(x Wᵀ + b) on matrix units: f16 operands, f32 sums. A workgroup computes a square tile of
// y, a subgroup 4 by 2 matrix tiles of it. Operands pass through workgroup memory, two buffers in
// turn: while the units multiply one, the next lies in registers on its way to the other.
//
// k is a multiple of DEPTH, columns of 4; rows beyond the edges repeat the last and are not written.
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

@group(0) @binding(0) var<storage, read> x: array<stored4>; // [m, k]
@group(0) @binding(1) var<storage, read> weight: array<stored4>; // [n, k]
@group(0) @binding(2) var<storage, read> bias: array<vec4<f32>>; // [columns]
@group(0) @binding(3) var<storage, read> residual: array<stored4>; // [m, columns]
@group(0) @binding(4) var<storage, read_write> y: array<stored4>; // [m, columns]

override ACTIVATION: u32 = 0u;
// Invocations of a subgroup.
override SUBGROUP: u32 = 32u;
// Subgroups down the tile; twice as many across it.
override DOWN: u32 = 2u;

override ACROSS: u32 = DOWN * 2u;
override LANES: u32 = SUBGROUP * DOWN * ACROSS;
override TILE: u32 = DOWN * 4u * EDGE;
// So that each invocation brings four fours of x and four of the weights a step.
override DEPTH: u32 = 16u * LANES / TILE;
override DEPTH_FOURS: u32 = DEPTH / 4u;
// Two fours of padding: rows begin in different banks of the memory.
override PITCH: u32 = DEPTH_FOURS + 2u;
override BUFFER: u32 = TILE * PITCH;
override BUFFERS: u32 = 2u * BUFFER;
override STAGE: u32 = EDGE * EDGE;
override STAGES: u32 = DOWN * ACROSS * STAGE;
var<workgroup> rows: array<stored4, BUFFERS>;
var<workgroup> columns: array<stored4, BUFFERS>;
// A finished matrix tile of each subgroup, on its way to y.
var<workgroup> staged: array<f32, STAGES>;

// The place of an invocation's part `part` within a tile, as a row and a four.
fn place(lane: u32, part: u32) -> vec2<u32> {
    let at = lane + part * LANES;
    return vec2(at / DEPTH_FOURS, at % DEPTH_FOURS);
}

fn of_x(top: u32, lane: u32, part: u32, first_four: u32) -> stored4 {
    let at = place(lane, part);
    return x[min(top + at.x, shape.m - 1u) * (shape.k / 4u) + first_four + at.y];
}

fn of_weight(left: u32, lane: u32, part: u32, first_four: u32) -> stored4 {
    let at = place(lane, part);
    return weight[min(left + at.x, shape.n - 1u) * (shape.k / 4u) + first_four + at.y];
}

fn slot(lane: u32, part: u32) -> u32 {
    let at = place(lane, part);
    return at.x * PITCH + at.y;
}

// Writes the subgroup's staged matrix tile, whose upper left element is y[row, column].
fn write(row: u32, column: u32, stage: u32, lane: u32) {
    for (var i = lane; i < STAGE / 4u; i += SUBGROUP) {
        let down = i / (EDGE / 4u);
        let across = i % (EDGE / 4u) * 4u;
        if row + down < shape.m && column + across < shape.n {
            let at_stage = stage + down * EDGE + across;
            let sums = vec4(staged[at_stage], staged[at_stage + 1u], staged[at_stage + 2u], staged[at_stage + 3u]);
            let four = (shape.first_column + column + across) / 4u;
            let at = (row + down) * (shape.columns / 4u) + four;
            let biased = sums + bias[four];
            var result = vec4(
                activate(ACTIVATION, biased.x),
                activate(ACTIVATION, biased.y),
                activate(ACTIVATION, biased.z),
                activate(ACTIVATION, biased.w),
            );
            if ACTIVATION == RESIDUAL {
                result += vec4<f32>(residual[at]);
            }
            y[at] = stored4(result);
        }
    }
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let top = group.y * TILE;
    let left = group.x * TILE;
    let subgroup = lane / SUBGROUP;
    let down = subgroup / ACROSS * 4u * EDGE;
    let across = subgroup % ACROSS * 2u * EDGE;
    let slot0 = slot(lane, 0u);
    let slot1 = slot(lane, 1u);
    let slot2 = slot(lane, 2u);
    let slot3 = slot(lane, 3u);

    rows[slot0] = of_x(top, lane, 0u, 0u);
    rows[slot1] = of_x(top, lane, 1u, 0u);
    rows[slot2] = of_x(top, lane, 2u, 0u);
    rows[slot3] = of_x(top, lane, 3u, 0u);
    columns[slot0] = of_weight(left, lane, 0u, 0u);
    columns[slot1] = of_weight(left, lane, 1u, 0u);
    columns[slot2] = of_weight(left, lane, 2u, 0u);
    columns[slot3] = of_weight(left, lane, 3u, 0u);
    workgroupBarrier();

    // Named one by one: an array of them would be indexed at run time on some drivers.
    var c00: matrix_c;
    var c01: matrix_c;
    var c10: matrix_c;
    var c11: matrix_c;
    var c20: matrix_c;
    var c21: matrix_c;
    var c30: matrix_c;
    var c31: matrix_c;
    let steps = shape.k / DEPTH;
    for (var step = 0u; step < steps; step++) {
        let buffer = step % 2u * BUFFER;
        let next = min(step + 1u, steps - 1u) * DEPTH_FOURS;
        let x0 = of_x(top, lane, 0u, next);
        let x1 = of_x(top, lane, 1u, next);
        let x2 = of_x(top, lane, 2u, next);
        let x3 = of_x(top, lane, 3u, next);
        let w0 = of_weight(left, lane, 0u, next);
        let w1 = of_weight(left, lane, 1u, next);
        let w2 = of_weight(left, lane, 2u, next);
        let w3 = of_weight(left, lane, 3u, next);
        for (var i = 0u; i < DEPTH_FOURS; i += EDGE / 4u) {
            let row = buffer + down * PITCH + i;
            let row1 = row + EDGE * PITCH;
            let row2 = row1 + EDGE * PITCH;
            let row3 = row2 + EDGE * PITCH;
            let column = buffer + across * PITCH + i;
            let column1 = column + EDGE * PITCH;
            let a0 = coopLoadT<matrix_a>(&rows[row], PITCH);
            let a1 = coopLoadT<matrix_a>(&rows[row1], PITCH);
            let a2 = coopLoadT<matrix_a>(&rows[row2], PITCH);
            let a3 = coopLoadT<matrix_a>(&rows[row3], PITCH);
            // [n, k] row by row is [k, n] column by column.
            let b0 = coopLoad<matrix_b>(&columns[column], PITCH);
            let b1 = coopLoad<matrix_b>(&columns[column1], PITCH);
            c00 = coopMultiplyAdd(a0, b0, c00);
            c01 = coopMultiplyAdd(a0, b1, c01);
            c10 = coopMultiplyAdd(a1, b0, c10);
            c11 = coopMultiplyAdd(a1, b1, c11);
            c20 = coopMultiplyAdd(a2, b0, c20);
            c21 = coopMultiplyAdd(a2, b1, c21);
            c30 = coopMultiplyAdd(a3, b0, c30);
            c31 = coopMultiplyAdd(a3, b1, c31);
        }
        let other = BUFFER - buffer;
        rows[other + slot0] = x0;
        rows[other + slot1] = x1;
        rows[other + slot2] = x2;
        rows[other + slot3] = x3;
        columns[other + slot0] = w0;
        columns[other + slot1] = w1;
        columns[other + slot2] = w2;
        columns[other + slot3] = w3;
        workgroupBarrier();
    }

    let stage = subgroup * STAGE;
    let row = top + down;
    let column = left + across;
    let member = lane % SUBGROUP;
    coopStoreT(c00, &staged[stage], EDGE);
    workgroupBarrier();
    write(row, column, stage, member);
    workgroupBarrier();
    coopStoreT(c01, &staged[stage], EDGE);
    workgroupBarrier();
    write(row, column + EDGE, stage, member);
    workgroupBarrier();
    coopStoreT(c10, &staged[stage], EDGE);
    workgroupBarrier();
    write(row + EDGE, column, stage, member);
    workgroupBarrier();
    coopStoreT(c11, &staged[stage], EDGE);
    workgroupBarrier();
    write(row + EDGE, column + EDGE, stage, member);
    workgroupBarrier();
    coopStoreT(c20, &staged[stage], EDGE);
    workgroupBarrier();
    write(row + 2u * EDGE, column, stage, member);
    workgroupBarrier();
    coopStoreT(c21, &staged[stage], EDGE);
    workgroupBarrier();
    write(row + 2u * EDGE, column + EDGE, stage, member);
    workgroupBarrier();
    coopStoreT(c30, &staged[stage], EDGE);
    workgroupBarrier();
    write(row + 3u * EDGE, column, stage, member);
    workgroupBarrier();
    coopStoreT(c31, &staged[stage], EDGE);
    workgroupBarrier();
    write(row + 3u * EDGE, column + EDGE, stage, member);
}

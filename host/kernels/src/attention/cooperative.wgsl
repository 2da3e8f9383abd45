// Attention over packed sequences on matrix units. A workgroup takes the queries of four matrix
// tiles, one a subgroup, of one sequence and one head, and passes over the keys twice: first for
// each query's largest score and the sum of its exponentials (Milakov & Gimelshein 2018), then for
// the weights themselves, which are final, so that the sums in the units never need rescaling. No
// score leaves the workgroup.
//
// HEAD is a multiple of EDGE, 4 EDGE at most; SUBGROUP is a multiple of EDGE.
struct Shape {
    hidden: u32,
    scale: f32,
}
var<immediate> shape: Shape;

// A row: queries, keys and values of all heads side by side.
@group(0) @binding(0) var<storage, read> qkv: array<stored4>; // [tokens, 3 hidden]
// First row and row after the last of the sequence, first query of 64.
@group(0) @binding(1) var<storage, read> blocks: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read_write> context: array<stored>; // [tokens, hidden]

// Columns of a head.
override HEAD: u32 = 32u;
// Invocations of a subgroup.
override SUBGROUP: u32 = 32u;

const SUBGROUPS = 4u;
const BLOCK = 64u;
const QUERIES = SUBGROUPS * EDGE;
const KEYS = 2u * EDGE;
const LOWEST = -3.4028234e38;
override LANES: u32 = SUBGROUPS * SUBGROUP;
// Invocations a query.
override SHARE: u32 = SUBGROUP / EDGE;
override FOURS: u32 = HEAD / 4u;
// Two fours of padding: rows begin in different banks of the memory.
override PITCH: u32 = FOURS + 2u;
override QUERY_SIZE: u32 = QUERIES * PITCH;
override KEY_SIZE: u32 = KEYS * PITCH;
const KEY_PITCH = KEYS / 4u + 2u;
const WEIGHT_SIZE = QUERIES * KEY_PITCH;
const SCORE_SIZE = QUERIES * KEYS;
var<workgroup> queries: array<stored4, QUERY_SIZE>;
var<workgroup> keys: array<stored4, KEY_SIZE>;
var<workgroup> values: array<stored4, KEY_SIZE>;
// Of each subgroup its own part, [EDGE, KEYS].
var<workgroup> scores: array<f32, SCORE_SIZE>;
var<workgroup> weights: array<stored4, WEIGHT_SIZE>;
// Of each invocation: its largest score, and the sum of exponentials under it.
var<workgroup> largest: array<f32, LANES>;
var<workgroup> totals: array<f32, LANES>;

// Four columns of a row, zeros beyond the sequence: what lies there may be no number.
fn load(row: u32, end: u32, first: u32, four: u32) -> stored4 {
    if row < end {
        return qkv[(row * 3u * shape.hidden + first) / 4u + four];
    }
    return stored4();
}

fn load_keys(first: u32, end: u32, column: u32, lane: u32) {
    for (var i = lane; i < KEYS * FOURS; i += LANES) {
        keys[i / FOURS * PITCH + i % FOURS] = load(first + i / FOURS, end, shape.hidden + column, i % FOURS);
    }
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let parts = BLOCK / QUERIES;
    let block = blocks[group.y / parts];
    let begin = block.x;
    let end = block.y;
    let top = block.z + group.y % parts * QUERIES;
    if top >= end {
        return;
    }
    let column = group.x * HEAD;
    for (var i = lane; i < QUERIES * FOURS; i += LANES) {
        queries[i / FOURS * PITCH + i % FOURS] = load(top + i / FOURS, end, column, i % FOURS);
    }
    let subgroup = lane / SUBGROUP;
    let member = lane % SUBGROUP;
    // The invocation's query within its subgroup's tile, and its share of a tile's keys.
    let row = member / SHARE;
    let share = member % SHARE;
    let stage = subgroup * EDGE * KEYS;
    let stage1 = stage + EDGE;
    let first_query = subgroup * EDGE * PITCH;

    var most = LOWEST;
    var sum = 0.0;
    for (var first = begin; first < end; first += KEYS) {
        load_keys(first, end, column, lane);
        workgroupBarrier();
        var s0: matrix_c;
        var s1: matrix_c;
        for (var i = 0u; i < FOURS; i += EDGE / 4u) {
            let query = first_query + i;
            let key1 = EDGE * PITCH + i;
            let a = coopLoadT<matrix_a>(&queries[query], PITCH);
            let b0 = coopLoad<matrix_b>(&keys[i], PITCH);
            let b1 = coopLoad<matrix_b>(&keys[key1], PITCH);
            s0 = coopMultiplyAdd(a, b0, s0);
            s1 = coopMultiplyAdd(a, b1, s1);
        }
        coopStoreT(s0, &scores[stage], KEYS);
        coopStoreT(s1, &scores[stage1], KEYS);
        workgroupBarrier();
        let before = most;
        let seen = min(KEYS, end - first);
        for (var key = share; key < seen; key += SHARE) {
            most = max(most, scores[stage + row * KEYS + key] * shape.scale);
        }
        sum *= exp(before - most);
        for (var key = share; key < seen; key += SHARE) {
            sum += exp(scores[stage + row * KEYS + key] * shape.scale - most);
        }
    }
    largest[lane] = most;
    totals[lane] = sum;
    workgroupBarrier();
    sum = 0.0;
    for (var i = 0u; i < SHARE; i++) {
        most = max(most, largest[lane - share + i]);
    }
    for (var i = 0u; i < SHARE; i++) {
        sum += totals[lane - share + i] * exp(largest[lane - share + i] - most);
    }

    // The head's columns, a matrix tile each.
    var c0: matrix_c;
    var c1: matrix_c;
    var c2: matrix_c;
    var c3: matrix_c;
    for (var first = begin; first < end; first += KEYS) {
        load_keys(first, end, column, lane);
        for (var i = lane; i < KEYS * FOURS; i += LANES) {
            values[i / FOURS * PITCH + i % FOURS] =
                load(first + i / FOURS, end, 2u * shape.hidden + column, i % FOURS);
        }
        workgroupBarrier();
        var s0: matrix_c;
        var s1: matrix_c;
        for (var i = 0u; i < FOURS; i += EDGE / 4u) {
            let query = first_query + i;
            let key1 = EDGE * PITCH + i;
            let a = coopLoadT<matrix_a>(&queries[query], PITCH);
            let b0 = coopLoad<matrix_b>(&keys[i], PITCH);
            let b1 = coopLoad<matrix_b>(&keys[key1], PITCH);
            s0 = coopMultiplyAdd(a, b0, s0);
            s1 = coopMultiplyAdd(a, b1, s1);
        }
        coopStoreT(s0, &scores[stage], KEYS);
        coopStoreT(s1, &scores[stage1], KEYS);
        workgroupBarrier();
        for (var four = share; four < KEYS / 4u; four += SHARE) {
            var weight = vec4<f32>();
            for (var i = 0u; i < 4u; i++) {
                let key = four * 4u + i;
                let score = scores[stage + row * KEYS + key] * shape.scale;
                // Chosen, not multiplied: beyond the sequence a score may be anything.
                weight[i] = select(0.0, exp(min(score - most, 0.0)) / sum, first + key < end);
            }
            weights[(subgroup * EDGE + row) * KEY_PITCH + four] = stored4(weight);
        }
        workgroupBarrier();
        for (var i = 0u; i < 2u; i++) {
            let weight = subgroup * EDGE * KEY_PITCH + i * EDGE / 4u;
            let value = i * EDGE * PITCH;
            let a = coopLoadT<matrix_a>(&weights[weight], KEY_PITCH);
            let b0 = coopLoadT<matrix_b>(&values[value], PITCH);
            c0 = coopMultiplyAdd(a, b0, c0);
            if HEAD > EDGE {
                let value1 = value + EDGE / 4u;
                let b1 = coopLoadT<matrix_b>(&values[value1], PITCH);
                c1 = coopMultiplyAdd(a, b1, c1);
            }
            if HEAD > 2u * EDGE {
                let value2 = value + EDGE / 2u;
                let b2 = coopLoadT<matrix_b>(&values[value2], PITCH);
                c2 = coopMultiplyAdd(a, b2, c2);
            }
            if HEAD > 3u * EDGE {
                let value3 = value + EDGE / 4u * 3u;
                let b3 = coopLoadT<matrix_b>(&values[value3], PITCH);
                c3 = coopMultiplyAdd(a, b3, c3);
            }
        }
        workgroupBarrier();
    }

    for (var tile = 0u; tile < HEAD / EDGE; tile++) {
        switch tile {
            case 0u: { coopStoreT(c0, &scores[stage], EDGE); }
            case 1u: { coopStoreT(c1, &scores[stage], EDGE); }
            case 2u: { coopStoreT(c2, &scores[stage], EDGE); }
            default: { coopStoreT(c3, &scores[stage], EDGE); }
        }
        workgroupBarrier();
        for (var i = member; i < EDGE * EDGE; i += SUBGROUP) {
            let token = top + subgroup * EDGE + i / EDGE;
            if token < end {
                let at = token * shape.hidden + column + tile * EDGE + i % EDGE;
                context[at] = stored(scores[stage + i]);
            }
        }
        workgroupBarrier();
    }
}

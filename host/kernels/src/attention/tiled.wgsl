// Attention over packed sequences with an online softmax (Milakov & Gimelshein 2018; Dao et al.
// 2022): a workgroup takes 16 queries of one sequence and one head, and passes over the keys and
// values a tile at a time. No score leaves the workgroup.
struct Shape {
    hidden: u32,
    scale: f32,
}
var<immediate> shape: Shape;

// A row: queries, keys and values of all heads side by side.
@group(0) @binding(0) var<storage, read> qkv: array<stored>; // [tokens, 3 hidden]
// First row and row after the last of the sequence, first query of 64.
@group(0) @binding(1) var<storage, read> blocks: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read_write> context: array<stored>; // [tokens, hidden]

// Columns of a head, and keys of a tile.
override HEAD: u32 = 32u;
override KEYS: u32 = 32u;

const BLOCK = 64u;
const QUERIES = 16u;
// Invocations a query; each has some of its keys, and some of the head's columns.
const SHARE = 8u;
const LANES = QUERIES * SHARE;
const LOWEST = -3.4028234e38;
// Fours of a head, filled up with zeros.
override FOURS: u32 = (HEAD + 3u) / 4u;
override QUERY_FOURS: u32 = QUERIES * FOURS;
override KEY_FOURS: u32 = KEYS * FOURS;
override SCORES: u32 = QUERIES * KEYS;
var<workgroup> queries: array<vec4<f32>, QUERY_FOURS>;
var<workgroup> keys: array<vec4<f32>, KEY_FOURS>;
var<workgroup> values: array<vec4<f32>, KEY_FOURS>;
var<workgroup> scores: array<f32, SCORES>;

// Four columns of row `row`, zeros beyond the head and the sequence.
fn load(row: u32, end: u32, first: u32, column: u32) -> vec4<f32> {
    var four = vec4<f32>();
    if row < end {
        let at = row * 3u * shape.hidden + first + column;
        for (var i = 0u; i < min(4u, HEAD - column); i++) {
            four[i] = f32(qkv[at + i]);
        }
    }
    return four;
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
    let head = group.x * HEAD;
    for (var i = lane; i < QUERY_FOURS; i += LANES) {
        queries[i] = load(top + i / FOURS, end, head, i % FOURS * 4u) * shape.scale;
    }
    let query = lane / SHARE;
    let share = lane % SHARE;
    var most = LOWEST;
    var sum = 0.0;
    var sums: array<vec4<f32>, 8>; // of the columns' fours share, share + SHARE, ...
    for (var first = begin; first < end; first += KEYS) {
        for (var i = lane; i < KEY_FOURS; i += LANES) {
            keys[i] = load(first + i / FOURS, end, shape.hidden + head, i % FOURS * 4u);
            values[i] = load(first + i / FOURS, end, 2u * shape.hidden + head, i % FOURS * 4u);
        }
        workgroupBarrier();
        for (var key = share; key < KEYS; key += SHARE) {
            var score = 0.0;
            for (var i = 0u; i < FOURS; i++) {
                score += dot(queries[query * FOURS + i], keys[key * FOURS + i]);
            }
            scores[query * KEYS + key] = select(LOWEST, score, first + key < end);
        }
        workgroupBarrier();
        let before = most;
        for (var key = 0u; key < KEYS; key++) {
            most = max(most, scores[query * KEYS + key]);
        }
        workgroupBarrier();
        for (var key = share; key < KEYS; key += SHARE) {
            let at = query * KEYS + key;
            scores[at] = exp(scores[at] - most);
        }
        workgroupBarrier();
        let kept = exp(before - most);
        sum *= kept;
        for (var i = 0u; i < 8u; i++) {
            sums[i] *= kept;
        }
        for (var key = 0u; key < KEYS; key++) {
            let weight = scores[query * KEYS + key];
            sum += weight;
            for (var i = share; i < FOURS; i += SHARE) {
                sums[i / SHARE] += weight * values[key * FOURS + i];
            }
        }
        workgroupBarrier();
    }
    let row = top + query;
    if row >= end {
        return;
    }
    for (var i = share; i < FOURS; i += SHARE) {
        let four = sums[i / SHARE] / sum;
        for (var j = 0u; j < min(4u, HEAD - i * 4u); j++) {
            context[row * shape.hidden + head + i * 4u + j] = stored(four[j]);
        }
    }
}

// Causal attention over pages: a workgroup a head of a token. Each lane takes a key of a tile, then
// each lane some columns of the values.
struct Shape {
    tokens: u32,
    queries: u32,
    keys: u32,
    width: u32,
    window: u32,
    scale: f32,
}
var<immediate> shape: Shape;

@group(0) @binding(0) var<storage, read> qkv: array<stored>; // [tokens, (queries + 2 keys) width]
@group(0) @binding(1) var<storage, read> tokens: array<vec2<u32>>; // position, first of its pages
@group(0) @binding(2) var<storage, read> tables: array<u32>;
@group(0) @binding(3) var<storage, read> pages: array<stored>;
@group(0) @binding(4) var<storage, read_write> y: array<stored>; // [tokens, queries width]

const PAGE = 32u;
const HEAD_MOST = 256u;
const COLUMNS = HEAD_MOST / LANES;
var<workgroup> query: array<f32, HEAD_MOST>;
var<workgroup> weights: array<f32, LANES>;

// Where a key's head begins in its page.
fn place(table: u32, key: u32, head: u32) -> u32 {
    return (tables[table + key / PAGE] * shape.keys + head) * 2u * PAGE * shape.width;
}

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let task = group.y * groups.x + group.x;
    let row = task / shape.queries;
    if row >= shape.tokens {
        return;
    }
    let head = task % shape.queries;
    let key_head = head / (shape.queries / shape.keys);
    let position = tokens[row].x;
    let table = tokens[row].y;
    let columns = (shape.queries + 2u * shape.keys) * shape.width;
    for (var i = lane; i < shape.width; i += LANES) {
        query[i] = f32(qkv[row * columns + head * shape.width + i]) * shape.scale;
    }
    workgroupBarrier();
    var sums: array<f32, COLUMNS>;
    var most = -1e30;
    var total = 0.0;
    let seen = min(shape.window, position + 1u);
    for (var first = position + 1u - seen; first <= position; first += LANES) {
        let key = first + lane;
        var score = -1e30;
        if key <= position {
            let start = place(table, key, key_head) + key % PAGE;
            score = 0.0;
            for (var i = 0u; i < shape.width; i++) {
                score += query[i] * f32(pages[start + i * PAGE]);
            }
        }
        let largest = max(most, workgroup_most(score, lane));
        let weight = select(0.0, exp(score - largest), key <= position);
        let factor = exp(most - largest);
        most = largest;
        total = total * factor + workgroup_sum(weight, lane);
        weights[lane] = weight;
        workgroupBarrier();
        for (var c = 0u; c < COLUMNS; c++) {
            sums[c] *= factor;
        }
        for (var other = 0u; other < min(LANES, position + 1u - first); other++) {
            let at = first + other;
            let start = place(table, at, key_head) + (PAGE + at % PAGE) * shape.width;
            for (var c = 0u; c < COLUMNS; c++) {
                let i = c * LANES + lane;
                if i < shape.width {
                    sums[c] += weights[other] * f32(pages[start + i]);
                }
            }
        }
        workgroupBarrier();
    }
    for (var c = 0u; c < COLUMNS; c++) {
        let i = c * LANES + lane;
        if i < shape.width {
            y[(row * shape.queries + head) * shape.width + i] = stored(sums[c] / total);
        }
    }
}

// The largest of every lane's values.
fn workgroup_most(value: f32, lane: u32) -> f32 {
    workgroupBarrier();
    partial_sums[lane] = value;
    workgroupBarrier();
    for (var width = LANES / 2u; width > 0u; width /= 2u) {
        if lane < width {
            partial_sums[lane] = max(partial_sums[lane], partial_sums[lane + width]);
        }
        workgroupBarrier();
    }
    return partial_sums[0];
}

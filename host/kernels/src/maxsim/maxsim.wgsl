// The mean over a query's tokens of the best cosine with a token of the passage: a workgroup a
// pair, 16 query tokens by 16 passage tokens at a time.
struct Shape {
    pairs: u32,
    width: u32,
}
var<immediate> shape: Shape;

@group(0) @binding(0) var<storage, read> x: array<stored>; // [tokens, width]
@group(0) @binding(1) var<storage, read> starts: array<u32>; // [sequences + 1]
@group(0) @binding(2) var<storage, read> pairs: array<vec2<u32>>; // [pairs]: query, passage
@group(0) @binding(3) var<storage, read_write> scores: array<f32>; // [pairs]

const TILE = 16u;
const DEPTH = 16u;
const LOWEST = -3.4028234e38;
var<workgroup> query: array<f32, TILE * (DEPTH + 1u)>;
var<workgroup> passage: array<f32, TILE * (DEPTH + 1u)>;
var<workgroup> best: array<f32, TILE * TILE>;
var<workgroup> bounds: vec4<u32>;

fn element(row: u32, end: u32, column: u32) -> f32 {
    if row < end && column < shape.width {
        return f32(x[row * shape.width + column]);
    }
    return 0.0;
}

// 1 / length, and 0 of a token without direction.
fn scale(square: f32) -> f32 {
    return select(0.0, inverseSqrt(square), square > 0.0);
}

// The cosine of query token `row` and passage token `column` of a tile, computed by the whole
// workgroup: [TILE, TILE], one an invocation.
fn cosine(first_query: u32, first_passage: u32, row: u32, column: u32) -> f32 {
    var dot = 0.0;
    var query_square = 0.0;
    var passage_square = 0.0;
    for (var first = 0u; first < shape.width; first += DEPTH) {
        query[row * (DEPTH + 1u) + column] = element(first_query + row, bounds.y, first + column);
        passage[row * (DEPTH + 1u) + column] = element(first_passage + row, bounds.w, first + column);
        workgroupBarrier();
        for (var i = 0u; i < DEPTH; i++) {
            let a = query[row * (DEPTH + 1u) + i];
            let b = passage[column * (DEPTH + 1u) + i];
            dot += a * b;
            query_square += a * a;
            passage_square += b * b;
        }
        workgroupBarrier();
    }
    return dot * scale(query_square) * scale(passage_square);
}

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let pair = group.y * groups.x + group.x;
    if pair >= shape.pairs {
        return;
    }
    let sequences = pairs[pair];
    let begin = starts[sequences.x];
    let end = starts[sequences.x + 1u];
    let passage_begin = starts[sequences.y];
    let passage_end = starts[sequences.y + 1u];
    if lane == 0u {
        bounds = vec4(begin, end, passage_begin, passage_end);
    }
    workgroupBarrier();
    let row = lane / TILE;
    let column = lane % TILE;
    var sum = 0.0; // of the lanes in column 0: over the query tokens of their row
    for (var first = begin; first < end; first += TILE) {
        var most = LOWEST;
        for (var other = passage_begin; other < passage_end; other += TILE) {
            let found = cosine(first, other, row, column);
            if other + column < passage_end {
                most = max(most, found);
            }
        }
        best[lane] = most;
        workgroupBarrier();
        if column == 0u && first + row < end {
            for (var i = 1u; i < TILE; i++) {
                most = max(most, best[lane + i]);
            }
            sum += most;
        }
        workgroupBarrier();
    }
    best[lane] = sum;
    workgroupBarrier();
    if lane == 0u {
        for (var i = 1u; i < TILE; i++) {
            sum += best[i * TILE];
        }
        let empty = begin == end || passage_begin == passage_end;
        scores[pair] = select(sum / f32(max(end - begin, 1u)), 0.0, empty);
    }
}

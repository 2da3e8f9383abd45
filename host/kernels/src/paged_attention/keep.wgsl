// New keys and values into their pages, an invocation a column of a head.
struct Shape {
    tokens: u32,
    queries: u32,
    keys: u32,
    width: u32,
}
var<immediate> shape: Shape;

@group(0) @binding(0) var<storage, read> qkv: array<stored>; // [tokens, (queries + 2 keys) width]
@group(0) @binding(1) var<storage, read> tokens: array<vec2<u32>>; // position, first of its pages
@group(0) @binding(2) var<storage, read> tables: array<u32>;
@group(0) @binding(3) var<storage, read_write> pages: array<stored>;

const LANES = 64u;
const PAGE = 32u;

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let task = (group.y * groups.x + group.x) * LANES + lane;
    let i = task % shape.width;
    let head = task / shape.width % shape.keys;
    let row = task / shape.width / shape.keys;
    if row >= shape.tokens {
        return;
    }
    let token = tokens[row];
    let page = tables[token.y + token.x / PAGE];
    let at = token.x % PAGE;
    let size = PAGE * shape.width;
    let first = (page * shape.keys + head) * 2u * size;
    let columns = (shape.queries + 2u * shape.keys) * shape.width;
    let key = row * columns + (shape.queries + head) * shape.width + i;
    pages[first + i * PAGE + at] = qkv[key];
    pages[first + size + at * shape.width + i] = qkv[key + shape.keys * shape.width];
}

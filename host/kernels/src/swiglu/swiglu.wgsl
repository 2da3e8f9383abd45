// y = silu(gate) * value, an invocation an element.
struct Shape {
    count: u32,
    width: u32,
}
var<immediate> shape: Shape;

@group(0) @binding(0) var<storage, read> x: array<stored>; // [rows, 2 width]
@group(0) @binding(1) var<storage, read_write> y: array<stored>; // [rows, width]

const LANES = 64u;

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let at = (group.y * groups.x + group.x) * LANES + lane;
    if at >= shape.count {
        return;
    }
    let first = at / shape.width * 2u * shape.width + at % shape.width;
    let gate = f32(x[first]);
    // The exponential of what is at most 0 does not overflow.
    let e = exp(-abs(gate));
    let silu = select(gate, gate * e, gate < 0.0) / (1.0 + e);
    y[at] = stored(silu * f32(x[first + shape.width]));
}

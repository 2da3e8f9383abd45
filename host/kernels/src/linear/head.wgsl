// A matrix product of few outputs that leave in f32, such as a classifier's: a workgroup a row.
struct Shape {
    m: u32,
    n: u32,
    k: u32,
}
var<immediate> shape: Shape;

@group(0) @binding(0) var<storage, read> x: array<stored>; // [m, k]
@group(0) @binding(1) var<storage, read> weight: array<stored>; // [n, k]
@group(0) @binding(2) var<storage, read> bias: array<f32>; // [n]
@group(0) @binding(3) var<storage, read_write> y: array<f32>; // [m, n]

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = group.y * groups.x + group.x;
    if row >= shape.m {
        return;
    }
    for (var column = 0u; column < shape.n; column++) {
        var sum = 0.0;
        for (var i = lane; i < shape.k; i += LANES) {
            sum += f32(x[row * shape.k + i]) * f32(weight[column * shape.k + i]);
        }
        let total = workgroup_sum(sum, lane);
        if lane == 0u {
            y[row * shape.n + column] = total + bias[column];
        }
    }
}

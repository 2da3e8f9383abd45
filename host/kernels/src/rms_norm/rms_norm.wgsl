// Root-mean-square normalisation of the rows of x: a workgroup a row.
struct Shape {
    rows: u32,
    width: u32,
    epsilon: f32,
}
var<immediate> shape: Shape;

@group(0) @binding(0) var<storage, read> x: array<stored>; // [rows, width]
@group(0) @binding(1) var<storage, read> scale: array<f32>; // [width]
@group(0) @binding(2) var<storage, read_write> y: array<stored>; // [rows, width]

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = group.y * groups.x + group.x;
    if row >= shape.rows {
        return;
    }
    let first = row * shape.width;
    var square = 0.0;
    for (var i = lane; i < shape.width; i += LANES) {
        let value = f32(x[first + i]);
        square += value * value;
    }
    let mean = workgroup_sum(square, lane) / f32(shape.width);
    let factor = 1.0 / sqrt(mean + shape.epsilon);
    for (var i = lane; i < shape.width; i += LANES) {
        y[first + i] = stored(f32(x[first + i]) * factor * scale[i]);
    }
}

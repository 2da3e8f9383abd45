// Layer normalisation of the rows of x, or of x + residual: a workgroup a row.
struct Shape {
    rows: u32,
    width: u32,
    epsilon: f32,
}
var<immediate> shape: Shape;

@group(0) @binding(0) var<storage, read> x: array<stored>; // [rows, width]
@group(0) @binding(1) var<storage, read> residual: array<stored>; // [rows, width]
@group(0) @binding(2) var<storage, read> gamma: array<f32>; // [width]
@group(0) @binding(3) var<storage, read> beta: array<f32>; // [width]
@group(0) @binding(4) var<storage, read_write> y: array<stored>; // [rows, width]

override ADD_RESIDUAL: bool = false;

fn summed(at: u32) -> f32 {
    var value = f32(x[at]);
    if ADD_RESIDUAL {
        value += f32(residual[at]);
    }
    return value;
}

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
    let count = f32(shape.width);
    var sum = 0.0;
    for (var i = lane; i < shape.width; i += LANES) {
        sum += summed(first + i);
    }
    let mean = workgroup_sum(sum, lane) / count;
    // Two passes: the one-pass formula loses the variance where the mean is large.
    var square = 0.0;
    for (var i = lane; i < shape.width; i += LANES) {
        let centred = summed(first + i) - mean;
        square += centred * centred;
    }
    let variance = workgroup_sum(square, lane) / count;
    let scale = 1.0 / sqrt(variance + shape.epsilon);
    for (var i = lane; i < shape.width; i += LANES) {
        y[first + i] = stored((summed(first + i) - mean) * scale * gamma[i] + beta[i]);
    }
}

// One vector a sequence, the mean of its tokens or its first token: a workgroup a sequence.
struct Shape {
    sequences: u32,
    width: u32,
}
var<immediate> shape: Shape;

@group(0) @binding(0) var<storage, read> x: array<stored>; // [tokens, width]
@group(0) @binding(1) var<storage, read> starts: array<u32>; // [sequences + 1]
@group(0) @binding(2) var<storage, read_write> y: array<stored>; // [sequences, width]

override FIRST_ONLY: bool = false;
override NORMALIZE: bool = false;

fn pooled(begin: u32, end: u32, column: u32) -> f32 {
    var sum = 0.0;
    for (var row = begin; row < end; row++) {
        sum += f32(x[row * shape.width + column]);
    }
    return sum / f32(max(end - begin, 1u));
}

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let sequence = group.y * groups.x + group.x;
    if sequence >= shape.sequences {
        return;
    }
    let begin = starts[sequence];
    var end = starts[sequence + 1u];
    if FIRST_ONLY {
        end = min(end, begin + 1u);
    }
    var length = 1.0;
    if NORMALIZE {
        var square = 0.0;
        for (var i = lane; i < shape.width; i += LANES) {
            let value = pooled(begin, end, i);
            square += value * value;
        }
        length = max(sqrt(workgroup_sum(square, lane)), 1e-12);
    }
    for (var i = lane; i < shape.width; i += LANES) {
        y[sequence * shape.width + i] = stored(pooled(begin, end, i) / length);
    }
}

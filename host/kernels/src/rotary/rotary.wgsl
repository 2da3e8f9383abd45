// Queries and keys turned by their positions' angles, in place: a workgroup a head of a row.
struct Shape {
    rows: u32,
    columns: u32,
    // Heads of queries, and of queries and keys.
    queries: u32,
    turned: u32,
    width: u32,
    epsilon: f32,
}
var<immediate> shape: Shape;

@group(0) @binding(0) var<storage, read> angles: array<stored>; // [rows, width]: cosines, sines
@group(0) @binding(1) var<storage, read> query_scale: array<f32>; // [width]
@group(0) @binding(2) var<storage, read> key_scale: array<f32>; // [width]
@group(0) @binding(3) var<storage, read_write> qkv: array<stored>; // [rows, columns]

override NORMALIZE: bool = false;

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let task = group.y * groups.x + group.x;
    let row = task / shape.turned;
    let head = task % shape.turned;
    if row >= shape.rows {
        return;
    }
    let first = row * shape.columns + head * shape.width;
    let half = shape.width / 2u;
    var factor = 1.0;
    if NORMALIZE {
        var square = 0.0;
        for (var i = lane; i < shape.width; i += LANES) {
            let value = f32(qkv[first + i]);
            square += value * value;
        }
        factor = 1.0 / sqrt(workgroup_sum(square, lane) / f32(shape.width) + shape.epsilon);
    }
    for (var i = lane; i < half; i += LANES) {
        var a = f32(qkv[first + i]);
        var b = f32(qkv[first + half + i]);
        if NORMALIZE {
            if head < shape.queries {
                a *= factor * query_scale[i];
                b *= factor * query_scale[half + i];
            } else {
                a *= factor * key_scale[i];
                b *= factor * key_scale[half + i];
            }
        }
        let c = f32(angles[row * shape.width + i]);
        let s = f32(angles[row * shape.width + half + i]);
        qkv[first + i] = stored(a * c - b * s);
        qkv[first + half + i] = stored(b * c + a * s);
    }
}

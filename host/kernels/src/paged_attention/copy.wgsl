// One page of a layer over another.
struct Shape {
    from_page: u32,
    to_page: u32,
    size: u32,
}
var<immediate> shape: Shape;

@group(0) @binding(0) var<storage, read_write> pages: array<stored>;

const LANES = 64u;

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (group.y * groups.x + group.x) * LANES + lane;
    if i < shape.size {
        pages[shape.to_page * shape.size + i] = pages[shape.from_page * shape.size + i];
    }
}

// Sums over a workgroup of LANES invocations.
const LANES = 64u;
var<workgroup> partial_sums: array<f32, LANES>;

// Every lane's value added up, in one fixed order; every lane gets the sum.
fn workgroup_sum(value: f32, lane: u32) -> f32 {
    workgroupBarrier(); // The sum before this one may still be being read.
    partial_sums[lane] = value;
    workgroupBarrier();
    for (var width = LANES / 2u; width > 0u; width /= 2u) {
        if lane < width {
            partial_sums[lane] += partial_sums[lane + width];
        }
        workgroupBarrier();
    }
    return partial_sums[0];
}

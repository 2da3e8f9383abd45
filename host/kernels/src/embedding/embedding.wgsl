// Word, position and token-type embedding of each token, added and normalised: a workgroup a
// token. A word table beyond the device's binding limit comes in parts, one dispatch each; a
// dispatch writes the tokens whose word lies in its part.
struct Shape {
    tokens: u32,
    width: u32,
    // Of this part of the word table.
    first_word: u32,
    words: u32,
    epsilon: f32,
}
var<immediate> shape: Shape;

@group(0) @binding(0) var<storage, read> ids: array<vec4<u32>>; // [tokens]: word, position, type
@group(0) @binding(1) var<storage, read> words: array<stored>; // [words, width]
@group(0) @binding(2) var<storage, read> positions: array<stored>; // [positions, width]
@group(0) @binding(3) var<storage, read> types: array<stored>; // [types, width]
@group(0) @binding(4) var<storage, read> gamma: array<f32>; // [width]
@group(0) @binding(5) var<storage, read> beta: array<f32>; // [width]
@group(0) @binding(6) var<storage, read_write> y: array<stored>; // [tokens, width]

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let token = group.y * groups.x + group.x;
    if token >= shape.tokens {
        return;
    }
    let id = ids[token];
    // Unsigned: a word before the part is beyond it too.
    let row = id.x - shape.first_word;
    if row >= shape.words {
        return;
    }
    let word = row * shape.width;
    let position = id.y * shape.width;
    let kind = id.z * shape.width;
    let count = f32(shape.width);
    var sum = 0.0;
    for (var i = lane; i < shape.width; i += LANES) {
        sum += f32(words[word + i]) + f32(positions[position + i]) + f32(types[kind + i]);
    }
    let mean = workgroup_sum(sum, lane) / count;
    var square = 0.0;
    for (var i = lane; i < shape.width; i += LANES) {
        let value = f32(words[word + i]) + f32(positions[position + i]) + f32(types[kind + i]);
        square += (value - mean) * (value - mean);
    }
    let variance = workgroup_sum(square, lane) / count;
    let scale = 1.0 / sqrt(variance + shape.epsilon);
    for (var i = lane; i < shape.width; i += LANES) {
        let value = f32(words[word + i]) + f32(positions[position + i]) + f32(types[kind + i]);
        y[token * shape.width + i] = stored((value - mean) * scale * gamma[i] + beta[i]);
    }
}

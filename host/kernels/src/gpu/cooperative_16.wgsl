// Products of 16x16 tiles by the matrix units: f16 times f16, summed in f32.
enable f16;
enable wgpu_cooperative_matrix;
alias stored = f16;
alias stored4 = vec4<f16>;
alias matrix_a = coop_mat16x16<f16, A>;
alias matrix_b = coop_mat16x16<f16, B>;
alias matrix_c = coop_mat16x16<f32, C>;
const EDGE = 16u;

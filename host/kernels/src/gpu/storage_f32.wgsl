// Matrices on the device are f32.
alias stored = f32;
alias stored4 = vec4<f32>;

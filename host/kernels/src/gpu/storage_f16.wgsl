// Matrices on the device are f16; every sum is f32.
enable f16;
alias stored = f16;
alias stored4 = vec4<f16>;

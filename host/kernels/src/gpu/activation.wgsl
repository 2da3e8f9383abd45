// What happens to an element after the bias.
const GELU = 1u;
const TANH = 2u;
const RESIDUAL = 3u;

// x Phi(x), the exact GELU (Hendrycks & Gimpel 2016), as max(x, 0) - |x| erfc(|x| / sqrt 2) / 2:
// the second term is what is approximated (Abramowitz & Stegun 7.1.26, 1.5e-7), and it vanishes
// where x is large.
fn gelu(x: f32) -> f32 {
    let t = abs(x) * 0.70710678;
    let k = 1.0 / (1.0 + 0.3275911 * t);
    let p = ((((1.061405429 * k - 1.453152027) * k + 1.421413741) * k - 0.284496736) * k + 0.254829592) * k;
    return max(x, 0.0) - 0.5 * abs(x) * p * exp(-t * t);
}

// Drivers write tanh as a quotient of exponentials, which overflow beyond 44.
fn bounded_tanh(x: f32) -> f32 {
    return tanh(clamp(x, -15.0, 15.0));
}

fn activate(activation: u32, x: f32) -> f32 {
    switch activation {
        case GELU: { return gelu(x); }
        case TANH: { return bounded_tanh(x); }
        default: { return x; }
    }
}

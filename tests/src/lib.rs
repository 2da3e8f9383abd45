//! What crosses crates is tested in `all/`; this library only carries the component that the
//! tests of limits run.

/// A component that does what no component should; see `guests/misbehaving`.
pub const MISBEHAVING: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/misbehaving.wasm"));

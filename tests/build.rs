//! Builds the component that misbehaves, as the product's components are built.
//!
//! It is Rust rather than WAT, and one component rather than ten: the misdeeds that matter go
//! through wasi:http and wasi:nn as a real gateway would, on toolchain that is there already.

use std::fs;

use anyhow::{Context, Result};
use trine_build_guest::{Place, build, watch};

fn main() -> Result<()> {
    let place = Place::find()?;
    watch(&place.root, &["tests/guests/misbehaving"]);
    println!("cargo::rerun-if-changed=build.rs");
    let component = build(&place, &["misbehaving"])?.pop().context("no component was built")?;
    Ok(fs::write(place.out.join("misbehaving.wasm"), component)?)
}

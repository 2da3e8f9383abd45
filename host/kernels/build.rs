//! Puts each kernel's WGSL together with its prelude, has naga validate it for every type that
//! matrices are stored in, and writes down what the source says of itself: its bindings in order,
//! the bytes of its parameters, and its constants, which the Rust halves use by name. A shader that
//! does not hold breaks the build, with naga's words.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

use naga::valid::{Capabilities, ValidationFlags, Validator};

/// A kernel: its name in Rust, the shared pieces before it, its file, and the preludes it is for.
const SHADERS: &[(&str, &[&str], &str, &[&str])] = &[
    ("ATTENTION", &[], "attention/tiled", STORAGE),
    ("ATTENTION_COOPERATIVE", &[], "attention/cooperative", COOPERATIVE),
    ("BLOCK_LINEAR", &[], "block_linear/block_linear", STORAGE),
    ("EMBEDDING", &["gpu/sum"], "embedding/embedding", STORAGE),
    ("HEAD", &["gpu/sum"], "linear/head", STORAGE),
    ("LAYER_NORM", &["gpu/sum"], "layer_norm/layer_norm", STORAGE),
    ("LINEAR", &["gpu/activation"], "linear/tiled", STORAGE),
    ("LINEAR_COOPERATIVE", &["gpu/activation"], "linear/cooperative", COOPERATIVE),
    ("MAXSIM", &[], "maxsim/maxsim", STORAGE),
    ("PAGED_ATTEND", &["gpu/sum"], "paged_attention/attend", STORAGE),
    ("PAGED_COPY", &[], "paged_attention/copy", STORAGE),
    ("PAGED_KEEP", &[], "paged_attention/keep", STORAGE),
    ("POOL", &["gpu/sum"], "pool/pool", STORAGE),
    ("RMS_NORM", &["gpu/sum"], "rms_norm/rms_norm", STORAGE),
    ("ROTARY", &["gpu/sum"], "rotary/rotary", STORAGE),
    ("SWIGLU", &[], "swiglu/swiglu", STORAGE),
];

/// In the order of `Storage`.
const STORAGE: &[&str] = &["gpu/storage_f32", "gpu/storage_f16"];
/// 8x8 and 16x16.
const COOPERATIVE: &[&str] = &["gpu/cooperative_8", "gpu/cooperative_16"];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=src");
    let mut out = String::from("// Written by build.rs.\n");
    for (name, shared, file, preludes) in SHADERS {
        let sources: Vec<String> = preludes
            .iter()
            .map(|prelude| {
                let parts = [prelude].into_iter().chain(*shared).chain([file]);
                parts.map(|part| read(part)).collect::<Vec<_>>().join("\n")
            })
            .collect();
        let modules: Vec<naga::Module> = sources
            .iter()
            .zip(*preludes)
            .map(|(source, prelude)| check(file, prelude, source))
            .collect();
        let bindings = bindings(&modules[0]);
        let immediates = immediate_size(&modules[0]);
        for module in &modules {
            assert_eq!(
                (&bindings, immediates),
                (&self::bindings(module), immediate_size(module)),
                "{file}"
            );
        }
        let _ = write!(
            out,
            "/// `{file}.wgsl`.\npub(crate) const {name}: Shader = Shader {{ name: {file:?}, \
             sources: &{sources:?}, bindings: &{bindings:?}, immediates: {immediates} }};\n"
        );
        for (constant, value) in constants(&modules) {
            let _ = writeln!(
                out,
                "/// `{constant}` of `{file}.wgsl`.\n#[allow(dead_code)]\n\
                 pub(crate) const {name}_{constant}: u32 = {value};"
            );
        }
    }
    let to = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR")).join("shaders.rs");
    fs::write(&to, out).unwrap_or_else(|e| panic!("{}: {e}", to.display()));
}

fn read(part: &str) -> String {
    let path = Path::new("src").join(part).with_extension("wgsl");
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn check(file: &str, prelude: &str, source: &str) -> naga::Module {
    let module = naga::front::wgsl::parse_str(source).unwrap_or_else(|e| {
        panic!("{file}.wgsl with {prelude}.wgsl: {}", e.emit_to_string(source))
    });
    Validator::new(ValidationFlags::all(), Capabilities::all()).validate(&module).unwrap_or_else(
        |e| panic!("{file}.wgsl with {prelude}.wgsl: {}", e.emit_to_string(source)),
    );
    module
}

/// The names of group 0's bindings, which are numbered from 0 without a gap.
fn bindings(module: &naga::Module) -> Vec<String> {
    let mut found: Vec<(u32, String)> = module
        .global_variables
        .iter()
        .filter_map(|(_, variable)| {
            Some((variable.binding?.binding, variable.name.clone().unwrap_or_default()))
        })
        .collect();
    found.sort();
    assert!(found.iter().enumerate().all(|(at, (binding, _))| at as u32 == *binding), "{found:?}");
    found.into_iter().map(|(_, name)| name).collect()
}

/// The whole numbers that the source names, where they are the same with every prelude.
fn constants(modules: &[naga::Module]) -> Vec<(String, u32)> {
    let of = |module: &naga::Module| -> Vec<(String, u32)> {
        let value = |(_, constant): (_, &naga::Constant)| {
            let naga::Expression::Literal(naga::Literal::U32(value)) =
                module.global_expressions[constant.init]
            else {
                return None;
            };
            Some((constant.name.clone()?, value))
        };
        module.constants.iter().filter_map(value).collect()
    };
    let mut first = of(&modules[0]);
    first.retain(|constant| modules.iter().all(|module| of(module).contains(constant)));
    first
}

/// Bytes of the variable in the `immediate` space.
fn immediate_size(module: &naga::Module) -> u32 {
    let mut variables = module.global_variables.iter();
    let immediate = variables.find(|(_, v)| v.space == naga::AddressSpace::Immediate);
    immediate.map_or(0, |(_, v)| module.types[v.ty].inner.size(module.to_ctx()))
}

//! Guest crates to components: what the build scripts of `trine-components` and of the tests
//! share.
//!
//! Guests are members of the same workspace, built by a second cargo into a folder of their own.
//! They need the standard library of wasm32-unknown-unknown: [`build`] looks for a toolchain that
//! has it, and `scripts/setup-guest-toolchain.sh` provides one where none does.

mod toolchain;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Context, Result, ensure};
use toolchain::Toolchain;
use wit_component::ComponentEncoder;

const TARGET: &str = "wasm32-unknown-unknown";
const RUSTFLAGS: &str = r#"-C target-feature=+simd128 --cfg getrandom_backend="custom""#;

/// Where a build script is run.
#[derive(Clone, Debug)]
pub struct Place {
    /// The workspace's folder.
    pub root: PathBuf,
    /// Cargo's `OUT_DIR`: for what the crate includes.
    pub out: PathBuf,
    /// The target folder of the cargo that runs the script.
    pub target: PathBuf,
}

impl Place {
    /// From what cargo tells a build script.
    ///
    /// # Errors
    /// Outside a build script, or in a crate that lies in no workspace.
    pub fn find() -> Result<Place> {
        let here = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
        let root = here
            .ancestors()
            .skip(1)
            .find(|folder| folder.join("Cargo.lock").is_file())
            .with_context(|| format!("{} lies in no workspace", here.display()))?
            .to_owned();
        let out = PathBuf::from(env::var("OUT_DIR")?);
        // OUT_DIR is TARGET_DIR/PROFILE/build/PACKAGE/out.
        let target = out.ancestors().nth(4).context("OUT_DIR is not below a target folder")?;
        Ok(Place { target: target.to_owned(), root, out })
    }
}

/// Tells cargo what guests are made of: `folders` with sources, relative to `root`, and what all
/// guests share.
pub fn watch(root: &Path, folders: &[&str]) {
    println!("cargo::rerun-if-env-changed=TRINE_GUEST_TOOLCHAIN");
    for folder in folders {
        println!("cargo::rerun-if-changed={}", root.join(folder).join("src").display());
        println!("cargo::rerun-if-changed={}", root.join(folder).join("Cargo.toml").display());
    }
    for file in ["wit", "Cargo.toml", "Cargo.lock"] {
        println!("cargo::rerun-if-changed={}", root.join(file).display());
    }
}

/// Builds the workspace's packages `trine-GUEST` for wasm and encodes each as a component.
/// Returns the components in the order of `guests`.
///
/// # Errors
/// When no toolchain can build for wasm, a guest does not compile, or its imports are not those
/// of its world.
pub fn build(place: &Place, guests: &[&str]) -> Result<Vec<Vec<u8>>> {
    let modules = place.target.join("guests");
    compile(&place.root, &modules, guests)?;
    let module = |guest: &str| {
        let file = format!("trine_{}.wasm", guest.replace('-', "_"));
        modules.join(TARGET).join("guest").join(file)
    };
    guests
        .iter()
        .map(|guest| encode(&module(guest)).with_context(|| format!("encoding {guest}")))
        .collect()
}

fn compile(root: &Path, target_dir: &Path, guests: &[&str]) -> Result<()> {
    let toolchain = Toolchain::find()?;
    let mut cargo = Command::new(&toolchain.cargo);
    for (name, _) in env::vars_os() {
        // What this cargo set for this script is not meant for the other.
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("CARGO") && name != "CARGO_HOME"
            || name.starts_with("RUST") && name != "RUSTUP_HOME"
        {
            cargo.env_remove(name);
        }
    }
    cargo
        .current_dir(root)
        .env("RUSTC", &toolchain.rustc)
        .env("RUSTFLAGS", RUSTFLAGS)
        .args(["build", "--locked", "--profile", "guest", "--target", TARGET])
        .arg("--target-dir")
        .arg(target_dir);
    for guest in guests {
        cargo.args(["--package", &format!("trine-{guest}")]);
    }
    let status =
        cargo.status().with_context(|| format!("running {}", toolchain.cargo.display()))?;
    ensure!(status.success(), "the guests did not build ({status})");
    Ok(())
}

fn encode(module: &Path) -> Result<Vec<u8>> {
    let module = fs::read(module).with_context(|| format!("reading {}", module.display()))?;
    ComponentEncoder::default().validate(true).module(&module)?.encode()
}

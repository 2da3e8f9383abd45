//! Builds the guest components for wasm and encodes them, so that `cargo build` of the host is all
//! there is to build.
//!
//! The guests are members of the same workspace, built by a second cargo into a folder of their
//! own. They need the standard library of wasm32-unknown-unknown: this script looks for a
//! toolchain that has it, and `scripts/setup-guest-toolchain.sh` provides one where none does.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Context, Result, bail, ensure};
use wit_component::ComponentEncoder;

const TARGET: &str = "wasm32-unknown-unknown";
const GUESTS: [&str; 4] = ["gateway", "retriever", "reranker", "generator"];
const RUSTFLAGS: &str = r#"-C target-feature=+simd128 --cfg getrandom_backend="custom""#;

fn main() -> Result<()> {
    let here = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let root = here.parent().context("components/ has no parent")?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    // OUT_DIR is TARGET_DIR/PROFILE/build/PACKAGE/out.
    let target_dir = out.ancestors().nth(4).context("OUT_DIR is not below a target folder")?;
    watch(&here, root);

    let modules = target_dir.join("guests");
    build_guests(root, &modules)?;
    let components = target_dir.join("components");
    fs::create_dir_all(&components)?;
    for guest in GUESTS {
        let module = modules.join(TARGET).join("guest").join(format!("trine_{guest}.wasm"));
        let component = encode(&module).with_context(|| format!("encoding {guest}"))?;
        let file = format!("{guest}.wasm");
        fs::write(out.join(&file), &component)?;
        // Where spin.toml names them, for hosts that read it from the checkout.
        fs::write(components.join(&file), &component)?;
    }
    Ok(())
}

fn watch(here: &Path, root: &Path) {
    println!("cargo::rerun-if-env-changed=TRINE_GUEST_TOOLCHAIN");
    for dir in GUESTS.iter().chain(&["guest-nn", "index", "text"]) {
        println!("cargo::rerun-if-changed={}", here.join(dir).join("src").display());
        println!("cargo::rerun-if-changed={}", here.join(dir).join("Cargo.toml").display());
    }
    for file in ["wit", "Cargo.toml", "Cargo.lock"] {
        println!("cargo::rerun-if-changed={}", root.join(file).display());
    }
    println!("cargo::rerun-if-changed={}", here.join("build.rs").display());
}

fn build_guests(root: &Path, target_dir: &Path) -> Result<()> {
    let toolchain = Toolchain::find()?;
    let mut cargo = Command::new(&toolchain.cargo);
    for (name, _) in env::vars_os() {
        // What this cargo set for this script is not meant for the other.
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("CARGO") && name != "CARGO_HOME" || name.starts_with("RUST") && name != "RUSTUP_HOME" {
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
    for guest in GUESTS {
        cargo.args(["--package", &format!("trine-{guest}")]);
    }
    let status = cargo.status().with_context(|| format!("running {}", toolchain.cargo.display()))?;
    ensure!(status.success(), "the guests did not build ({status})");
    Ok(())
}

fn encode(module: &Path) -> Result<Vec<u8>> {
    let module = fs::read(module).with_context(|| format!("reading {}", module.display()))?;
    ComponentEncoder::default().validate(true).module(&module)?.encode()
}

/// A cargo and rustc that can build for wasm.
struct Toolchain {
    cargo: PathBuf,
    rustc: PathBuf,
}

impl Toolchain {
    /// The one building this, a rustup toolchain linked as `guest`, or the system's; the first
    /// that has the target's standard library.
    fn find() -> Result<Toolchain> {
        if let Ok(name) = env::var("TRINE_GUEST_TOOLCHAIN") {
            return Toolchain::of_rustup(&name)
                .with_context(|| format!("TRINE_GUEST_TOOLCHAIN={name} has no std for {TARGET}"));
        }
        let building = Toolchain {
            cargo: env::var_os("CARGO").map(PathBuf::from).context("CARGO is not set")?,
            rustc: env::var_os("RUSTC").map(PathBuf::from).context("RUSTC is not set")?,
        };
        let system = Toolchain { cargo: "/usr/bin/cargo".into(), rustc: "/usr/bin/rustc".into() };
        if building.has_std() {
            Ok(building)
        } else if let Some(linked) = Toolchain::of_rustup("guest") {
            Ok(linked)
        } else if system.has_std() {
            Ok(system)
        } else {
            bail!(
                "no Rust toolchain here has the standard library of {TARGET}; \
                 run scripts/setup-guest-toolchain.sh (or: rustup target add {TARGET})"
            )
        }
    }

    fn of_rustup(name: &str) -> Option<Toolchain> {
        let which = |program: &str| {
            let out = Command::new("rustup")
                .args(["which", "--toolchain", name, program])
                .output()
                .ok()
                .filter(|out| out.status.success())?;
            Some(PathBuf::from(String::from_utf8(out.stdout).ok()?.trim()))
        };
        // A linked toolchain may lack cargo; the system's then goes with its rustc.
        let rustc = which("rustc")?;
        let cargo = which("cargo").unwrap_or_else(|| "/usr/bin/cargo".into());
        Some(Toolchain { cargo, rustc }).filter(Toolchain::has_std)
    }

    fn has_std(&self) -> bool {
        let Ok(out) = Command::new(&self.rustc).args(["--print", "sysroot"]).output() else {
            return false;
        };
        let sysroot = String::from_utf8_lossy(&out.stdout).trim().to_owned();
        let lib = Path::new(&sysroot).join("lib/rustlib").join(TARGET).join("lib");
        fs::read_dir(lib).is_ok_and(|files| {
            files.flatten().any(|f| f.file_name().to_string_lossy().starts_with("libstd-"))
        })
    }
}

//! Finding a cargo and rustc that can build for wasm.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Context, Result, bail};

use crate::TARGET;

/// A cargo and rustc that can build for wasm.
pub(crate) struct Toolchain {
    pub(crate) cargo: PathBuf,
    pub(crate) rustc: PathBuf,
}

impl Toolchain {
    /// The one building this, a rustup toolchain linked as `guest`, or the system's; the first
    /// that has the target's standard library.
    pub(crate) fn find() -> Result<Toolchain> {
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

//! Running the `trine` command.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::fixture::{MODEL, cache, model};

/// The command that lies beside the tests' executable.
fn executable() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let path = test.ancestors().nth(2).unwrap().join("trine");
    assert!(path.is_file(), "{} is missing: run `cargo build --release` first", path.display());
    path
}

/// `trine` with the tests' cache and nothing of the environment's settings.
pub fn trine(arguments: &[&dyn AsRef<OsStr>]) -> Command {
    let mut command = Command::new(executable());
    for variable in [
        "TRINE_LISTEN",
        "TRINE_DEVICE",
        "TRINE_PRECISION",
        "RUST_LOG",
        "SPIN_VARIABLE_TOP_K",
        "SPIN_VARIABLE_TOP_N",
    ] {
        command.env_remove(variable);
    }
    command.env("TRINE_CACHE", cache()).stdin(Stdio::null());
    command.args(arguments.iter().map(AsRef::as_ref));
    command
}

/// The same with the model.
pub fn trine_with_model(arguments: &[&dyn AsRef<OsStr>]) -> Command {
    let mut command = trine(arguments);
    let folder = model().expect("asked for before");
    command.arg("--model").arg(format!("{MODEL}={}", folder.display()));
    command
}

/// What a command said and how it ended.
#[derive(Debug)]
pub struct Ended {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Ended {
    /// The JSON it printed.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{e} in {self:?}"))
    }

    /// That it failed with this status, on one line that begins with `error:` and has `words`.
    #[track_caller]
    pub fn failed(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, code, "{self:?}");
        let errors: Vec<&str> = self.err.lines().filter(|l| l.starts_with("error:")).collect();
        assert_eq!(errors.len(), 1, "{self:?}");
        for word in words {
            assert!(self.err.contains(word), "`{word}` is not in: {}", self.err);
        }
        assert!(!self.err.contains("panicked"), "{}", self.err);
    }
}

/// Runs a command to its end.
pub fn run(mut command: Command) -> Ended {
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("output in UTF-8");
    let code = output.status.code().unwrap_or_else(|| panic!("killed: {:?}", output.status));
    Ended { code, out: text(output.stdout), err: text(output.stderr) }
}

/// `trine serve` in a process of its own, which dies with this value.
pub struct Served {
    pub address: SocketAddr,
    /// Where `--metrics` listens.
    pub metrics: Option<SocketAddr>,
    pub child: Child,
    /// Its standard output behind the first lines.
    _out: BufReader<std::process::ChildStdout>,
}

impl Served {
    /// Starts it on a free port and waits until it listens.
    pub fn start(bundle: &Path, more: &[&str]) -> Served {
        let mut command = trine_with_model(&[&"serve", &bundle, &"--listen", &"127.0.0.1:0"]);
        command.args(more);
        Served::of(command)
    }

    /// Starts a command that serves on a free port, and waits until it listens.
    pub fn of(mut command: Command) -> Served {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        let mut metrics = None;
        let address = loop {
            line.clear();
            assert!(out.read_line(&mut line).unwrap() > 0, "it ended before it listened");
            let line = line.trim();
            if let Some(url) = line.strip_prefix("metrics on http://") {
                metrics = Some(url.strip_suffix("/metrics").unwrap().parse().unwrap());
            }
            if let Some(address) = line.strip_prefix("listening on http://") {
                break address.parse().unwrap();
            }
        };
        Served { address, metrics, child, _out: out }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a signal to a process of ours.
pub fn signal(child: &Child, name: &str) {
    let status = Command::new("kill").args(["-s", name, &child.id().to_string()]).status();
    assert!(status.unwrap().success());
}

#!/usr/bin/env bash
# Everything that must hold before a change lands: formatting, lints, docs, licences, tests.
#
#   TRINE_SHARED=DIR       folder of test collections and documents; tests that need it are skipped
#                          with a word when it is not there
#   TRINE_REQUIRE_GPU=1    fails where there is no Vulkan adapter, be it software (mesa-vulkan-drivers), instead of
#                          skipping the GPU's half of the tests with a word
#   PYTHON=FILE            a Python with the package openai; its test is skipped with a word where there is none
#   TRINE_LOAD_SECONDS=60  how long the load test runs (10 by default)
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '\n== %s\n' "$*"; }

# Mesa's device-selection layer complains on standard error where no desktop is running.
[ -n "${XDG_RUNTIME_DIR:-}" ] || export NODEVICE_SELECT=1

say "toolchain for the wasm components"
scripts/setup-guest-toolchain.sh

say "formatting"
cargo fmt --all --check

say "building (the first time 10 to 15 minutes on two cores)"
cargo build --release --locked
target=${CARGO_TARGET_DIR:-target}

say "devices"
"$target/release/trine" devices

say "the model that the tests use (91 MB, the first time)"
"$target/release/trine" models pull

say "lints"
cargo clippy --workspace --all-targets --release --locked -- -D warnings

say "documentation"
RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --release --locked --quiet

if command -v cargo-deny >/dev/null; then
    say "licences"
    cargo deny --all-features check licenses bans sources
else
    say "licences: skipped, cargo-deny is not installed (cargo install cargo-deny)"
fi

say "tests"
cargo test --workspace --release --locked --no-fail-fast

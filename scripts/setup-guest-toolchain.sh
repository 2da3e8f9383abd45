#!/usr/bin/env bash
# Sees to it that some Rust toolchain here can build for wasm32-unknown-unknown, as components/build.rs
# needs. Where one can, it does nothing. Otherwise it asks rustup for the target; where rustup is
# missing or refuses, it installs Debian's rustc for WebAssembly and builds the target's standard
# library once, from Debian's sources, and links the result to rustup as the toolchain `guest`.
#
#   FORCE_DEBIAN=1   skips rustup, to try the second way
set -euo pipefail

TARGET=wasm32-unknown-unknown

say() { echo "guest toolchain: $*"; }

# has_std RUSTC: whether that compiler has the target's standard library.
has_std() {
    local sysroot
    sysroot=$("$1" --print sysroot 2>/dev/null) || return 1
    compgen -G "$sysroot/lib/rustlib/$TARGET/lib/libstd-*.rlib" >/dev/null
}

if [ -z "${FORCE_DEBIAN:-}" ]; then
    if command -v rustc >/dev/null && has_std rustc; then
        say "$(rustc --version) has $TARGET"
        exit 0
    fi
    if command -v rustup >/dev/null; then
        say "asking rustup for $TARGET"
        if timeout 180 rustup target add "$TARGET" && has_std rustc; then
            say "$(rustc --version) has $TARGET now"
            exit 0
        fi
        say "rustup could not add it"
    fi
fi
if [ -x /usr/bin/rustc ] && has_std /usr/bin/rustc; then
    say "$(/usr/bin/rustc --version) has $TARGET"
else
    if ! command -v apt-get >/dev/null; then
        say "neither rustup nor apt-get can provide $TARGET; install it and try again" >&2
        exit 1
    fi
    as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }
    say "installing Debian's rustc for WebAssembly (about 150 MB)"
    as_root apt-get update -q
    as_root apt-get install -y -q --no-install-recommends rustc-web cargo-web rust-web-src lld-19

    sysroot=$(/usr/bin/rustc --print sysroot)
    host=$(/usr/bin/rustc -vV | sed -n 's/^host: //p')
    linker=$sysroot/lib/rustlib/$host/bin/rust-lld
    [ -e "$linker" ] || { as_root mkdir -p "$(dirname "$linker")"; as_root ln -s /usr/bin/lld-19 "$linker"; }
    if ! has_std /usr/bin/rustc; then
        say "building the standard library of $TARGET (two minutes)"
        work=$(mktemp -d)
        trap 'rm -rf "$work"' EXIT
        mkdir "$work/src"
        : >"$work/src/lib.rs"
        printf '%s\n' '[package]' 'name = "empty"' 'version = "0.0.0"' 'edition = "2021"' >"$work/Cargo.toml"
        # RUSTC_BOOTSTRAP: building std is not stable yet; nothing of ours is built this way.
        (cd "$work" && env -u RUSTFLAGS -u RUSTUP_TOOLCHAIN -u CARGO_TARGET_DIR \
            RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 \
            /usr/bin/cargo build --release -Zbuild-std=std,panic_abort,proc_macro --target "$TARGET")
        library=$sysroot/lib/rustlib/$TARGET/lib
        as_root mkdir -p "$library"
        find "$work/target/$TARGET/release/deps" -name 'lib*.rlib' ! -name 'libempty-*' \
            -print0 | as_root xargs -0 cp -t "$library"
    fi
    say "$(/usr/bin/rustc --version) has $TARGET now"
fi
if command -v rustup >/dev/null; then
    rustup toolchain link guest "$(/usr/bin/rustc --print sysroot)"
fi

#!/usr/bin/env bash
# The unsafe code of the CPU's kernels, under tools that see what it must not do. Says what ran.
#
#   scripts/sanitize.sh            AddressSanitizer over the kernels' tests, Miri over their portable half
#   scripts/sanitize.sh 300        the fuzzer too, for so many seconds
#
# Wants a nightly toolchain with rust-src and miri; the fuzzer also cargo-fuzz. Miri knows no vector
# instructions, so what it runs is the portable kernels; the sanitizer runs those of this machine.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-0}
host=$(rustc -vV | sed -n 's/^host: //p')
target=${CARGO_TARGET_DIR:-$PWD/target}
ran=()

say() { printf '\n== %s\n' "$*"; }

has() { cargo +nightly "$1" --version >/dev/null 2>&1; }

say "AddressSanitizer: kernels of every instruction set of this machine"
RUSTFLAGS=-Zsanitizer=address TRINE_DRAWN_CASES=${TRINE_DRAWN_CASES:-2000} \
    cargo +nightly test --release -p trine-kernels --target "$host" --target-dir "$target/asan" \
    --lib --test bits --test drawn --test parity --test precision
ran+=("AddressSanitizer")

if has miri; then
    say "Miri: the portable kernels"
    # Only what depends on no device driver; threads that are never joined are rayon's way.
    MIRIFLAGS="-Zmiri-ignore-leaks -Zmiri-disable-isolation" TRINE_DRAWN_CASES=3 \
        cargo +nightly miri test -p trine-kernels --target-dir "$target/miri" --lib -- \
        cpu::tile cpu::bf16 cpu::memory cpu::dot cpu::precision
    ran+=("Miri")
fi

if [ "$seconds" -gt 0 ] && has fuzz; then
    say "fuzzing shapes for $seconds seconds"
    (cd fuzz && cargo +nightly fuzz run --target-dir "$target/fuzz" kernels -- -max_total_time="$seconds" \
        -len_control=0 -max_len=64)
    ran+=("the fuzzer")
fi

say "ran: $(IFS=,; echo "${ran[*]}")"

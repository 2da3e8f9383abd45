#!/usr/bin/env bash
# Measures trine on this machine's GPU, and PyTorch beside it, and puts both reports and a table of ratios
# into one folder. It needs Linux, a GPU with a Vulkan driver, and, for the second half, a python3 with a
# PyTorch that sees the GPU; without one it says so and measures trine alone.
#
#   scripts/gpu-bench.sh [--quick] [-- ARGUMENT...]
#       ARGUMENTs go to `trine bench gpu`. --quick has PyTorch measure small sizes, also on a CPU.
#   scripts/gpu-bench.sh --pack FILE.tar
#       puts the program, the scripts and Vulkan's loader into FILE.tar (or .tar.gz), for a machine with
#       neither this repository nor a network: tar xf FILE.tar && trine-gpu/gpu-bench.sh
#
#   TRINE=FILE     the program (default: trine beside this script, target/release/trine, ./trine)
#   PYTHON=FILE    the Python that has PyTorch (default: python3)
#   OUT=DIR        where the results go (default: ./gpu-bench): trine.json, torch.json, table.md, machine.txt
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
PATH=$PATH:/usr/sbin:/sbin # for ldconfig

# A tar that is larger does not travel well.
PACK_LIMIT_MIB=60

# What trine and NVIDIA's Vulkan driver load at run time, and a bare machine may not have.
PACKED_LIBRARIES=(libvulkan.so.1 libGLdispatch.so.0 libX11.so.6 libXext.so.6 libxcb.so.1 libXau.so.6
    libXdmcp.so.6 libbsd.so.0 libmd.so.0)

# Where some containers keep NVIDIA's driver, unknown to the Vulkan loader.
NVIDIA=/usr/local/nvidia

say() { echo "gpu-bench: $*" >&2; }
fail() { say "$*"; exit 1; }

# find_trine: the program's path.
find_trine() {
    local target=${CARGO_TARGET_DIR:-$here/../target} candidate
    if [ -n "${TRINE:-}" ]; then
        [ -x "$TRINE" ] || fail "TRINE=$TRINE is not a program"
        realpath "$TRINE"
        return
    fi
    for candidate in "$here/trine" "$target/release/trine" ./trine; do
        [ ! -x "$candidate" ] || [ -d "$candidate" ] || { realpath "$candidate"; return; }
    done
    fail "no trine here: build it (cargo build --release) or name it with TRINE=FILE"
}

# library_path NAME: where the dynamic loader finds that library; fails where it does not.
library_path() {
    local folder
    local IFS=:
    for folder in ${LD_LIBRARY_PATH:-}; do
        [ ! -e "$folder/$1" ] || { echo "$folder/$1"; return; }
    done
    ldconfig -p 2>/dev/null | awk -v name="$1" '$1 == name && !found { print $NF; found = 1 } END { exit !found }'
}

# nvidia_is_registered: whether the Vulkan loader knows of NVIDIA's driver by itself.
nvidia_is_registered() {
    local folder
    for folder in /etc /usr/share /usr/local/etc /usr/local/share "${XDG_DATA_HOME:-$HOME/.local/share}"; do
        ! compgen -G "$folder/vulkan/icd.d/*nvidia*.json" >/dev/null || return 0
    done
    return 1
}

# prepare_vulkan WORK: finds the Vulkan loader and NVIDIA's driver where they are not in their usual
# places. Packed libraries stand in for missing ones only: the machine's own fit its driver.
prepare_vulkan() {
    local work=$1 library icd=$NVIDIA/share/vulkan/icd.d/nvidia_icd.json
    if [ -d "$NVIDIA/lib64" ] && ! library_path libGLX_nvidia.so.0 >/dev/null; then
        export LD_LIBRARY_PATH=${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$NVIDIA/lib64
    fi
    for library in "$here"/lib/*.so.*; do
        [ -e "$library" ] || continue
        if ! library_path "$(basename "$library")" >/dev/null; then
            say "$(basename "$library") is missing here: using the packed one"
            ln -s "$library" "$work/"
        fi
    done
    export LD_LIBRARY_PATH=${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$work
    library_path libvulkan.so.1 >/dev/null || fail "Vulkan's loader, libvulkan.so.1, is missing: install" \
        "libvulkan1 (Debian, Ubuntu), vulkan-loader (Fedora, RHEL, Alpine) or vulkan-icd-loader (Arch)"
    if [ -e "$icd" ] && [ -z "${VK_DRIVER_FILES:-}${VK_ICD_FILENAMES:-}" ] && ! nvidia_is_registered; then
        say "using NVIDIA's driver by $icd"
        export VK_DRIVER_FILES=$icd
    fi
}

# describe_machine: what the figures were measured on.
describe_machine() {
    date -u '+%Y-%m-%d %H:%M UTC'
    uname -srm
    sed -n 's/^model name[[:space:]]*: //p' /proc/cpuinfo | sort | uniq -c
    if command -v nvidia-smi >/dev/null; then
        nvidia-smi --format=csv \
            --query-gpu=name,driver_version,memory.total,clocks.sm,clocks.mem,temperature.gpu,power.draw || true
    fi
}

# torch_is_usable QUICK: whether there is a PyTorch worth measuring; says why not.
torch_is_usable() {
    local python=${PYTHON:-python3} sees_gpu
    if ! command -v "$python" >/dev/null; then
        say "PyTorch is skipped: there is no $python"
    elif ! sees_gpu=$("$python" -c 'import torch; print(torch.cuda.is_available())' 2>/dev/null); then
        say "PyTorch is skipped: $python has none"
    elif [ "$sees_gpu" != True ] && [ -z "$1" ]; then
        say "PyTorch is skipped: it sees no GPU"
    else
        return 0
    fi
    return 1
}

# bench QUICK [ARGUMENT...]: measures, and fails where trine's half did.
bench() {
    local quick=$1 python=${PYTHON:-python3} out=${OUT:-gpu-bench} work trine failed="" reports
    shift
    trine=$(find_trine)
    work=$(mktemp -d)
    # shellcheck disable=SC2064 # the folder's name as it is now
    trap "rm -rf '$work'" EXIT
    mkdir -p "$out"
    rm -f "$out"/{trine.json,torch.json,table.md}
    describe_machine >"$out/machine.txt"

    say "measuring $trine"
    # In a process of its own: what it sets for Vulkan is not for PyTorch.
    if (prepare_vulkan "$work" && "$trine" bench gpu --json "$@") >"$work/trine.json"; then
        mv "$work/trine.json" "$out/"
    else
        failed=yes
        say "trine bench gpu failed"
    fi
    if torch_is_usable "$quick"; then
        say "measuring PyTorch (some minutes, most of them torch.compile's)"
        "$python" "$here/torch_minilm.py" ${quick:+--quick} --out "$out/torch.json" || say "PyTorch's half failed"
    fi

    if [ -z "$failed" ] && command -v "$python" >/dev/null; then
        reports=("$out/trine.json")
        [ ! -e "$out/torch.json" ] || reports+=("$out/torch.json")
        "$python" "$here/gpu_bench_table.py" "${reports[@]}" >"$out/table.md"
        cat "$out/table.md"
    fi
    say "results are in $out: $(cd "$out" && echo *)"
    [ -z "$failed" ]
}

# pack FILE: all that another machine needs, in one tar.
pack() {
    local file=$1 trine work folder library path size
    trine=$(find_trine)
    work=$(mktemp -d)
    # shellcheck disable=SC2064 # the folder's name as it is now
    trap "rm -rf '$work'" EXIT
    folder=$work/trine-gpu
    mkdir -p "$folder/lib"
    strip -o "$folder/trine" "$trine"
    cp "$here"/{gpu-bench.sh,torch_minilm.py,gpu_bench_table.py} "$folder/"
    for library in "${PACKED_LIBRARIES[@]}"; do
        if path=$(library_path "$library"); then
            cp -L "$path" "$folder/lib/"
        else
            say "$library is not on this machine: packing without it"
        fi
    done
    say "trine needs of the other machine: $(ldd "$folder/trine" | awk '/=>/ { print $1 }' | paste -sd' ')," \
        "glibc $(needed_glibc "$folder/trine") or later"
    tar --auto-compress --create --file "$work/$(basename "$file")" --directory "$work" trine-gpu
    size=$(stat -c %s "$work/$(basename "$file")")
    [ "$size" -le $((PACK_LIMIT_MIB << 20)) ] ||
        fail "the tar is $((size >> 20)) MiB, over $PACK_LIMIT_MIB MiB: name it .tar.gz to compress it"
    mv "$work/$(basename "$file")" "$file"
    say "$file: $(awk "BEGIN { printf \"%.1f\", $size / 1048576 }") MiB"
}

# needed_glibc FILE: the newest C library version that the program's symbols ask for.
needed_glibc() { grep -aoE 'GLIBC_2\.[0-9]+' "$1" | sed 's/GLIBC_//' | sort -Vu | tail -n 1; }

quick=""
case ${1:-} in
    -h | --help)
        sed -n '2,/^set -/ { /^set -/d; s/^# \{0,1\}//; p }' "$0"
        exit 0
        ;;
    --pack)
        [ $# = 2 ] || fail "--pack takes one file name; see --help"
        pack "$2"
        exit 0
        ;;
    --quick)
        quick=yes
        shift
        ;;
esac
if [ $# -gt 0 ]; then
    [ "$1" = -- ] || fail "unknown argument $1; see --help"
    shift
fi
bench "$quick" "$@"

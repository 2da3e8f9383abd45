#!/usr/bin/env bash
# Runs a program on a software Vulkan device that has cooperative matrices (8x8x8, f16 to f16 or f32),
# so that the code for tensor cores can be tested on a machine without a GPU. It is a device for
# correctness, not for speed.
#
#   scripts/lavapipe-cooperative.sh [DIR] -- COMMAND [ARGUMENT...]
#
#   scripts/lavapipe-cooperative.sh                        sets up, runs nothing
#   scripts/lavapipe-cooperative.sh -- vulkaninfo --summary
#   scripts/lavapipe-cooperative.sh -- cargo test -p trine-kernels
#
# The device is lavapipe of Mesa 26, from Debian sid. Its packages (70 MB) are fetched once with apt's
# own signatures and unpacked (220 MB) in DIR, ${XDG_CACHE_HOME:-~/.cache}/trine/mesa by default. Nothing is
# installed, nothing outside DIR is written, root is not needed. Delete DIR to fetch it afresh.
#
# Mesa 26 wants a newer C library than most systems have, so COMMAND is started by the dynamic loader
# that came with it. COMMAND is therefore a dynamically linked program, or cargo, which builds as usual
# and runs its tests, examples and binaries that way. What COMMAND itself starts gets the system's C
# library and no such device, and its /proc/self/exe is the loader.
#
#   DEBIAN_MIRROR=URL   where Debian is fetched from (default: as apt is configured here)
set -euo pipefail

say() { echo "lavapipe: $*" >&2; }
fail() { say "$*"; exit 1; }

# debian_mirror: the archive that apt uses here, or Debian's default where it uses none.
# shellcheck disable=SC2016 # apt expands the format
debian_mirror() {
    local uris
    uris=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Label: Debian' 2>/dev/null || true)
    # apt knows labels only after an update.
    [ -n "$uris" ] || uris=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 2>/dev/null |
        grep -E '^[a-z0-9+]+://[^/]+/debian/?$' || true)
    [ -n "$uris" ] || uris=http://deb.debian.org/debian
    echo "${uris%%$'\n'*}"
}

# configure_apt STATE MIRROR: an apt that keeps everything in STATE and believes nothing is installed,
# so that it resolves the driver down to the C library. How to reach the mirror it learns from the
# system's configuration; hooks and other settings stay behind.
configure_apt() {
    local state=$1 mirror=$2 signed_by="" keyring
    for keyring in /usr/share/keyrings/debian-archive-keyring.{pgp,gpg}; do
        [ ! -e "$keyring" ] || signed_by="[signed-by=$keyring]"
    done
    mkdir -p "$state"/{lists,archives}/partial
    : >"$state/status"
    echo "deb $signed_by $mirror sid main" >"$state/sources.list"
    {
        apt-config dump | grep '^Acquire::' | grep -v '^Acquire::IndexTargets' || true
        cat <<END
Acquire::Languages { "none"; };
APT::Sandbox::User "";
Dir::Cache "$state";
Dir::Cache::archives "$state/archives";
Dir::Etc::main "/dev/null";
Dir::Etc::parts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Dir::Etc::sourcelist "$state/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::State "$state";
Dir::State::lists "$state/lists";
Dir::State::status "$state/status";
END
    } >"$state/apt.conf"
}

# fetch STATE: the driver, the Vulkan loader and all that they need, as STATE/archives/*.deb.
fetch() {
    local state=$1
    export APT_CONFIG=$state/apt.conf
    apt-get update -q &&
        apt-get install -y -q --download-only --no-install-recommends mesa-vulkan-drivers libvulkan1
}

# unpack STATE ROOT: the libraries of the packages, of the drivers only lavapipe.
unpack() {
    local state=$1 root=$2 package
    for package in "$state"/archives/*.deb; do
        dpkg-deb --extract "$package" "$root"
    done
    find "$root/usr/lib" \( -name 'libvulkan_*.so' ! -name libvulkan_lvp.so -o -name 'libVkLayer_*' \) -delete
    find "$root/usr/share" -mindepth 1 -maxdepth 1 ! -name vulkan -exec rm -rf {} +
}

# write_run FILE: the program that starts another one with the libraries beside it.
write_run() {
    cat >"$1" <<'END'
#!/bin/sh
# Starts a program with the loader, the libraries and the Vulkan driver in root/.
root=$(cd "$(dirname "$0")" && pwd)/root
set -- "$root"/usr/lib/*-linux-gnu*/ld-linux*.so.* "$@"
libraries=$(dirname "$1")
loader=$1
shift
VK_DRIVER_FILES=$(echo "$root"/usr/share/vulkan/icd.d/lvp_icd*.json)
VK_LOADER_LAYERS_DISABLE='~implicit~'
export VK_DRIVER_FILES VK_LOADER_LAYERS_DISABLE
exec "$loader" --library-path "$libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}" "$@"
END
    chmod +x "$1"
}

# set_up DIR: everything in a folder beside DIR, renamed when it is whole.
set_up() {
    local dir=$1 mirror work version
    for tool in apt-get apt-config dpkg-deb; do
        command -v "$tool" >/dev/null || fail "$tool is needed: this works on Debian, Ubuntu and their kin"
    done
    mirror=${DEBIAN_MIRROR:-$(debian_mirror)}
    mkdir -p "$(dirname "$dir")"
    work=$(mktemp -d "$dir.XXXXXX")
    # shellcheck disable=SC2064 # the folder's name as it is now
    trap "rm -rf '$work'" EXIT
    chmod 755 "$work"

    say "fetching Mesa from Debian sid (70 MB, from $mirror)"
    configure_apt "$work/apt" "$mirror"
    if ! (fetch "$work/apt") >"$work/log" 2>&1; then
        tail -n 20 "$work/log" >&2
        fail "the packages cannot be fetched from $mirror; another mirror: DEBIAN_MIRROR=URL"
    fi
    say "unpacking $(find "$work/apt/archives" -name '*.deb' | wc -l) packages," \
        "$(du -sh "$work/apt/archives" | cut -f1)"
    unpack "$work/apt" "$work/root"
    version=$(dpkg-deb --field "$work"/apt/archives/mesa-vulkan-drivers_*.deb Version)
    rm -rf "$work/apt" "$work/log"
    write_run "$work/run"
    echo "$version" >"$work/version"
    # Whoever came first has won; a second one is the same.
    mv -T "$work" "$dir" 2>/dev/null || [ -x "$dir/run" ] || fail "$dir is in the way"
    say "Mesa $version is in $dir, $(du -sh "$dir" | cut -f1)"
}

# is_program FILE: whether the dynamic loader can start it.
is_program() { [ "$(head -c 4 "$1" | tr -d '\0')" = $'\x7fELF' ]; }

dir=${XDG_CACHE_HOME:-$HOME/.cache}/trine/mesa
case ${1:-} in
    -h | --help)
        sed -n '2,/^set -/ { /^set -/d; s/^# \{0,1\}//; p }' "$0"
        exit 0
        ;;
    -- | "") ;;
    -*) fail "unknown option $1; see --help" ;;
    *)
        dir=$(realpath -m "$1")
        shift
        ;;
esac
if [ $# -gt 0 ]; then
    [ "$1" = -- ] || fail "expected -- before the command; see --help"
    shift
fi

if [ -x "$dir/run" ]; then
    say "Mesa $(cat "$dir/version") in $dir"
else
    set_up "$dir"
fi
[ $# -gt 0 ] || exit 0

program=$(command -v "$1") || fail "$1: no such program"
shift
if [ "$(basename "$program")" = cargo ]; then
    case $dir in *[[:space:]]*) fail "cargo cannot take a runner from a folder with spaces: $dir" ;; esac
    host=$(rustc -vV | sed -n 's/^host: //p' | tr 'a-z-' 'A-Z_')
    export "CARGO_TARGET_${host}_RUNNER=$dir/run"
    exec "$program" "$@"
fi
is_program "$program" || fail "$program is not a compiled program: name the program that it starts"
exec "$dir/run" "$program" "$@"

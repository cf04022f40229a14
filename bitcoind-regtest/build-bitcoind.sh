#!/usr/bin/env bash
# Builds bitcoind from the Bitcoin Core tree inside the cargo package libbitcoinkernel-sys.
#
# usage: build-bitcoind.sh DESTINATION
#
# Leaves one executable, DESTINATION/bitcoind: Core's `bitcoin-node` target, which is bitcoind plus the
# mining interface over a Unix socket. No wallet, no GUI, no ZMQ. Missing build tools are installed with
# apt-get (as root or through sudo). Takes 4 to 10 minutes on two cores, once; a second run returns at once.
set -euo pipefail

readonly package=libbitcoinkernel-sys version=0.4.1
readonly destination=${1:?usage: build-bitcoind.sh DESTINATION}
readonly tools=(cmake ninja-build g++ pkg-config libboost-dev capnproto libcapnp-dev)

say() { printf 'bitcoind: %s\n' "$*" >&2; }

install_tools() {
    local missing=()
    for tool in "${tools[@]}"; do
        dpkg-query -W -f='${Status}' "$tool" 2>/dev/null | grep -q '^install ok' || missing+=("$tool")
    done
    [ ${#missing[@]} -eq 0 ] && return
    say "installing ${missing[*]}"
    local as_root=()
    [ "$(id -u)" -eq 0 ] || as_root=(sudo)
    "${as_root[@]}" apt-get update -qq >&2
    DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
}

# Lets cargo fetch the package (with its checksum verified) and copies the tree, since two files change below.
fetch_source() {
    mkdir -p "$work/fetch/src"
    : >"$work/fetch/src/lib.rs"
    cat >"$work/fetch/Cargo.toml" <<EOF
[package]
name = "fetch"
version = "0.0.0"
edition = "2021"
[dependencies]
$package = "=$version"
[workspace]
EOF
    say "fetching $package $version"
    (cd "$work/fetch" && cargo vendor --quiet vendor >/dev/null)
    cp -r "$work/fetch/vendor/$package/bitcoin" "$work/source"
    # These two define names that clash with their neighbours in a unity build.
    cat >>"$work/source/src/CMakeLists.txt" <<'EOF'
set_source_files_properties(node/chainstate.cpp index/coinstatsindex.cpp PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
EOF
}

build() {
    local off=() option
    for option in BUILD_CLI BUILD_TESTS BUILD_BENCH BUILD_TX BUILD_UTIL BUILD_BITCOIN_BIN BUILD_GUI ENABLE_WALLET \
        ENABLE_EXTERNAL_SIGNER WITH_ZMQ WITH_EMBEDDED_ASMAP WITH_CCACHE INSTALL_MAN; do
        off+=("-D$option=OFF")
    done
    say "configuring"
    cmake -S "$work/source" -B "$work/build" -G Ninja -DCMAKE_BUILD_TYPE=Release \
        -DCMAKE_CXX_FLAGS_RELEASE="-O1 -g0" -DCMAKE_UNITY_BUILD=ON -DCMAKE_UNITY_BUILD_BATCH_SIZE=6 \
        -DBUILD_DAEMON=ON -DENABLE_IPC=ON "${off[@]}" >"$work/configure.log" 2>&1 ||
        { tail -n 40 "$work/configure.log" >&2; say "configuring failed"; return 1; }
    say "compiling (4 to 10 minutes on two cores, only this once)"
    NINJA_STATUS='bitcoind: [%f/%t] %es ' ninja -C "$work/build" bitcoin-node 2>&1 | tee "$work/build.log" |
        grep --line-buffered -E '^(bitcoind: \[|FAILED)|error:' >&2 ||
        { tail -n 40 "$work/build.log" >&2; say "compiling failed"; return 1; }
}

mkdir -p "$destination"
exec 9>"$destination/lock"
flock -n 9 || { say "another process is building it, waiting"; flock 9; }
if [ -x "$destination/bitcoind" ]; then
    exit 0
fi
work=$(mktemp -d "$destination/work.XXXXXX")
trap 'rm -rf "$work"' EXIT
install_tools
fetch_source
build
install -m 755 "$work/build/bin/bitcoin-node" "$destination/bitcoind.new"
mv "$destination/bitcoind.new" "$destination/bitcoind" # at once, so that nobody sees half a file
say "built $destination/bitcoind"

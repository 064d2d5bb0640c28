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
mkdir "$stage/empty"
cp "${CARGO_TARGET_DIR:-target}/$target/release/quorate" "$stage/quorate"
chmod 0755 "$stage/quorate" "$stage/empty"
docker build --file docker/Dockerfile --tag "$image" "$stage"

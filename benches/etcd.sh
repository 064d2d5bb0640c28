#!/bin/sh
# Builds what the comparison needs of etcd, through Go modules: the server, and the load program of benches/etcd.
#
#   benches/etcd.sh [FOLDER]        default: target/etcd; a Go toolchain (1.26 or newer) is all it needs
#
# ETCD_VERSION names another version than the one below.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
folder=${1:-"$here/../target/etcd"}
version=${ETCD_VERSION:-v3.6.16}
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)

source=$(mktemp -d)
trap 'rm -rf "$source"' EXIT
cat > "$source/main.go" <<'GO'
package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() { etcdmain.Main(os.Args) }
GO
(
    cd "$source"
    go mod init etcd
    go get "go.etcd.io/etcd/server/v3@$version"
    go mod tidy
    go build -trimpath -ldflags '-s -w' -o "$folder/etcd" .
)
(cd "$here/etcd" && go build -trimpath -o "$folder/etcd-load" .)
"$folder/etcd" --version

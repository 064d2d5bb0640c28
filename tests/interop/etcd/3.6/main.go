// A whole etcd, for tests in which it is a member that bootstraps: its module has no main package that may be fetched.
package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() { etcdmain.Main(os.Args) }

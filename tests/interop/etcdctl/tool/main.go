// The etcdctl of a release that Debian has not: its module has no main package.
package main

import "go.etcd.io/etcd/etcdctl/v3/ctlv3"

func main() { ctlv3.MustStart() }

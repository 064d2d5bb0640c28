// What programs in Go do with etcd every day, by clientv3 and its packages, against a cluster of three with TLS.
//
//	everyday ENDPOINTS CACERT CERT KEY
//
// It says `kill one` when a member is to be killed, and goes on after a line on stdin. The last line is `ok`.
package main

import (
	"fmt"

	"interop/site"
)

func main() {
	client := site.Dial()
	defer client.Close()
	for _, step := range steps {
		step.run(client)
		fmt.Println(step.name)
	}
	fmt.Println("ok")
}

// penguinit, "Golang을 통해서 etcd 간단하게 알아보기" (2024): its first program. As it stands but for the
// endpoints and its imports: `time` was missing, `fmt` not used.

package main

import (
	"context"
	"log"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

func main() {
    cli, err := createClient()
    if err != nil {
        log.Fatal(err)
    }
    defer cli.Close()

    err = putKey(cli, "key", "value")
    if err != nil {
        log.Fatal(err)
    }
}

func createClient() (*clientv3.Client, error) {
	cli, err := clientv3.New(clientv3.Config{
		Endpoints:   endpoints,
		DialTimeout: 5 * time.Second,
	})
	if err != nil {
		return nil, err
	}
	return cli, nil
}

func putKey(cli *clientv3.Client, key, value string) error {
    ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
    defer cancel()
    
	_, err := cli.Put(ctx, key, value)
    return err
}

// penguinit, "Golang을 통해서 etcd 간단하게 알아보기" (2024): its second program. As it stands but for the
// endpoints.

package main

import (
	"context"
	"fmt"
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

	// Watch
	go watchKey(cli, "key")

	// Simulate Create, Update, Delete operations
	time.Sleep(1 * time.Second)
	err = putKey(cli, "key", "value")
	if err != nil {
		log.Fatal(err)
	}
	time.Sleep(1 * time.Second)

	err = putKey(cli, "key", "new_value")
	if err != nil {
		log.Fatal(err)
	}
	time.Sleep(1 * time.Second)

	err = deleteKey(cli, "key")
	if err != nil {
		log.Fatal(err)
	}

	// Wait to observe the watch output
	time.Sleep(3 * time.Second)
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

func deleteKey(cli *clientv3.Client, key string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_, err := cli.Delete(ctx, key)
	return err
}

func watchKey(cli *clientv3.Client, key string) {
	rch := cli.Watch(context.Background(), key)
	for wresp := range rch {
		for _, ev := range wresp.Events {
			fmt.Printf("Watch: %s %q : %q\n", ev.Type, ev.Kv.Key, ev.Kv.Value)
		}
	}
}

// "etcd使用手记" (2023): its program. As it stands but for the endpoints.

package main

import (
	"context"
	"fmt"
	"log"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

func main() {
	cli, err := clientv3.New(clientv3.Config{
		Endpoints:   endpoints,
		DialTimeout: 5 * time.Second,
	})
	if err != nil {
		panic(err)
	}
	defer cli.Close()

	etcdBase(cli)
	etcdWatch(cli)
	etcdLease(cli)
	etcdKeepAlive(cli)
}

// etcdBase 基础的创建跟删除
func etcdBase(client *clientv3.Client) {
	var key = "/hb/etcd/base"
	if _, err := client.Put(context.Background(), key, "123456"); err != nil {
		fmt.Printf("error is: %#v \n", err)
	}

	resp, err := client.Get(context.Background(), key)
	if err != nil {
		fmt.Printf("error is: %#v \n", err)
	}

	for _, kvs := range resp.Kvs {
		fmt.Printf("Get key=%v, value=%v \n", string(kvs.Key), string(kvs.Value))
	}

	if _, err := client.Delete(context.Background(), key); err != nil {
		fmt.Printf("error is: %#v \n", err)
	}
}

// etcd watch机器
func etcdWatch(client *clientv3.Client) {
	var watchKey = "/hb/etcd/watch"

	go func() {
		for i := 0; i < 10; i++ {
			_, _ = client.Put(context.Background(), fmt.Sprintf("%s/key_%d", watchKey, i), "world")
		}

		for i := 0; i < 10; i++ {
			_, _ = client.Delete(context.Background(), fmt.Sprintf("%s/key_%d", watchKey, i))
		}
	}()

	go func() {
		watchCh := client.Watch(context.Background(), watchKey, clientv3.WithPrefix())
		for resp := range watchCh {
			for _, ev := range resp.Events {
				fmt.Printf("Watch Type: %s; Key: %s; Value: %s\n", ev.Type, ev.Kv.Key, ev.Kv.Value)
			}
		}
	}()
}

// etcdLease etcd租约
func etcdLease(client *clientv3.Client) {
	var key = "/hb/etcd/lease"
	// 创建一个5秒的租约
	grantResp, err := client.Grant(context.Background(), 5)
	if err != nil {
		fmt.Printf("hello")
		log.Fatal(err)
	}

	// 5秒钟之后, key就会被移除
	_, err = client.Put(context.Background(), key, "lease", clientv3.WithLease(grantResp.ID))
	if err != nil {
		log.Fatal(err)
	}

	resp, err := client.Get(context.Background(), key)
	if err != nil {
		log.Fatal(err)
	}

	for _, kvs := range resp.Kvs {
		fmt.Printf("Lease key=%v, value=%v \n", string(kvs.Key), string(kvs.Value))
	}

	time.Sleep(6 * time.Second)

	resp, err = client.Get(context.Background(), key)
	if err != nil {
		log.Fatal(err)
	}

	for _, kvs := range resp.Kvs {
		fmt.Printf("Lease Expired key=%v, value=%v \n", string(kvs.Key), string(kvs.Value))
	}
}

// etcdKeepAlive etcd keepAlive
func etcdKeepAlive(client *clientv3.Client) {
	var key = "/hb/etcd/keepalive"
	resp, err := client.Grant(context.TODO(), 5)
	if err != nil {
		log.Fatal(err)
	}

	_, err = client.Put(context.TODO(), key, "keepalive", clientv3.WithLease(resp.ID))
	if err != nil {
		log.Fatal(err)
	}

	// the key 'foo' will be kept forever
	ch, err := client.KeepAlive(context.TODO(), resp.ID)
	if err != nil {
		log.Fatal(err)
	}
	for {
		ka := <-ch
		fmt.Println("KeepAlive TTL: ", ka.TTL)
	}
}

package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"

	"interop/site"
)

// failover: a member dies; what is held stays held, and a watch misses nothing that was acknowledged.
func failover(client *clientv3.Client) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*site.Patience)
	defer cancel()
	holder := session(client)
	held := concurrency.NewMutex(holder, "f/lock")
	site.Ok(held.Lock(ctx))
	watch := client.Watch(ctx, "f/n", clientv3.WithCreatedNotify())
	site.That(site.Next("its creation", watch).Created, "the first word of a watch")

	acknowledged := []string{}
	write := func(n int) {
		value := fmt.Sprint(n)
		for {
			once, cancelOnce := context.WithTimeout(ctx, 5*time.Second)
			_, err := client.Put(once, "f/n", value)
			cancelOnce()
			if err == nil {
				acknowledged = append(acknowledged, "PUT f/n="+value)
				return
			}
			// Whether it was done is not known; done twice it is the same.
			site.Ok(ctx.Err())
			time.Sleep(50 * time.Millisecond)
		}
	}
	for n := range 20 {
		write(n)
	}
	fmt.Println("kill one")
	_, err := bufio.NewReader(os.Stdin).ReadString('\n')
	site.Ok(err)
	for n := 20; n < 40; n++ {
		write(n)
	}

	// In order; one that was tried twice may be heard twice.
	heard := []string{}
	for len(heard) < len(acknowledged) {
		for _, each := range hear(watch, 1) {
			if len(heard) == 0 || heard[len(heard)-1] != each {
				heard = append(heard, each)
			}
		}
	}
	site.Equal(heard, acknowledged)
	select {
	case <-holder.Done():
		panic("the session ended with a member")
	default:
	}
	site.That(site.Must(client.Txn(ctx).If(held.IsOwner()).Then(clientv3.OpGet("f/n")).Commit()).Succeeded, "the lock is held")
	site.Ok(held.Unlock(ctx))
	site.Ok(holder.Close())
}

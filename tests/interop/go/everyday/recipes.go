package main

import (
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
	recipe "go.etcd.io/etcd/client/v3/experimental/recipes"

	"interop/site"
)

func session(client *clientv3.Client) *concurrency.Session {
	return site.Must(concurrency.NewSession(client, concurrency.WithTTL(20)))
}

func sessions(client *clientv3.Client) {
	ctx, cancel := site.Soon()
	defer cancel()
	one := session(client)
	site.Must(client.Put(ctx, "s", "", clientv3.WithLease(one.Lease())))
	site.Ok(one.Close())
	site.Equal(site.Must(client.Get(ctx, "s")).Count, int64(0))
	two := session(client)
	site.Must(client.Revoke(ctx, two.Lease()))
	select {
	case <-two.Done():
	case <-time.After(site.Patience):
		panic("a session without its lease goes on")
	}
}

func mutexes(client *clientv3.Client) {
	ctx, cancel := site.Soon()
	defer cancel()
	one, two := session(client), session(client)
	defer one.Close()
	defer two.Close()
	held, wanted := concurrency.NewMutex(one, "m"), concurrency.NewMutex(two, "m")
	site.Ok(held.Lock(ctx))
	site.That(errors.Is(wanted.TryLock(ctx), concurrency.ErrLocked), "it is held")
	site.That(site.Must(client.Txn(ctx).If(held.IsOwner()).Then(clientv3.OpGet("m")).Commit()).Succeeded, "who holds it owns it")
	got := make(chan error, 1)
	go func() { got <- wanted.Lock(ctx) }()
	select {
	case err := <-got:
		panic(fmt.Sprintf("two hold it: %v", err))
	case <-time.After(200 * time.Millisecond):
	}
	site.Ok(held.Unlock(ctx))
	site.Ok(site.Next("the lock", got))
	site.Ok(wanted.Unlock(ctx))

	// Mutual exclusion: a counter that is read and written in two steps.
	var all sync.WaitGroup
	for range 4 {
		all.Add(1)
		go func() {
			defer all.Done()
			mine := session(client)
			defer mine.Close()
			locker := concurrency.NewLocker(mine, "m/counter")
			for range 5 {
				locker.Lock()
				read := site.Must(client.Get(ctx, "counted"))
				count := 0
				if len(read.Kvs) == 1 {
					count = site.Must(strconv.Atoi(string(read.Kvs[0].Value)))
				}
				site.Must(client.Put(ctx, "counted", strconv.Itoa(count+1)))
				locker.Unlock()
			}
		}()
	}
	all.Wait()
	site.Equal(pairs(site.Must(client.Get(ctx, "counted"))), "counted=20")
}

func elections(client *clientv3.Client) {
	ctx, cancel := site.Soon()
	defer cancel()
	one, two := session(client), session(client)
	defer one.Close()
	first, second := concurrency.NewElection(one, "e"), concurrency.NewElection(two, "e")
	_, err := first.Leader(ctx)
	site.That(errors.Is(err, concurrency.ErrElectionNoLeader), "%v", err)
	observed := first.Observe(ctx)
	observe := func(value string) {
		site.Equal(string(site.Next("a leader", observed).Kvs[0].Value), value)
	}
	site.Ok(first.Campaign(ctx, "one"))
	observe("one")
	site.Ok(first.Proclaim(ctx, "one, again"))
	observe("one, again")
	won := make(chan error, 1)
	go func() { won <- second.Campaign(ctx, "two") }()
	site.Ok(first.Resign(ctx))
	site.Ok(site.Next("the election", won))
	observe("two")
	site.Equal(string(site.Must(first.Leader(ctx)).Kvs[0].Value), "two")
	// Whose session ends is leader no more.
	site.Ok(two.Close())
	site.Ok(first.Campaign(ctx, "one, at last"))
	observe("one, at last")
}

func stm(*clientv3.Client) {
	ctx, cancel := site.Soon()
	defer cancel()
	// One endpoint: it reads on at the revision of its first read, and another member may not be there yet.
	client := site.Dial(func(config *clientv3.Config) { config.Endpoints = config.Endpoints[:1] })
	defer client.Close()
	accounts := []string{"stm/0", "stm/1", "stm/2"}
	for _, level := range []concurrency.Isolation{
		concurrency.SerializableSnapshot, concurrency.Serializable, concurrency.RepeatableReads,
	} {
		for _, account := range accounts {
			site.Must(client.Put(ctx, account, "100"))
		}
		var all sync.WaitGroup
		for from := range accounts {
			all.Add(1)
			go func() {
				defer all.Done()
				for round := range 10 {
					move := func(memory concurrency.STM) error {
						payer, payee := accounts[from], accounts[(from+1+round%2)%3]
						left := site.Must(strconv.Atoi(memory.Get(payer)))
						has := site.Must(strconv.Atoi(memory.Get(payee)))
						memory.Put(payer, strconv.Itoa(left-1))
						memory.Put(payee, strconv.Itoa(has+1))
						return nil
					}
					site.Must(concurrency.NewSTM(client, move, concurrency.WithIsolation(level),
						concurrency.WithAbortContext(ctx)))
				}
			}()
		}
		all.Wait()
		sum := 0
		for _, kv := range site.Must(client.Get(ctx, "stm/", clientv3.WithPrefix())).Kvs {
			sum += site.Must(strconv.Atoi(string(kv.Value)))
		}
		site.Equal(sum, 300)
	}
}

func recipesOfContrib(client *clientv3.Client) {
	queue := recipe.NewQueue(client, "r/queue")
	site.Ok(queue.Enqueue("first"))
	site.Ok(queue.Enqueue("second"))
	site.Equal(site.Must(queue.Dequeue()), "first")
	site.Equal(site.Must(queue.Dequeue()), "second")

	urgent := recipe.NewPriorityQueue(client, "r/urgent")
	site.Ok(urgent.Enqueue("later", 5))
	site.Ok(urgent.Enqueue("now", 1))
	site.Equal(site.Must(urgent.Dequeue()), "now")

	barrier := recipe.NewBarrier(client, "r/barrier")
	site.Ok(barrier.Hold())
	open := make(chan error, 1)
	go func() { open <- barrier.Wait() }()
	site.Ok(barrier.Release())
	site.Ok(site.Next("an open barrier", open))

	one, two := session(client), session(client)
	defer one.Close()
	defer two.Close()
	reader, writer := recipe.NewRWMutex(one, "r/rw"), recipe.NewRWMutex(two, "r/rw")
	site.Ok(reader.RLock())
	written := make(chan error, 1)
	go func() { written <- writer.Lock() }()
	site.Ok(reader.RUnlock())
	site.Ok(site.Next("the writer's turn", written))
	site.Ok(writer.Unlock())
}

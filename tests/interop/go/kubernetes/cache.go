package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"interop/site"
)

// cache holds what a list found, and follows by a watch, as the API server's watch cache does.
type cache struct {
	mutex    sync.Mutex
	objects  map[string]string
	revision int64
}

func follow(ctx context.Context, client *clientv3.Client, prefix string) *cache {
	held := &cache{objects: map[string]string{}}
	found := site.Must(client.Get(ctx, prefix, clientv3.WithPrefix()))
	for _, kv := range found.Kvs {
		held.objects[string(kv.Key)] = string(kv.Value)
	}
	held.revision = found.Header.Revision
	watch := client.Watch(clientv3.WithRequireLeader(ctx), prefix, clientv3.WithPrefix(),
		clientv3.WithRev(found.Header.Revision+1), clientv3.WithPrevKV(), clientv3.WithProgressNotify())
	go func() {
		for {
			for response := range watch {
				if response.Err() != nil {
					break
				}
				held.apply(response)
			}
			if ctx.Err() != nil {
				return
			}
			// A member without a leader ends the watches that require one: the cache goes on where it was.
			time.Sleep(50 * time.Millisecond)
			watch = client.Watch(clientv3.WithRequireLeader(ctx), prefix, clientv3.WithPrefix(),
				clientv3.WithRev(held.at()+1), clientv3.WithPrevKV(), clientv3.WithProgressNotify())
		}
	}()
	return held
}

func (held *cache) apply(response clientv3.WatchResponse) {
	held.mutex.Lock()
	defer held.mutex.Unlock()
	newest := held.revision
	for _, event := range response.Events {
		key := string(event.Kv.Key)
		// All of one revision come together, so the last response ended with another one.
		site.That(event.Kv.ModRevision > held.revision && event.Kv.ModRevision >= newest, "the past: %v after %v", event, newest)
		newest = event.Kv.ModRevision
		before, isThere := held.objects[key]
		// What was there before is what the cache has: nothing was missed, and nothing came twice.
		switch {
		case event.IsCreate():
			site.That(!isThere && event.PrevKv == nil, "created twice: %v", event)
		default:
			site.That(isThere && event.PrevKv != nil && string(event.PrevKv.Value) == before, "%v after %q", event, before)
		}
		if event.Type == clientv3.EventTypeDelete {
			delete(held.objects, key)
		} else {
			held.objects[key] = string(event.Kv.Value)
		}
	}
	// The header of a response with events may be ahead of them; that of a notice of progress is what is complete.
	if response.IsProgressNotify() {
		site.That(response.Header.Revision >= newest, "progress to %v after %v", response.Header.Revision, newest)
		newest = response.Header.Revision
	}
	held.revision = newest
}

func (held *cache) at() int64 {
	held.mutex.Lock()
	defer held.mutex.Unlock()
	return held.revision
}

// reaches asks for progress until the cache is as new as a revision: a consistent read from it.
func (held *cache) reaches(ctx context.Context, client *clientv3.Client, revision int64) {
	for held.at() < revision {
		site.Ok(ctx.Err())
		site.Ok(client.RequestProgress(clientv3.WithRequireLeader(ctx)))
		time.Sleep(20 * time.Millisecond)
	}
}

// caches of several servers stay the same as the store, while objects come, change and go, and a member dies.
func caches(client *clientv3.Client) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*site.Patience)
	defer cancel()
	const prefix = "/registry/deployments/"
	key := func(n int) string { return fmt.Sprintf("%sdefault/%02d", prefix, n) }
	for n := range 20 {
		create(ctx, client, key(n), "0")
	}
	servers := []*clientv3.Client{client, site.Dial(), site.Dial()}
	var held []*cache
	for _, server := range servers {
		held = append(held, follow(ctx, server, prefix))
	}
	writer := func(server *clientv3.Client, first, rounds int) {
		for round := range rounds {
			for n := first; n < 20; n += len(servers) {
				for {
					once, cancelOnce := context.WithTimeout(ctx, 5*time.Second)
					_, _, err := change(once, server, key(n), func(value string) string { return value + "." })
					cancelOnce()
					if err == nil {
						break
					}
					site.Ok(ctx.Err())
					time.Sleep(50 * time.Millisecond)
				}
			}
			if round%5 == 4 {
				passing := fmt.Sprintf("%spassing/%d/%d", prefix, first, round)
				once, cancelOnce := context.WithTimeout(ctx, 5*time.Second)
				// They may fail while a member is dead.
				_, _ = server.Put(once, passing, "x")
				_, _ = server.Delete(once, passing)
				cancelOnce()
			}
		}
	}
	work := func(rounds int) {
		var all sync.WaitGroup
		for first, server := range servers {
			all.Add(1)
			go func() {
				defer all.Done()
				writer(server, first, rounds)
			}()
		}
		all.Wait()
		now := site.Must(client.Get(ctx, prefix, clientv3.WithPrefix()))
		for n, each := range held {
			each.reaches(ctx, servers[n], now.Header.Revision)
			each.mutex.Lock()
			found := map[string]string{}
			for _, kv := range now.Kvs {
				found[string(kv.Key)] = string(kv.Value)
			}
			site.Equal(each.objects, found)
			each.mutex.Unlock()
		}
	}
	work(10)
	// A write elsewhere: only progress can tell the caches of its revision.
	site.Must(client.Put(ctx, "/registry/elsewhere", "x"))
	work(0)
	killOne()
	work(10)
	for _, server := range servers[1:] {
		site.Ok(server.Close())
	}
}

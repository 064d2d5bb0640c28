package main

import (
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/leasing"
	"go.etcd.io/etcd/client/v3/mirror"
	"go.etcd.io/etcd/client/v3/namespace"
	"go.etcd.io/etcd/client/v3/naming/endpoints"
	"go.etcd.io/etcd/client/v3/ordering"

	"interop/site"
)

// views are the client's other packages: each shows the same keys in another way.
func views(client *clientv3.Client) {
	ctx, cancel := site.Soon()
	defer cancel()
	inside := namespace.NewKV(client.KV, "ns/")
	heard := namespace.NewWatcher(client.Watcher, "ns/").Watch(ctx, "a", clientv3.WithCreatedNotify())
	site.That(site.Next("its creation", heard).Created, "the first word of a watch")
	site.Must(inside.Put(ctx, "a", "1"))
	site.Equal(hear(heard, 1), []string{"PUT a=1"})
	site.Equal(pairs(site.Must(client.Get(ctx, "ns/a"))), "ns/a=1")

	// Names of a service, as gRPC's resolver finds them.
	names := site.Must(endpoints.NewManager(client, "service"))
	lease := site.Must(client.Grant(ctx, 30))
	updates := site.Must(names.NewWatchChannel(ctx))
	site.Ok(names.AddEndpoint(ctx, "service/1", endpoints.Endpoint{Addr: "10.0.0.1:80"}, clientv3.WithLease(lease.ID)))
	update := site.Next("a name", updates)
	site.That(len(update) == 1 && update[0].Endpoint.Addr == "10.0.0.1:80", "%v", update)
	site.Equal(len(site.Must(names.List(ctx))), 1)

	synced := mirror.NewSyncer(client, "ns/", 0)
	base, failures := synced.SyncBase(ctx)
	site.Equal(pairs((*clientv3.GetResponse)(ptr(site.Next("the keys that are there", base)))), "ns/a=1")
	for err := range failures {
		site.Ok(err)
	}

	ordered := ordering.NewKV(client.KV, ordering.NewOrderViolationSwitchEndpointClosure(client))
	site.Must(ordered.Get(ctx, "ns/a"))
	site.Equal(pairs(site.Must(ordered.Get(ctx, "ns/a", clientv3.WithSerializable()))), "ns/a=1")

	owned, done, err := leasing.NewKV(client, "leasing/")
	site.Ok(err)
	defer done()
	site.Must(owned.Put(ctx, "ns/b", "1"))
	site.Equal(pairs(site.Must(owned.Get(ctx, "ns/b"))), "ns/b=1")
	site.Must(client.Put(ctx, "elsewhere", time.Now().String()))
	site.Must(owned.Put(ctx, "ns/b", "2"))
	site.Equal(pairs(site.Must(owned.Get(ctx, "ns/b"))), "ns/b=2")
}

func ptr[T any](value T) *T { return &value }

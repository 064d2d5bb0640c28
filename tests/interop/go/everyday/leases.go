package main

import (
	"errors"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"interop/site"
)

func leases(client *clientv3.Client) {
	ctx, cancel := site.Soon()
	defer cancel()
	lease := site.Must(client.Grant(ctx, 60))
	site.Equal(lease.TTL, int64(60))
	site.Must(client.Put(ctx, "l/a", "", clientv3.WithLease(lease.ID)))
	site.Must(client.Put(ctx, "l/b", "", clientv3.WithLease(lease.ID)))
	site.Settle(ctx)
	left := site.Must(client.TimeToLive(ctx, lease.ID, clientv3.WithAttachedKeys()))
	site.That(left.GrantedTTL == 60 && left.TTL <= 60 && left.TTL > 0, "%v", left)
	site.Equal(len(left.Keys), 2)

	listed := site.Must(client.Leases(ctx))
	found := false
	for _, each := range listed.Leases {
		found = found || each.ID == lease.ID
	}
	site.That(found, "the lease is listed: %v", listed)

	site.Equal(site.Must(client.KeepAliveOnce(ctx, lease.ID)).TTL, int64(60))
	site.Must(client.Revoke(ctx, lease.ID))
	site.Equal(site.Must(client.Get(ctx, "l/", clientv3.WithPrefix())).Count, int64(0))
	site.Settle(ctx)
	_, err := client.KeepAliveOnce(ctx, lease.ID)
	site.That(errors.Is(err, rpctypes.ErrLeaseNotFound), "%v", err)
	site.Equal(site.Must(client.TimeToLive(ctx, lease.ID)).TTL, int64(-1))

	// Kept alive for longer than it lives by itself; then given up, and it ends.
	short := site.Must(client.Grant(ctx, 5))
	site.Must(client.Put(ctx, "l/short", "", clientv3.WithLease(short.ID)))
	gone := client.Watch(ctx, "l/short", clientv3.WithFilterPut())
	keeping, stopKeeping := site.Soon()
	defer stopKeeping()
	kept := site.Must(client.KeepAlive(keeping, short.ID))
	for range 5 {
		site.That(site.Next("an answer to a keep-alive", kept).TTL == 5, "a whole TTL")
	}
	site.Equal(site.Must(client.Get(ctx, "l/short")).Count, int64(1))
	stopKeeping()
	event := site.Next("the lease's end", gone).Events[0]
	site.That(event.Type == clientv3.EventTypeDelete && string(event.Kv.Key) == "l/short", "%v", event)
}

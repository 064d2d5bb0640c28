package main

import (
	"context"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"interop/site"
)

// told is an event in words.
func told(event *clientv3.Event) string {
	text := fmt.Sprintf("%s %s=%s", event.Type, event.Kv.Key, event.Kv.Value)
	if event.PrevKv != nil {
		text += fmt.Sprintf(" before %s", event.PrevKv.Value)
	}
	return text
}

// hear takes so many events, and returns them in words.
func hear(watch clientv3.WatchChan, count int) []string {
	var heard []string
	for len(heard) < count {
		response := site.Next("an event", watch)
		site.Ok(response.Err())
		for _, event := range response.Events {
			heard = append(heard, told(event))
		}
	}
	return heard
}

func watches(client *clientv3.Client) {
	ctx, cancel := site.Soon()
	defer cancel()
	watching, stop := context.WithCancel(clientv3.WithRequireLeader(ctx))
	one := client.Watch(watching, "w/a", clientv3.WithCreatedNotify())
	all := client.Watch(watching, "w/", clientv3.WithPrefix(), clientv3.WithPrevKV(), clientv3.WithCreatedNotify(),
		clientv3.WithFragment())
	deletes := client.Watch(watching, "w/", clientv3.WithPrefix(), clientv3.WithFilterPut(), clientv3.WithCreatedNotify())
	for _, each := range []clientv3.WatchChan{one, all, deletes} {
		site.That(site.Next("its creation", each).Created, "the first word of a watch")
	}
	site.Must(client.Put(ctx, "w/a", "1"))
	site.Must(client.Put(ctx, "w/b", "2"))
	changed := site.Must(client.Txn(ctx).Then(clientv3.OpPut("w/a", "3"), clientv3.OpDelete("w/b")).Commit())
	site.Equal(hear(one, 2), []string{"PUT w/a=1", "PUT w/a=3"})
	site.Equal(hear(all, 4), []string{"PUT w/a=1", "PUT w/b=2", "PUT w/a=3 before 1", "DELETE w/b= before 2"})
	site.Equal(hear(deletes, 1), []string{"DELETE w/b="})

	site.Ok(client.RequestProgress(watching))
	for _, each := range []clientv3.WatchChan{one, all, deletes} {
		progress := site.Next("a notice of progress", each)
		site.That(progress.IsProgressNotify(), "%v", progress)
		site.That(progress.Header.Revision >= changed.Header.Revision, "%v", progress)
	}
	stop()
	for range one {
	}

	// A thousand watchers on one stream.
	many, stopMany := context.WithCancel(ctx)
	defer stopMany()
	var channels []clientv3.WatchChan
	for n := range 1000 {
		channels = append(channels, client.Watch(many, fmt.Sprintf("w/many/%d", n), clientv3.WithCreatedNotify()))
	}
	for _, each := range channels {
		site.That(site.Next("its creation", each).Created, "the first word of a watch")
	}
	for n := 0; n < 1000; n += 100 {
		site.Must(client.Put(ctx, fmt.Sprintf("w/many/%d", n), "x"))
		site.Equal(hear(channels[n], 1), []string{fmt.Sprintf("PUT w/many/%d=x", n)})
	}
}

func watchesOfThePast(client *clientv3.Client) {
	ctx, cancel := site.Soon()
	defer cancel()
	begin := site.Must(client.Put(ctx, "p", "0")).Header.Revision
	for n := 1; n < 100; n++ {
		site.Must(client.Put(ctx, "p", fmt.Sprint(n)))
	}
	heard := hear(client.Watch(ctx, "p", clientv3.WithRev(begin)), 100)
	for n, each := range heard {
		site.Equal(each, fmt.Sprintf("PUT p=%d", n))
	}
	site.Must(client.Compact(ctx, begin+50, clientv3.WithCompactPhysical()))
	site.Settle(ctx)
	site.Equal(hear(client.Watch(ctx, "p", clientv3.WithRev(begin+50)), 50)[0], "PUT p=50")
	gone := site.Next("a refusal", client.Watch(ctx, "p", clientv3.WithRev(begin)))
	site.That(gone.Canceled && gone.CompactRevision == begin+50, "%v", gone)
	_, err := client.Get(ctx, "p", clientv3.WithRev(begin))
	site.That(err != nil && err.Error() == "etcdserver: mvcc: required revision has been compacted", "%v", err)
}

// What Kubernetes' API server does with etcd: objects that are created, changed and deleted under guard of the revision
// they were read at, lists in pages of one revision, caches that are lists and watches, leases shared by events, and
// compaction that several servers agree on.
//
//	kubernetes ENDPOINTS CACERT CERT KEY
//
// It says `kill one` when a member is to be killed, and goes on after a line on stdin. The last line is `ok`.
package main

import (
	"bufio"
	"context"
	"fmt"
	"os"

	clientv3 "go.etcd.io/etcd/client/v3"

	"interop/site"
)

func main() {
	client := site.Dial()
	defer client.Close()
	for _, step := range []struct {
		name string
		run  func(*clientv3.Client)
	}{
		{"guarded changes", guarded}, {"lists in pages", pages}, {"events with leases", events},
		{"compaction by one of two servers", compaction}, {"caches", caches},
	} {
		step.run(client)
		fmt.Println(step.name)
	}
	fmt.Println("ok")
}

// killOne lets the test kill a member.
func killOne() {
	fmt.Println("kill one")
	site.Must(bufio.NewReader(os.Stdin).ReadString('\n'))
}

// create is guarded by the key's absence.
func create(ctx context.Context, client *clientv3.Client, key, value string, options ...clientv3.OpOption) bool {
	response := site.Must(client.Txn(ctx).
		If(clientv3.Compare(clientv3.ModRevision(key), "=", 0)).
		Then(clientv3.OpPut(key, value, options...)).
		Commit())
	return response.Succeeded
}

// change tries until nobody was faster, as GuaranteedUpdate does, and says what it has written at which revision.
func change(ctx context.Context, client *clientv3.Client, key string, next func(string) string) (string, int64, error) {
	found, err := client.Get(ctx, key)
	if err != nil {
		return "", 0, err
	}
	for {
		site.Equal(len(found.Kvs), 1)
		old := found.Kvs[0]
		value := next(string(old.Value))
		response, err := client.Txn(ctx).
			If(clientv3.Compare(clientv3.ModRevision(key), "=", old.ModRevision)).
			Then(clientv3.OpPut(key, value)).
			Else(clientv3.OpGet(key)).
			Commit()
		if err != nil {
			return "", 0, err
		}
		if response.Succeeded {
			return value, response.Header.Revision, nil
		}
		found = (*clientv3.GetResponse)(response.Responses[0].GetResponseRange())
	}
}

func guarded(client *clientv3.Client) {
	ctx, cancel := site.Soon()
	defer cancel()
	const key = "/registry/pods/default/one"
	site.That(create(ctx, client, key, "0") && !create(ctx, client, key, "1"), "it is created once")

	var done []chan bool
	for range 4 {
		mine := make(chan bool, 1)
		done = append(done, mine)
		go func() {
			for range 10 {
				_, _, err := change(ctx, client, key, func(value string) string { return value + "+" })
				site.Ok(err)
			}
			mine <- true
		}()
	}
	for _, each := range done {
		site.Next("the end of a writer", each)
	}
	found := site.Must(client.Get(ctx, key)).Kvs[0]
	site.Equal(len(found.Value), 41)
	site.Equal(found.Version, int64(41))

	remove := func(revision int64) bool {
		return site.Must(client.Txn(ctx).
			If(clientv3.Compare(clientv3.ModRevision(key), "=", revision)).
			Then(clientv3.OpDelete(key)).
			Else(clientv3.OpGet(key)).
			Commit()).Succeeded
	}
	site.That(!remove(found.ModRevision-1) && remove(found.ModRevision), "it is deleted as it was read")
}

// list reads a prefix in pages, all of them at the revision of the first.
func list(ctx context.Context, client *clientv3.Client, prefix string, limit int64, between func()) ([]string, int64) {
	var keys []string
	var revision int64
	from := prefix
	for {
		options := []clientv3.OpOption{clientv3.WithRange(clientv3.GetPrefixRangeEnd(prefix)), clientv3.WithLimit(limit)}
		if revision > 0 {
			options = append(options, clientv3.WithRev(revision))
		}
		page := site.Must(client.Get(ctx, from, options...))
		if revision == 0 {
			revision = page.Header.Revision
		}
		for _, kv := range page.Kvs {
			keys = append(keys, string(kv.Key))
		}
		// The count is of what is left from here on, whatever the limit.
		site.That(page.More == (page.Count > int64(len(page.Kvs))), "%v of %v", len(page.Kvs), page.Count)
		if !page.More {
			return keys, revision
		}
		from = keys[len(keys)-1] + "\x00"
		between()
	}
}

func pages(client *clientv3.Client) {
	ctx, cancel := site.Soon()
	defer cancel()
	const prefix = "/registry/configmaps/"
	for n := range 95 {
		site.That(create(ctx, client, fmt.Sprintf("%sdefault/%03d", prefix, n), "x"), "a new one")
	}
	extra := 0
	keys, _ := list(ctx, client, prefix, 10, func() {
		// What comes and goes between the pages is not of that revision.
		create(ctx, client, fmt.Sprintf("%sdefault/%03d/late", prefix, 10*extra), "x")
		site.Must(client.Delete(ctx, fmt.Sprintf("%sdefault/%03d", prefix, 90-extra)))
		extra++
	})
	site.Equal(len(keys), 95)
	for n, key := range keys {
		site.Equal(key, fmt.Sprintf("%sdefault/%03d", prefix, n))
	}
	counted := site.Must(client.Get(ctx, prefix, clientv3.WithPrefix(), clientv3.WithCountOnly()))
	site.Equal(counted.Count, int64(95))
	site.That(len(counted.Kvs) == 0, "a count without keys")
}

// events live as long as a lease that many of them share.
func events(client *clientv3.Client) {
	ctx, cancel := site.Soon()
	defer cancel()
	lease := site.Must(client.Grant(ctx, 8))
	for n := range 20 {
		create(ctx, client, fmt.Sprintf("/registry/events/%d", n), "x", clientv3.WithLease(lease.ID))
	}
	watch := client.Watch(ctx, "/registry/events/", clientv3.WithPrefix(), clientv3.WithFilterPut(), clientv3.WithPrevKV())
	gone := site.Next("the end of the lease", watch)
	// All of one lease go at one revision.
	site.Equal(len(gone.Events), 20)
	for _, event := range gone.Events {
		site.Equal(event.Kv.ModRevision, gone.Header.Revision)
		site.Equal(event.PrevKv.Lease, int64(lease.ID))
	}
}

// compact is what each server tries every few minutes; who was first since the last time does it.
func compact(ctx context.Context, client *clientv3.Client, version, revision int64) (int64, int64) {
	const key = "compact_rev_key"
	response := site.Must(client.Txn(ctx).
		If(clientv3.Compare(clientv3.Version(key), "=", version)).
		Then(clientv3.OpPut(key, fmt.Sprint(revision))).
		Else(clientv3.OpGet(key)).
		Commit())
	now := response.Header.Revision
	if !response.Succeeded {
		return response.Responses[0].GetResponseRange().Kvs[0].Version, now
	}
	version++
	if revision > 0 {
		site.Must(client.Compact(ctx, revision))
	}
	return version, now
}

func compaction(client *clientv3.Client) {
	ctx, cancel := site.Soon()
	defer cancel()
	one, seen := compact(ctx, client, 0, 0)
	two, _ := compact(ctx, client, 0, 0)
	site.That(one == 1 && two == 1, "the second one sees what the first one did")
	early := site.Must(client.Get(ctx, "/registry/", clientv3.WithPrefix(), clientv3.WithLimit(1))).Header.Revision
	create(ctx, client, "/registry/pods/default/two", "x")
	one, later := compact(ctx, client, one, seen)
	two, _ = compact(ctx, client, two, seen)
	site.That(one == 2 && two == 2, "one of them has done it")
	site.Must(client.Get(ctx, "/registry/", clientv3.WithPrefix(), clientv3.WithRev(early)))
	one, _ = compact(ctx, client, one, later)
	site.Equal(one, int64(3))
	_, err := client.Get(ctx, "/registry/", clientv3.WithPrefix(), clientv3.WithRev(early), clientv3.WithLimit(10))
	site.That(err != nil && err.Error() == "etcdserver: mvcc: required revision has been compacted", "%v", err)
	site.Settle(ctx)
	refused := site.Next("a refusal", client.Watch(ctx, "/registry/", clientv3.WithPrefix(), clientv3.WithRev(early)))
	site.Equal(refused.CompactRevision, later)

	// Before it asks for progress, a server asks which version each member is.
	for _, endpoint := range client.Endpoints() {
		site.That(site.Must(client.Status(ctx, endpoint)).Version >= "3.5.8", "RequestProgress can be believed")
	}
}

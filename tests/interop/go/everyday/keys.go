package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"interop/site"
)

// pairs are keys and values, as `k=v k=v`.
func pairs(response *clientv3.GetResponse) string {
	var words []string
	for _, kv := range response.Kvs {
		words = append(words, fmt.Sprintf("%s=%s", kv.Key, kv.Value))
	}
	return strings.Join(words, " ")
}

func keys(client *clientv3.Client) {
	ctx, cancel := site.Soon()
	defer cancel()
	get := func(key string, options ...clientv3.OpOption) *clientv3.GetResponse {
		return site.Must(client.Get(ctx, key, options...))
	}
	first := site.Must(client.Put(ctx, "k/a", "1"))
	site.Must(client.Put(ctx, "k/b", "2"))
	site.Must(client.Put(ctx, "k/c", "3"))
	again := site.Must(client.Put(ctx, "k/a", "4", clientv3.WithPrevKV()))
	site.Equal(string(again.PrevKv.Value), "1")
	site.Equal(again.Header.Revision, first.Header.Revision+3)

	site.Equal(pairs(get("k/", clientv3.WithPrefix())), "k/a=4 k/b=2 k/c=3")
	site.Equal(pairs(get("k/b", clientv3.WithFromKey(), clientv3.WithLimit(1))), "k/b=2")
	site.Equal(pairs(get("k/a", clientv3.WithRange("k/c"))), "k/a=4 k/b=2")
	site.Equal(pairs(get("k/a", clientv3.WithRev(first.Header.Revision))), "k/a=1")
	newest := get("k/", clientv3.WithLastRev()...)
	site.Equal(pairs(newest), "k/a=4")
	site.Equal(newest.Kvs[0].Version, int64(2))
	site.Equal(newest.Kvs[0].CreateRevision, first.Header.Revision)
	site.Equal(pairs(get("k/", clientv3.WithPrefix(), clientv3.WithSort(clientv3.SortByValue, clientv3.SortDescend))),
		"k/a=4 k/c=3 k/b=2")

	page := get("k/", clientv3.WithPrefix(), clientv3.WithLimit(2), clientv3.WithKeysOnly())
	site.Equal(pairs(page), "k/a= k/b=")
	site.That(page.More && page.Count == 3, "a page of three: %v", page)
	site.Equal(get("k/", clientv3.WithPrefix(), clientv3.WithCountOnly()).Count, int64(3))
	site.Equal(get("k/", clientv3.WithPrefix(), clientv3.WithMinModRev(again.Header.Revision)).Kvs[0].Key, []byte("k/a"))

	deleted := site.Must(client.Delete(ctx, "k/", clientv3.WithPrefix(), clientv3.WithPrevKV()))
	site.Equal(deleted.Deleted, int64(3))
	site.Equal(string(deleted.PrevKvs[2].Value), "3")
	site.Equal(get("k/", clientv3.WithPrefix()).Count, int64(0))

	// All bytes, and a value that takes more than one frame.
	large := strings.Repeat("\x00\xff", 500_000)
	site.Must(client.Put(ctx, "k/\xff\x00", large))
	site.Equal(string(get("k/\xff\x00").Kvs[0].Value), large)
}

func transactions(client *clientv3.Client) {
	ctx, cancel := site.Soon()
	defer cancel()
	swap := func(from, to string) *clientv3.TxnResponse {
		return site.Must(client.Txn(ctx).
			If(clientv3.Compare(clientv3.Value("t"), "=", from), clientv3.Compare(clientv3.Version("t"), ">", 0)).
			Then(clientv3.OpPut("t", to), clientv3.OpGet("t")).
			Else(clientv3.OpGet("t")).
			Commit())
	}
	site.Must(client.Put(ctx, "t", "1"))
	swapped := swap("1", "2")
	site.That(swapped.Succeeded, "the value was 1")
	// A read sees what the same transaction has written before it.
	site.Equal(string(swapped.Responses[1].GetResponseRange().Kvs[0].Value), "2")
	site.Equal(swapped.Responses[0].GetResponsePut().Header.Revision, swapped.Header.Revision)
	refused := swap("1", "3")
	site.That(!refused.Succeeded, "the value was 2")
	site.Equal(string(refused.Responses[0].GetResponseRange().Kvs[0].Value), "2")

	created := func() bool {
		return site.Must(client.Txn(ctx).
			If(clientv3.Compare(clientv3.CreateRevision("t/new"), "=", 0)).
			Then(clientv3.OpPut("t/new", "")).Commit()).Succeeded
	}
	site.That(created() && !created(), "it is created once")

	inner := clientv3.OpTxn(
		[]clientv3.Cmp{clientv3.Compare(clientv3.ModRevision("t"), "=", swapped.Header.Revision)},
		[]clientv3.Op{clientv3.OpDelete("t", clientv3.WithPrefix())}, nil)
	nested := site.Must(client.Txn(ctx).Then(inner, clientv3.OpGet("t", clientv3.WithPrefix())).Commit())
	site.Equal(nested.Responses[0].GetResponseTxn().Responses[0].GetResponseDeleteRange().Deleted, int64(2))
	site.Equal(nested.Responses[1].GetResponseRange().Count, int64(0))

	// The range form of a compare: every key of it.
	site.Must(client.Put(ctx, "t/1", "x"))
	site.Must(client.Put(ctx, "t/2", "y"))
	every := clientv3.Compare(clientv3.Value("t/").WithPrefix(), "=", "x")
	// Without an operation a member would answer from what it has, as etcd does.
	site.That(!site.Must(client.Txn(ctx).If(every).Then(clientv3.OpGet("t/1")).Commit()).Succeeded, "one of them is y")
}

// mistakes are told by values that programs compare.
func mistakes(client *clientv3.Client) {
	ctx, cancel := site.Soon()
	defer cancel()
	is := func(err error, expected error) {
		site.That(errors.Is(err, expected), "found %v, expected %v", err, expected)
	}
	_, err := client.Put(ctx, "", "v")
	is(err, rpctypes.ErrEmptyKey)
	_, err = client.Get(ctx, "k", clientv3.WithRev(1<<40))
	is(err, rpctypes.ErrFutureRev)
	_, err = client.Put(ctx, "k", strings.Repeat("x", 1_700_000))
	is(err, rpctypes.ErrRequestTooLarge)
	_, err = client.Txn(ctx).Then(clientv3.OpPut("d", "1"), clientv3.OpPut("d", "2")).Commit()
	is(err, rpctypes.ErrDuplicateKey)
	_, err = client.Put(ctx, "k", "v", clientv3.WithLease(12345))
	is(err, rpctypes.ErrLeaseNotFound)
	_, err = client.Put(ctx, "nothing", "", clientv3.WithIgnoreValue())
	is(err, rpctypes.ErrKeyNotFound)
	_, err = client.Compact(ctx, 1<<40)
	is(err, rpctypes.ErrFutureRev)
	_, err = client.AuthStatus(ctx)
	site.Ok(err)

	short, cancelShort := context.WithTimeout(context.Background(), 0)
	defer cancelShort()
	_, err = client.Get(short, "k")
	is(err, context.DeadlineExceeded)
}

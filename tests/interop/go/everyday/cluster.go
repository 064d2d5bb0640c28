package main

import (
	"context"
	"errors"
	"io"
	"strings"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"interop/site"
)

func members(client *clientv3.Client) {
	ctx, cancel := site.Soon()
	defer cancel()
	listed := site.Must(client.MemberList(ctx))
	site.Equal(len(listed.Members), 3)
	for _, member := range listed.Members {
		site.That(member.Name != "" && len(member.ClientURLs) == 1, "%v", member)
	}
	added := site.Must(client.MemberAddAsLearner(ctx, []string{"https://127.0.0.1:1"}))
	site.That(added.Member.IsLearner && len(added.Members) == 4, "%v", added)
	_, err := client.MemberPromote(ctx, added.Member.ID)
	site.That(errors.Is(err, rpctypes.ErrMemberLearnerNotReady), "%v", err)
	updated := site.Must(client.MemberUpdate(ctx, added.Member.ID, []string{"https://127.0.0.1:2"}))
	site.Equal(len(updated.Members), 4)
	removed := site.Must(client.MemberRemove(ctx, added.Member.ID))
	site.Equal(len(removed.Members), 3)
	_, err = client.MemberRemove(ctx, added.Member.ID)
	site.That(errors.Is(err, rpctypes.ErrMemberNotFound), "%v", err)
}

func maintenance(client *clientv3.Client) {
	ctx, cancel := site.Soon()
	defer cancel()
	written := site.Must(client.Put(ctx, "maintained", "x")).Header.Revision
	site.Settle(ctx)
	hashes := map[uint32]bool{}
	var leader, other uint64
	var leads string
	for _, endpoint := range client.Endpoints() {
		status := site.Must(client.Status(ctx, endpoint))
		site.That(strings.HasPrefix(status.Version, "3.") && status.DbSize > 0 && len(status.Errors) == 0, "%v", status)
		if status.Leader == status.Header.MemberId {
			leader, leads = status.Leader, endpoint
		} else {
			other = status.Header.MemberId
		}
		hashes[site.Must(client.HashKV(ctx, endpoint, written)).Hash] = true
		site.Must(client.Defragment(ctx, endpoint))
	}
	site.Equal(len(hashes), 1)
	site.Equal(len(site.Must(client.AlarmList(ctx)).Alarms), 0)

	saved := site.Must(client.SnapshotWithVersion(ctx))
	size := site.Must(io.Copy(io.Discard, saved.Snapshot))
	// Pages, and a SHA-256 behind them.
	site.Equal(size%512, int64(32))
	site.That(strings.HasPrefix(saved.Version, "3."), "%q", saved.Version)

	at := site.Dial(func(config *clientv3.Config) { config.Endpoints = []string{leads} })
	defer at.Close()
	site.Must(at.MoveLeader(ctx, other))
	site.That(site.Must(client.Status(ctx, leads)).Leader != leader, "it was asked to hand over")
}

func deadEndpoints(client *clientv3.Client) {
	ctx, cancel := site.Soon()
	defer cancel()
	// The first one is dead from the beginning.
	some := site.Dial(func(config *clientv3.Config) {
		config.Endpoints = append([]string{"127.0.0.1:1"}, config.Endpoints...)
	})
	defer some.Close()
	for range 6 {
		site.Must(some.Put(ctx, "endpoint", "x"))
	}
	// From one to all that the cluster tells of.
	one := site.Dial(func(config *clientv3.Config) { config.Endpoints = config.Endpoints[:1] })
	defer one.Close()
	site.Ok(one.Sync(ctx))
	site.Equal(len(one.Endpoints()), 3)
	for range 6 {
		site.Must(one.Get(ctx, "endpoint"))
	}
	// Nobody is there.
	none, err := clientv3.New(clientv3.Config{Endpoints: []string{"127.0.0.1:1"}, TLS: site.Config().TLS})
	site.Ok(err)
	defer none.Close()
	short, cancelShort := context.WithTimeout(ctx, 300_000_000)
	defer cancelShort()
	_, err = none.Get(short, "endpoint")
	site.That(errors.Is(err, context.DeadlineExceeded), "%v", err)
}

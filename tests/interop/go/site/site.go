// Package site: where the cluster is, as the test says it, and what a program does about something it did not expect.
package site

import (
	"context"
	"fmt"
	"os"
	"reflect"
	"strings"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// Patience is the longest time for anything that should happen soon: the machines that run this are busy.
const Patience = 60 * time.Second

// Config is what the program's arguments say: ENDPOINTS CACERT CERT KEY.
func Config() clientv3.Config {
	That(len(os.Args) == 5, "usage: %s ENDPOINTS CACERT CERT KEY", os.Args[0])
	files := transport.TLSInfo{TrustedCAFile: os.Args[2], CertFile: os.Args[3], KeyFile: os.Args[4]}
	tls := Must(files.ClientConfig())
	return clientv3.Config{
		Endpoints:            strings.Split(os.Args[1], ","),
		TLS:                  tls,
		DialTimeout:          10 * time.Second,
		DialKeepAliveTime:    10 * time.Second,
		DialKeepAliveTimeout: 10 * time.Second,
	}
}

// Dial is a client by that configuration, or by what is made of it.
func Dial(change ...func(*clientv3.Config)) *clientv3.Client {
	config := Config()
	for _, each := range change {
		each(&config)
	}
	return Must(clientv3.New(config))
}

// Settle returns when every member has applied all that was answered before: what one member knows by itself (leases,
// what is compacted) is then known to each of them.
func Settle(ctx context.Context) {
	for _, endpoint := range Config().Endpoints {
		one := Dial(func(config *clientv3.Config) { config.Endpoints = []string{endpoint} })
		Must(one.Get(ctx, "settled"))
		Ok(one.Close())
	}
}

// Soon is the time that one step may take.
func Soon() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), Patience)
}

// Must is the value, if there is no error.
func Must[T any](value T, err error) T {
	Ok(err)
	return value
}

// Ok ends the program if there is an error.
func Ok(err error) {
	if err != nil {
		panic(err)
	}
}

// That ends the program with what was expected, if it is not so.
func That(holds bool, format string, words ...any) {
	if !holds {
		panic(fmt.Sprintf(format, words...))
	}
}

// Equal ends the program if it found something else.
func Equal[T any](found, expected T) {
	That(reflect.DeepEqual(found, expected), "found %#v, expected %#v", found, expected)
}

// Next is what a channel gives soon.
func Next[T any](what string, channel <-chan T) T {
	select {
	case value, open := <-channel:
		That(open, "%s: the channel is closed", what)
		return value
	case <-time.After(Patience):
		panic(what + " did not come")
	}
}

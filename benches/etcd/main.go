// The load of `quorate bench`, over gRPC: the same words, the same keys, the same JSON. It is here so that etcd can be
// driven as Quorate is, by the client that etcd's users have.
//
//	etcd-load put|get|mixed|txn|watch|lease|first -endpoints https://127.0.0.1:2379 -in-flight 64 ...
//
// At least one connection for each 64 calls in flight: with TLS, etcd's HTTP/2 resets streams of busier ones.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
)

type options struct {
	endpoints                               []string
	cacert, cert, key, prefix, pids         string
	inFlight, connections, watchers, leases int
	keys, rate                              uint64
	keyBytes, valueBytes                    int
	page, ttl                               int64
	reads                                   uint64
	duration, warmUp                        time.Duration
	serializable, sequential                bool
	tls                                     *tls.Config
}

func parse(words []string) *options {
	o := &options{}
	set := flag.NewFlagSet("etcd-load", flag.ExitOnError)
	endpoints := set.String("endpoints", "https://127.0.0.1:2379", "servers, with commas")
	set.StringVar(&o.cacert, "cacert", "", "CA of the servers (PEM)")
	set.StringVar(&o.cert, "cert", "", "certificate to show (PEM)")
	set.StringVar(&o.key, "key", "", "its private key (PEM)")
	set.IntVar(&o.inFlight, "in-flight", 64, "calls that wait for their answer at the same time")
	set.IntVar(&o.connections, "connections", 0, "connections, spread over the endpoints")
	set.Uint64Var(&o.rate, "rate", 0, "calls that begin each second; 0: as fast as they are answered")
	set.DurationVar(&o.duration, "duration", 10*time.Second, "how long it is measured")
	set.DurationVar(&o.warmUp, "warm-up", time.Second, "load before anything is measured")
	set.Uint64Var(&o.keys, "keys", 100_000, "keys that are written and read")
	set.StringVar(&o.prefix, "prefix", "bench/", "what every key begins with")
	set.IntVar(&o.keyBytes, "key-bytes", 32, "length of a key")
	set.IntVar(&o.valueBytes, "value-bytes", 256, "length of a value")
	set.BoolVar(&o.sequential, "sequential", false, "one key after the other")
	set.BoolVar(&o.serializable, "serializable", false, "read what the asked member has")
	set.Int64Var(&o.page, "page", 0, "read the first N keys of the whole prefix")
	set.Uint64Var(&o.reads, "reads", 3, "reads for each write")
	set.IntVar(&o.watchers, "watchers", 1_000, "watchers of the prefix")
	set.IntVar(&o.leases, "leases", 10_000, "leases")
	set.Int64Var(&o.ttl, "ttl", 30, "seconds of a lease")
	set.StringVar(&o.pids, "pid", "", "the servers' processes, with commas")
	must(set.Parse(words))
	o.endpoints = strings.Split(*endpoints, ",")
	if o.cacert != "" {
		pair, err := tls.LoadX509KeyPair(o.cert, o.key)
		must(err)
		pem, err := os.ReadFile(o.cacert)
		must(err)
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(pem)
		o.tls = &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	return o
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "Error:", err)
		os.Exit(1)
	}
}

// One connection to one endpoint; each turn begins with another.
func (o *options) client(turn int) *clientv3.Client {
	client, err := clientv3.New(clientv3.Config{
		Endpoints: []string{o.endpoints[turn%len(o.endpoints)]}, TLS: o.tls,
		DialTimeout: 5 * time.Second, Logger: zap.NewNop(),
	})
	must(err)
	return client
}

func (o *options) clients(count int) []*clientv3.Client {
	clients := make([]*clientv3.Client, count)
	for turn := range clients {
		clients[turn] = o.client(turn)
	}
	return clients
}

func (o *options) keyOf(number uint64) string {
	return fmt.Sprintf("%s%0*d", o.prefix, o.keyBytes-len(o.prefix), number)
}

func (o *options) value() []byte {
	dice := dice(o.valueBytes)
	value := make([]byte, max(o.valueBytes, 8))
	for at := range value {
		value[at] = byte(dice.roll() >> 56)
	}
	return value
}

// SplitMix64, as in `quorate bench`: both systems are asked for the same keys.
type dice uint64

func (d *dice) roll() uint64 {
	*d += 0x9e3779b97f4a7c15
	mixed := uint64(*d)
	mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9
	mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111eb
	return mixed ^ (mixed >> 31)
}

var order atomic.Uint64

func (o *options) pick(d *dice) string {
	if o.sequential {
		return o.keyOf((order.Add(1) - 1) % o.keys)
	}
	return o.keyOf(d.roll() % o.keys)
}

type call func(client *clientv3.Client, d *dice) error

func (o *options) call(name string) call {
	ctx, value := context.Background(), string(o.value())
	within := func(do func(ctx context.Context) error) error {
		ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
		defer cancel()
		return do(ctx)
	}
	var read []clientv3.OpOption
	if o.serializable {
		read = append(read, clientv3.WithSerializable())
	}
	put := func(client *clientv3.Client, d *dice) error {
		key := o.pick(d)
		return within(func(ctx context.Context) error { _, err := client.Put(ctx, key, value); return err })
	}
	get := func(client *clientv3.Client, d *dice) error {
		key := o.pick(d)
		return within(func(ctx context.Context) error { _, err := client.Get(ctx, key, read...); return err })
	}
	switch {
	case name == "put":
		return put
	case name == "get" && o.page > 0:
		paged := append(read, clientv3.WithPrefix(), clientv3.WithLimit(o.page))
		return func(client *clientv3.Client, d *dice) error {
			return within(func(ctx context.Context) error { _, err := client.Get(ctx, o.prefix, paged...); return err })
		}
	case name == "get":
		return get
	case name == "mixed":
		return func(client *clientv3.Client, d *dice) error {
			if d.roll()%(o.reads+1) == 0 {
				return put(client, d)
			}
			return get(client, d)
		}
	default:
		return func(client *clientv3.Client, d *dice) error {
			key := o.pick(d)
			return within(func(ctx context.Context) error {
				_, err := client.Txn(ctx).If(clientv3.Compare(clientv3.Version(key), ">", -1)).
					Then(clientv3.OpPut(key, value)).Else(clientv3.OpGet(key)).Commit()
				return err
			})
		}
	}
}

// Writes all keys, unless as many are there.
func (o *options) prepare() {
	client := o.client(0)
	defer client.Close()
	counted, err := client.Get(context.Background(), o.prefix, clientv3.WithPrefix(), clientv3.WithCountOnly())
	must(err)
	if counted.Count >= int64(o.keys) {
		return
	}
	value := string(o.value())
	firsts := make(chan uint64)
	var writing sync.WaitGroup
	for range 16 {
		writing.Add(1)
		go func() {
			defer writing.Done()
			for first := range firsts {
				var puts []clientv3.Op
				for number := first; number < min(first+100, o.keys); number++ {
					puts = append(puts, clientv3.OpPut(o.keyOf(number), value))
				}
				_, err := client.Txn(context.Background()).Then(puts...).Commit()
				must(err)
			}
		}()
	}
	for first := uint64(0); first < o.keys; first += 100 {
		firsts <- first
	}
	close(firsts)
	writing.Wait()
}

// When a call may begin: at once, or when it is due. The time is counted from then.
type pace struct {
	rate  uint64
	began time.Time
	taken atomic.Uint64
}

func (p *pace) next() time.Time {
	if p.rate == 0 {
		return time.Now()
	}
	due := p.began.Add(time.Duration(float64(p.taken.Add(1)-1) * 1e9 / float64(p.rate)))
	time.Sleep(time.Until(due))
	return due
}

func (o *options) calls(name string) *report {
	if name == "get" || name == "mixed" {
		o.prepare()
	}
	connections := o.connections
	if connections == 0 {
		connections = (o.inFlight + 63) / 64
	}
	clients, do := o.clients(connections), o.call(name)
	window := &window{}
	tallies := make([]*tally, o.inFlight)
	pace := &pace{rate: o.rate, began: time.Now()}
	var working sync.WaitGroup
	for number := range tallies {
		tallies[number] = &tally{}
		working.Add(1)
		go func() {
			defer working.Done()
			client, d := clients[number%connections], dice(number)
			for !window.over() {
				due := pace.next()
				err := do(client, &d)
				tallies[number].end(window, due, err)
				if err != nil {
					time.Sleep(10 * time.Millisecond)
				}
			}
		}()
	}
	r := o.measure(window)
	working.Wait()
	for _, t := range tallies {
		r.tally.add(t)
	}
	label := name
	if name == "get" && o.page > 0 {
		label = "page"
	}
	if o.serializable {
		label += " (serializable)"
	}
	r.fill(label, o.inFlight, connections, "calls", "call",
		fmt.Sprintf("%d keys of %d bytes, values of %d bytes", o.keys, o.keyBytes, o.valueBytes))
	r.written = map[string]float64{"put": 1, "txn": 1, "mixed": 1 / float64(o.reads+1)}[name] * float64(o.keyBytes+o.valueBytes)
	return r
}

// Measures from the end of the warm-up to the end of the window.
func (o *options) measure(window *window) *report {
	time.Sleep(o.warmUp)
	pids := pidsOf(o.pids)
	before, client := usageOf(pids), usageOf([]int{os.Getpid()})
	window.begin()
	time.Sleep(o.duration)
	elapsed := window.end()
	return &report{
		options: o, elapsed: elapsed, pids: len(pids),
		servers: usageOf(pids).since(before), client: usageOf([]int{os.Getpid()}).since(client),
	}
}

func (o *options) watch() *report {
	connections := o.connections
	if connections == 0 {
		connections = (o.watchers + 999) / 1000
	}
	clients, writer := o.clients(connections), o.client(0)
	window := &window{}
	told := make(chan struct{}, 1)
	var delivered, put atomic.Uint64
	var created sync.WaitGroup
	tallies := make([]*tally, o.watchers)
	for number := range tallies {
		tallies[number] = &tally{}
		created.Add(1)
		go func() {
			t := tallies[number]
			events := clients[number%connections].Watch(context.Background(), o.prefix,
				clientv3.WithPrefix(), clientv3.WithCreatedNotify())
			for response := range events {
				if response.Created {
					created.Done()
					continue
				}
				now := time.Now()
				for _, event := range response.Events {
					stamp := time.Unix(0, int64(binary.BigEndian.Uint64(event.Kv.Value)))
					t.endAt(window, stamp, now, nil)
				}
				if delivered.Add(uint64(len(response.Events))) >= put.Load()*uint64(o.watchers) {
					select {
					case told <- struct{}{}:
					default:
					}
				}
			}
		}()
	}
	created.Wait()
	go func() {
		var d dice
		pace := &pace{rate: o.rate, began: time.Now()}
		for !window.over() {
			value := o.value()
			binary.BigEndian.PutUint64(value, uint64(pace.next().UnixNano()))
			put.Add(1)
			_, err := writer.Put(context.Background(), o.pick(&d), string(value))
			must(err)
			for o.rate == 0 && delivered.Load() < put.Load()*uint64(o.watchers) {
				<-told
			}
		}
	}()
	r := o.measure(window)
	for _, t := range tallies {
		t.lock.Lock()
		r.tally.add(t)
		t.lock.Unlock()
	}
	r.fill("watch", max(o.inFlight, 1), connections, "events", "put to event",
		fmt.Sprintf("%d watchers of one prefix, values of %d bytes", o.watchers, max(o.valueBytes, 8)))
	return r
}

func (o *options) lease() *report {
	connections := o.connections
	if connections == 0 {
		connections = (o.leases + 9999) / 10000
	}
	clients := o.clients(connections)
	window, grants := &window{}, &tally{}
	tallies := make([]*tally, o.leases)
	turns := make(chan int)
	var granting sync.WaitGroup
	for range o.inFlight {
		granting.Add(1)
		go func() {
			defer granting.Done()
			for number := range turns {
				client, t := clients[number%connections], &tally{}
				tallies[number] = t
				began := time.Now()
				granted, err := client.Grant(context.Background(), o.ttl)
				must(err)
				grants.time(time.Since(began))
				alive, err := client.KeepAlive(context.Background(), granted.ID)
				must(err)
				go func() {
					for range alive {
						t.countOnly(window)
					}
					t.fail("the lease is gone")
				}()
			}
		}()
	}
	for number := range o.leases {
		turns <- number
	}
	close(turns)
	granting.Wait()
	r := o.measure(window)
	for _, t := range tallies {
		t.lock.Lock()
		r.tally.add(t)
		t.lock.Unlock()
	}
	r.tally.add(grants)
	r.fill("lease", o.inFlight, connections, "renewals", "grant",
		fmt.Sprintf("%d leases of %d s", o.leases, o.ttl))
	return r
}

// Asks again and again, each time with a connection of its own, and says when the first linearizable put was answered.
// The client tries to connect every 10 to 100 ms: with the second that gRPC waits else, it would find a server that is
// there long after it came.
func (o *options) first() {
	eager := grpc.WithConnectParams(grpc.ConnectParams{
		Backoff:           backoff.Config{BaseDelay: 10 * time.Millisecond, Multiplier: 1.6, MaxDelay: 100 * time.Millisecond},
		MinConnectTimeout: time.Second,
	})
	patience := time.Now().Add(2 * time.Minute)
	var last error
	for time.Now().Before(patience) {
		client, err := clientv3.New(clientv3.Config{
			Endpoints: o.endpoints[:1], TLS: o.tls, Logger: zap.NewNop(), DialOptions: []grpc.DialOption{eager},
		})
		must(err)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		_, last = client.Put(ctx, o.prefix+"first", "put")
		cancel()
		client.Close()
		if last == nil {
			fmt.Println(time.Now().UnixMilli())
			return
		}
		time.Sleep(time.Millisecond)
	}
	must(fmt.Errorf("%s did not answer a put for two minutes: %w", o.endpoints[0], last))
}

// The place of the leader's endpoint among those given.
func (o *options) leader() {
	for at, endpoint := range o.endpoints {
		client := o.client(at)
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		status, err := client.Status(ctx, endpoint)
		cancel()
		client.Close()
		must(err)
		if status.Leader == status.Header.MemberId {
			fmt.Println(at)
			return
		}
	}
}

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "Error: say put, get, mixed, txn, watch, lease or first")
		os.Exit(128)
	}
	name, o := os.Args[1], parse(os.Args[2:])
	var r *report
	switch name {
	case "put", "get", "mixed", "txn":
		r = o.calls(name)
	case "watch":
		r = o.watch()
	case "lease":
		r = o.lease()
	case "prepare":
		o.prepare()
		return
	case "first":
		o.first()
		return
	case "leader":
		o.leader()
		return
	default:
		must(fmt.Errorf("%q is no load", name))
	}
	runtime.KeepAlive(r)
	must(json.NewEncoder(os.Stdout).Encode(r.json()))
}

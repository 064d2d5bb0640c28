package main

import (
	"fmt"
	"math/bits"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// The window in which calls count: after the warm-up, until the end.
type window struct{ began, ended atomic.Int64 }

func (w *window) begin()     { w.began.Store(time.Now().UnixNano()) }
func (w *window) over() bool { return w.ended.Load() != 0 }

func (w *window) end() time.Duration {
	w.ended.Store(time.Now().UnixNano())
	return time.Duration(w.ended.Load() - w.began.Load())
}

// Time since the begin, if the moment is inside the window.
func (w *window) holds(now time.Time) (time.Duration, bool) {
	began, ended, at := w.began.Load(), w.ended.Load(), now.UnixNano()
	return time.Duration(at - began), began != 0 && at >= began && (ended == 0 || at <= ended)
}

// Histogram of microseconds with 128 buckets for each power of two: three digits, like the other side's.
const sub = 1 << 7

type tally struct {
	lock    sync.Mutex
	counts  map[int]uint64
	max     uint64
	sum     uint64
	timed   uint64
	seconds []uint64
	errors  uint64
	error   string
}

func bucket(micros uint64) int {
	if micros < 2*sub {
		return int(micros)
	}
	shift := bits.Len64(micros) - 8
	return (shift+1)*sub + int(micros>>shift) - sub + 0
}

func value(bucket int) uint64 {
	if bucket < 2*sub {
		return uint64(bucket)
	}
	shift := bucket/sub - 1
	return (uint64(bucket%sub+sub)+1)<<shift - 1
}

func (t *tally) time(took time.Duration) {
	t.lock.Lock()
	defer t.lock.Unlock()
	t.record(took)
}

func (t *tally) record(took time.Duration) {
	micros := max(uint64(took.Microseconds()), 1)
	if t.counts == nil {
		t.counts = map[int]uint64{}
	}
	t.counts[bucket(micros)]++
	t.max, t.sum, t.timed = max(t.max, micros), t.sum+micros, t.timed+1
}

func (t *tally) second(since time.Duration) {
	second := int(since / time.Second)
	for len(t.seconds) <= second {
		t.seconds = append(t.seconds, 0)
	}
	t.seconds[second]++
}

func (t *tally) end(w *window, due time.Time, err error) { t.endAt(w, due, time.Now(), err) }

func (t *tally) endAt(w *window, due, now time.Time, err error) {
	since, inside := w.holds(now)
	if !inside {
		return
	}
	if err != nil {
		t.fail(err.Error())
		return
	}
	t.lock.Lock()
	defer t.lock.Unlock()
	t.record(now.Sub(due))
	t.second(since)
}

func (t *tally) countOnly(w *window) {
	if since, inside := w.holds(time.Now()); inside {
		t.lock.Lock()
		defer t.lock.Unlock()
		t.second(since)
	}
}

func (t *tally) fail(text string) {
	t.lock.Lock()
	defer t.lock.Unlock()
	t.errors++
	if t.error == "" {
		t.error = text
	}
}

func (t *tally) add(other *tally) {
	if t.counts == nil {
		t.counts = map[int]uint64{}
	}
	for bucket, count := range other.counts {
		t.counts[bucket] += count
	}
	t.max, t.sum, t.timed = max(t.max, other.max), t.sum+other.sum, t.timed+other.timed
	for second, count := range other.seconds {
		for len(t.seconds) <= second {
			t.seconds = append(t.seconds, 0)
		}
		t.seconds[second] += count
	}
	t.errors += other.errors
	if t.error == "" {
		t.error = other.error
	}
}

func (t *tally) quantile(q float64) uint64 {
	var last, seen uint64
	want := uint64(q*float64(t.timed)) + 1
	buckets := 0
	for bucket := range t.counts {
		buckets = max(buckets, bucket)
	}
	for bucket := 0; bucket <= buckets; bucket++ {
		count := t.counts[bucket]
		if count == 0 {
			continue
		}
		last = min(value(bucket), t.max)
		if seen += count; seen >= want {
			return last
		}
	}
	return last
}

type usage struct {
	cpu     float64
	written uint64
}

func (u usage) since(before usage) usage {
	return usage{u.cpu - before.cpu, u.written - before.written}
}

// CPU time and bytes written of processes, from /proc.
func usageOf(pids []int) usage {
	var sum usage
	for _, pid := range pids {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		must(err)
		fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
		user, _ := strconv.ParseFloat(fields[11], 64)
		system, _ := strconv.ParseFloat(fields[12], 64)
		sum.cpu += (user + system) / 100
		io, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", pid))
		must(err)
		for line := range strings.Lines(string(io)) {
			if text, found := strings.CutPrefix(line, "write_bytes:"); found {
				bytes, _ := strconv.ParseUint(strings.TrimSpace(text), 10, 64)
				sum.written += bytes
			}
		}
	}
	return sum
}

func pidsOf(text string) []int {
	var pids []int
	for word := range strings.SplitSeq(text, ",") {
		if word != "" {
			pid, err := strconv.Atoi(word)
			must(err)
			pids = append(pids, pid)
		}
	}
	return pids
}

// What a run came to, as `quorate bench -w json` writes it.
type report struct {
	options                       *options
	name, counted, timed, setting string
	inFlight, connections, pids   int
	elapsed                       time.Duration
	tally                         tally
	servers, client               usage
	written                       float64
}

func (r *report) fill(name string, inFlight, connections int, counted, timed, setting string) {
	r.name, r.inFlight, r.connections = name, inFlight, connections
	r.counted, r.timed, r.setting = counted, timed, setting
}

func (r *report) json() map[string]any {
	var operations uint64
	for _, count := range r.tally.seconds {
		operations += count
	}
	var worst any
	for second := range int(r.elapsed / time.Second) {
		var count uint64
		if second < len(r.tally.seconds) {
			count = r.tally.seconds[second]
		}
		if worst == nil || count < worst.(uint64) {
			worst = count
		}
	}
	per := func(amount float64, of float64) any {
		if of == 0 {
			return nil
		}
		return amount / of
	}
	var serversCPU, serversWritten, amplification any
	if r.pids > 0 {
		serversCPU = per(r.servers.cpu*1e5, float64(operations))
		serversWritten = r.servers.written
		if r.written > 0 {
			amplification = per(float64(r.servers.written), r.written*float64(operations))
		}
	}
	var rate, failure any
	if r.options.rate > 0 {
		rate = r.options.rate
	}
	if r.tally.error != "" {
		failure = r.tally.error
	}
	t := &r.tally
	return map[string]any{
		"bench": r.name, "system": "etcd", "setting": r.setting,
		"in_flight": r.inFlight, "connections": r.connections, "rate": rate,
		"seconds": r.elapsed.Seconds(), "counted": r.counted, "operations": operations,
		"per_second": float64(operations) / r.elapsed.Seconds(), "worst_second": worst,
		"errors": t.errors, "error": failure, "timed": r.timed,
		"latency_us": map[string]any{
			"mean": per(float64(t.sum), float64(t.timed)), "p50": t.quantile(0.5), "p90": t.quantile(0.9),
			"p99": t.quantile(0.99), "p99.9": t.quantile(0.999), "max": t.max,
		},
		"client_cpu_s_per_100k": per(r.client.cpu*1e5, float64(operations)),
		"servers":               r.pids, "servers_cpu_s_per_100k": serversCPU,
		"servers_written_bytes": serversWritten, "written_per_byte_put": amplification,
	}
}

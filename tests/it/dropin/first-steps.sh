#!/bin/sh
# As people write it for etcd: a member that is waited for by its log, keys, a backup, maintenance while it is down, a
# cluster restored from the backup. CLIENT and PEER are URLs.
set -eu
export ETCDCTL_API=3

fail() {
    echo "FAILED: $1" >&2
    tail -n 20 etcd.log >&2
    exit 1
}

wait_for_log() {
    n=0
    until grep -q 'ready to serve client requests' etcd.log; do
        n=$((n + 1))
        [ "$n" -lt 300 ] || fail "etcd did not become ready"
        kill -0 "$pid" 2>/dev/null || fail "etcd ended"
        sleep 0.2
    done
}

case $(etcd --version | awk '/^etcd Version:/ {print $3}') in
3.*) ;;
*) fail "etcd --version" ;;
esac
etcdctl version | grep -q '^etcdctl version: 3\.' || fail "etcdctl version"
etcdutl version | grep -q '^etcdutl version: 3\.' || fail "etcdutl version"

etcd --data-dir data --name s1 --listen-client-urls "$CLIENT" --advertise-client-urls "$CLIENT" \
    --listen-peer-urls "$PEER" --initial-advertise-peer-urls "$PEER" --initial-cluster "s1=$PEER" \
    --logger=zap --log-outputs=stderr --snapshot-count=10000 >etcd.log 2>&1 &
pid=$!
trap 'kill -9 "$pid" 2>/dev/null || true' EXIT
wait_for_log

export ETCDCTL_ENDPOINTS="$CLIENT"
etcdctl endpoint health || fail "health"
for n in 1 2 3 4 5; do
    etcdctl put "key-$n" "value-$n" >/dev/null
done
[ "$(etcdctl get key-3 --print-value-only)" = value-3 ] || fail "get"
[ "$(etcdctl get key- --prefix --count-only -w fields | awk '/"Count"/ {print $3}')" = 5 ] || fail "count"
etcdctl snapshot save backup.db >/dev/null || fail "snapshot save"
hash=$(etcdctl endpoint hashkv -w fields | awk '/"Hash"/ {print $3}')

kill -TERM "$pid"
status=0
wait "$pid" || status=$?
[ "$status" -eq 143 ] || fail "etcd ended with $status"

etcdutl snapshot status backup.db -w table || fail "snapshot status"
[ "$(etcdutl hashkv backup.db -w fields | awk '/"Hash"/ {print $3}')" = "$hash" ] || fail "hashkv of the backup"
etcdutl defrag --data-dir data || fail "defrag"
etcdutl backup --data-dir data --backup-dir copy || fail "backup"
[ -d copy ] || fail "backup made nothing"
etcdutl snapshot restore backup.db --data-dir restored --wal-dir restored-wal --name s1 \
    --initial-cluster "s1=$PEER" --initial-advertise-peer-urls "$PEER" || fail "snapshot restore"
etcdutl migrate --data-dir data --target-version 3.5 2>/dev/null && fail "there is no older version"

# By variables, as images have it; and on the data that was defragmented, then on the restored one.
export ETCD_NAME=s1 ETCD_LISTEN_CLIENT_URLS="$CLIENT" ETCD_ADVERTISE_CLIENT_URLS="$CLIENT" \
    ETCD_LISTEN_PEER_URLS="$PEER" ETCD_INITIAL_ADVERTISE_PEER_URLS="$PEER" ETCD_INITIAL_CLUSTER="s1=$PEER"
for dir in data restored; do
    : >etcd.log
    ETCD_DATA_DIR=$dir etcd >etcd.log 2>&1 &
    pid=$!
    wait_for_log
    [ "$(etcdctl get key-5 --print-value-only)" = value-5 ] || fail "get from $dir"
    kill -INT "$pid"
    status=0
    wait "$pid" || status=$?
    # A shell starts what runs behind it with SIGINT ignored; whoever listens for it is ended by it nevertheless.
    [ "$status" -eq 130 ] || fail "etcd on $dir ended with $status"
done
echo ok

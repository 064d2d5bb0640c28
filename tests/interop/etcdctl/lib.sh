# What the scripts of this folder are written in: members, calls of etcdctl, and a transcript that is the same wherever it
# is taken. Given by whoever runs them: ETCDCTL and SERVER (programs), WORK (an empty folder), PORTS (ten free ones).
set -uo pipefail
cd "$WORK"
MINOR=$(ETCDCTL_API=3 "$ETCDCTL" version 2>/dev/null | sed -n 's/^API version: 3\.//p')
# 3.6 complains of a variable that it does not know.
if [ "$MINOR" -lt 6 ]; then export ETCDCTL_API=3; fi
: >names

# Where etcdctl is sent to; a call may say otherwise: at=ADDRESS ctl get a
at= home=
tool() { "$ETCDCTL" --endpoints "$at" "$@"; }

# eventually WORD...: until that succeeds.
eventually() {
    local tries=0
    until "$@" >>waits.log 2>&1; do
        tries=$((tries + 1))
        if [ $tries -gt 200 ]; then echo "it does not come: $*"; tail -n 20 waits.log; exit 1; fi
        sleep 0.1
    done
}

# Writes something for what differs from cluster to cluster; wherever it stands, it is told by that name.
name() { printf 's#\\b%s\\b#%s#g\n' "$1" "$2" >>names; }

# An id in hex, by this name, also where it is written as a number.
name_id() {
    name "$1" "$2"
    name "$(printf %u "0x$1")" "$2"
}

nth_port() { cut -d' ' -f"$1" <<<"$PORTS"; }
client_address() { echo "127.0.0.1:$(nth_port $((2 * $1)))"; }
peer_url() { echo "http://127.0.0.1:$(nth_port $((2 * $1 - 1)))"; }

for n in 1 2 3 4 5; do
    name "$(client_address $n)" "n$n-clients"
    name "$(peer_url $n | cut -d/ -f3)" "n$n-peers"
done

# start N INITIAL [FLAG...]: member nN, with its peers.
start() {
    local n=$1 initial=$2 client
    client=$(client_address "$n")
    "$SERVER" --name "n$n" --data-dir "$WORK/n$n" "${@:3}" --initial-cluster "$initial" \
        --listen-peer-urls "$(peer_url "$n")" --initial-advertise-peer-urls "$(peer_url "$n")" \
        --listen-client-urls "http://$client" --advertise-client-urls "http://$client" \
        >>"$WORK/n$n.log" 2>&1 &
}

knows_storage() { tool endpoint status -w json | grep -q '"storageVersion":"3'; }

# Waits until member N serves, and names its id.
serves() {
    local at
    at=$(client_address "$1")
    eventually tool endpoint health
    # A real one needs a while to write its storage's version.
    if [ "$MINOR" -ge 6 ]; then eventually knows_storage; fi
    name_id "$(tool endpoint status | cut -d' ' -f2 | tr -d ,)" "n$1-id"
}

# What differs from run to run, by its place: terms, indexes, sizes, times, ids that have no name.
masked() {
    sed -E -f names -e '/^\{"level":/d' -e 's/ +$//' -e 's/\x00/NUL/g' \
        -e 's/("?(cluster_id|raft_term|raftTerm|raftIndex|raftAppliedIndex|dbSize|dbSizeInUse|hash)":)[0-9]+/\1N/g' \
        -e 's/("member_id":)("?)[a-zA-Z0-9-]+"?/\1\2N\2/g' -e 's/^("(ClusterID|MemberID|RaftTerm|RaftIndex|RaftAppliedIndex|DBSize|DBSizeInUse|Hash)" : ).*/\1N/' \
        -e 's/took ?=? [0-9.]+(m|µ|n)?s\b/took TIME/g' -e 's/("took":")[^"]*/\1TIME/g' -e 's/^("Took" : ).*/\1TIME/' \
        -e 's/\b[0-9.]+ [kM]?B,/SIZE,/g' -e 's/\b[0-9]+%,/N%,/' \
        -e 's/(true|false), [0-9]+, [0-9]+, [0-9]+,/\1, N, N, N,/' -e 's/^((http:..)?n[0-9]-clients, )[0-9]+(, [0-9]+)?$/\1HASH\3/' \
        -e 's/remaining\([0-9]+s\)/remaining(TIME)/' -e 's/("ttl":|^"TTL" : )[0-9]+/\1TIME/' \
        -e 's/\b3\.6\.[0-9]+\b/3.6.N/g' -e 's/\b[0-9a-f]{12,16}\b/ID/g' -e 's/\b[0-9]{15,20}\b/ID/g' \
        -e 's/ +(ID|n[0-9]-id)\b/ \1/g' | awk -F ' *[|] *' '
        /^[+]-/ { print "+"; border = (border + 1) % 3; next }
        /^[|]/ {
            line = "|"
            for (at = 2; at < NF; at++) {
                if (border == 1) heading[at] = $at
                else if (heading[at] ~ /SIZE|TERM|INDEX|IN USE|TOOK|^HASH$/) $at = "N"
                line = line " " $at " |"
            }
            print line
            next
        }
        { print }'
}

# A message in protobuf: without its header, in hex.
headless() {
    local hex
    hex=$(od -An -v -tx1 | tr -d ' \n')
    if [ "${hex:0:2}" = 0a ]; then hex=${hex:$((4 + 2 * 16#${hex:2:2}))}; fi
    # Some have the header's fields for their own; the ids among them go.
    sed -E 's/^08([89a-f].)*[0-7].10([89a-f].)*[0-7].//' <<<"$hex" | sed 's/^/protobuf: /'
}

shown() {
    printf '$ etcdctl'
    if [ "$at" != "$home" ]; then printf ' --endpoints %s' "$at" | sed -f names; fi
    printf ' %q' "$@" | sed -f names
}

# told WORD...: runs etcdctl, and tells what it said and how it ended. What stands on stdin is passed on.
told() {
    local status
    shown "$@"; echo
    timeout 120 "$ETCDCTL" --endpoints "$at" "$@" >out 2>&1; status=$?
    case " $* " in
        *" protobuf "*) if [ $status = 0 ]; then headless <out; else masked <out; fi ;;
        *) masked <out ;;
    esac
    [ $status = 0 ] || echo "exit $status"
    echo
}

# The same without stdin.
ctl() { told "$@" </dev/null; }

# The same in every format.
formats() {
    local format
    for format in simple json fields table protobuf; do ctl "$@" -w "$format"; done
}

# The same where order, and who answers, differ from cluster to cluster: lines are sorted, and objects are lines.
sorted() {
    "$@" | sed -E -e '/^ETCD_INITIAL_CLUSTER=/s/[",]/\n/g' -e 's/\},\{/}\n{/g' -e 's/\[\{/[\n{/g' -e 's/\}\]/}\n]/g' |
        { IFS= read -r call; echo "$call"; sort; }
    echo
}

# quiet WORD...: runs etcdctl, which must succeed.
quiet() {
    tool "$@" >out 2>&1 </dev/null || { echo "it fails: etcdctl $*"; cat out; exit 1; }
}

# begin NAME WORD...: etcdctl in the background; its stdin is what say writes, until `end` ends it.
begin() {
    local id=$1
    shift
    shown "$@"; echo ' &'; echo
    rm -f "$id.in"; mkfifo "$id.in"
    "$ETCDCTL" --endpoints "$at" "$@" >"$id.out" 2>&1 <"$id.in" &
    eval "pid_$id=$!"
    eval "exec {fd_$id}>\"$id.in\""
}

say() { eval "printf '%s\n' \"\$2\" >&\$fd_$1"; }

# hears NAME PATTERN [TIMES]: waits until so many lines are like that.
hears() {
    local tries=0
    until [ "$(grep -acE "$2" "$1.out")" -ge "${3:-1}" ]; do
        tries=$((tries + 1))
        if [ $tries -gt 200 ]; then echo "$1 did not hear $2:"; cat "$1.out"; exit 1; fi
        sleep 0.1
    done
}

# end NAME [SIGNAL]: what it has said; without a signal it ends by itself, when its stdin has.
end() {
    local pid fd status
    eval "pid=\$pid_$1; fd=\$fd_$1"
    if [ $# = 2 ]; then kill -s "$2" "$pid"; else exec {fd}>&-; fi
    wait "$pid"; status=$?
    exec {fd}>&-
    echo "$1:"; masked <"$1.out"
    [ $status = 0 ] || echo "exit $status"
    echo
}

# The store's revision.
revision() { tool get '' --prefix --limit 1 -w json | sed 's/.*"revision":\([0-9]*\).*/\1/'; }

# Keys of one member: put, get, del, txn, watch, compaction.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
start 1 "n1=$(peer_url 1)"; serves 1
at=$(client_address 1); home=$at

formats put foo bar
formats put foo baz --prev-kv
formats get foo
formats get nothing
quiet put foo1 one; quiet put foo2 two; quiet put goo three
formats get foo --prefix
formats get foo foo2
formats get '' --prefix --keys-only
formats get foo --prefix --count-only
formats get foo --rev 3
ctl get foo --rev 3 --print-value-only
ctl get --from-key foo1
ctl get --from-key foo1 --limit 2 -w json
ctl get foo --prefix --sort-by modify --order descend
ctl get foo --prefix --sort-by value --order ascend --keys-only
ctl get foo --prefix --sort-by version --order descend --keys-only
ctl get foo --consistency s
ctl get foo --consistency x
ctl get foo --rev 9999
ctl get foo --hex
ctl get foo --user root:secret
ctl put --hex foo bar
ctl get ''
ctl get
ctl put
ctl put foo
echo 'from stdin' | told put foo
ctl get foo
ctl put foo --ignore-value --prev-kv
ctl put nothing --ignore-value
ctl put foo x --ignore-lease
ctl put foo x --lease 77
ctl put foo x --lease zz
ctl get foo -w nonsense
ctl get --prefix --from-key foo
ctl del foo --prefix --from-key
ctl put -- -key -value
ctl get -- -key
ctl put empty ''
ctl get empty
ctl get empty -w json
if [ "$MINOR" -ge 6 ]; then
    ctl get foo --prefix --keys-only --min-mod-rev 10 --max-mod-rev 16
    ctl get foo --prefix --keys-only --min-create-rev 10 --max-create-rev 15
fi

formats del nothing
quiet put d1 v; quiet put d2 v; quiet put d3 v; quiet put d4 v; quiet put d5 v
formats del d1 --prev-kv
ctl del d2 d4
ctl del d --prefix --prev-kv
ctl del zzz --from-key

in_txn() { told txn "$@" <<<"$text"; }
text='value("foo") = "x"
mod("foo") > "0"
create("foo") = "2"
version("foo") > "1"

put t yes
get t
del foo2 --prev-kv
get --prefix foo

put t no
'
for format in simple json fields table protobuf; do in_txn -w $format; done
in_txn --interactive
text='value("foo") = "something else"

put t yes

put t no --prev-kv
get nothing
'
for format in simple json fields table protobuf; do in_txn -w $format; done
in_txn -i
text='mod("t") < "1000"

'
in_txn
text='nonsense

'
in_txn
text='mod("t") > "x"

'
in_txn
text='
put t 1
put t 2

'
in_txn
text='
frob t

'
in_txn

next=$(($(revision) + 1))
begin all watch '' --prefix --rev $next
begin one watch foo --prev-kv --rev $next
begin json watch foo --prev-kv -w json --rev $next
begin fields watch foo -w fields --rev $next
begin table watch foo -w table --rev $next
begin command watch foo --rev $next -- sh -c 'echo "$ETCD_WATCH_EVENT_TYPE $ETCD_WATCH_KEY=$ETCD_WATCH_VALUE at $ETCD_WATCH_REVISION"'
begin range watch f h --rev $next
ETCDCTL_WATCH_KEY=foo begin variable watch --rev $next
begin many watch --interactive
say many 'nonsense'
say many 'watch'
hears many Invalid 2
say many "watch foo --rev $next"
say many "watch goo --prev-kv --rev $next"
quiet put foo after
hears all after; hears one after; hears json "$(printf after | base64)"; hears fields after; hears command after
hears range after; hears variable after; hears many after
quiet del foo
hears all DELETE; hears one DELETE; hears json '"type":1'; hears fields DELETE; hears command DELETE
hears range DELETE; hears variable DELETE; hears many DELETE
quiet put goo last
hears all last; hears range last; hears many last
say many progress
if [ "$MINOR" = 4 ]; then hears many 'progress notify' 2; fi
for each in all one json fields command range variable many; do end $each TERM; done
end table

formats compaction 9999
ctl compaction 10
ctl compaction 9
ctl compact 11 --physical
formats compaction 11
ctl compaction
ctl compaction x
ctl get foo --rev 5
ctl watch foo --rev 5
ctl get foo --rev 11

# One that hears of what comes after it alone: it is there when it hears a probe.
begin now watch now --prefix
heard() { quiet put 'now?' probe; grep -q probe now.out; }
eventually heard
quiet put now 1; quiet del now
hears now DELETE
sed -i -z 's/PUT\nnow?\nprobe\n//g' now.out
end now TERM

# Three members: endpoints, membership, leadership, alarms, maintenance, snapshots, mirrors.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
three="n1=$(peer_url 1),n2=$(peer_url 2),n3=$(peer_url 3)"
# Who leads is to be said by move-leader alone, also on a machine that has much to do.
calm='--heartbeat-interval 300 --election-timeout 3000'
for n in 1 2 3; do start $n "$three" $calm; done
serves 1; serves 2; serves 3
one=$(client_address 1); two=$(client_address 2)
at=$one,$two,$(client_address 3); home=$at

id_of() { tool member list | sed -n "s/^\\([0-9a-f]*\\), [a-z]*, $1,.*/\\1/p"; }
leads() { [ "$(at=$1 tool endpoint status -w fields | grep -cE "^\"(Leader|MemberID)\" : $(printf %u "0x$(at=$1 its_id)")$")" = 2 ]; }
its_id() { tool endpoint status | cut -d' ' -f2 | tr -d ,; }

# The first leads.
for address in $(tr , ' ' <<<"$home"); do
    if leads "$address" && [ "$address" != "$one" ]; then at="$address" quiet move-leader "$(id_of n1)"; fi
done
eventually leads "$one"
quiet put a 1; quiet put b 2; quiet put c 3
# A client may ask twice.
compacted() { tool compaction 3 >compaction 2>&1 || grep 'has been compacted' compaction; }
eventually compacted

for format in simple json fields table; do
    sorted ctl member list -w $format
    sorted ctl endpoint health -w $format
    sorted ctl endpoint health --cluster -w $format
    sorted ctl endpoint status -w $format
    sorted ctl endpoint status --cluster -w $format
    sorted ctl endpoint hashkv -w $format
    sorted ctl endpoint hashkv --cluster -w $format
done
sorted ctl endpoint hashkv --rev 3
ctl endpoint hashkv --rev 999
ctl endpoint hashkv --rev 2
sorted ctl member list --hex -w json
at=127.0.0.1:1 ctl endpoint health --dial-timeout 500ms --command-timeout 1s
at=127.0.0.1:1 ctl get a --dial-timeout 500ms --command-timeout 1s

at="$one" ctl move-leader "$(id_of n2)"
eventually leads "$two"
at="$one" ctl move-leader "$(id_of n1)"
at="$two" ctl move-leader 1234
ctl move-leader xyz
ctl move-leader
ctl move-leader "$(id_of n1)"
eventually leads "$one"

formats alarm list
ctl alarm disarm
ctl alarm disarm -w json
ctl alarm disarm -w protobuf
sorted ctl defrag
sorted ctl defrag --cluster
at=127.0.0.1:1 ctl defrag --command-timeout 1s --dial-timeout 500ms
ctl version
for shell in bash zsh; do echo "completion $shell: $(tool completion $shell | grep -c complet)"; done
ctl check
ctl nonsense
ctl help move-leader

# A learner comes, is promoted, changes its address and goes.
ctl member add n4
ctl member add
ctl member add n4 --peer-urls nonsense
ctl member add n4 --peer-urls "$(peer_url 3)"
# etcd adds nobody until its members have been connected for five seconds.
sleep 6
sorted ctl member add n4 --learner --peer-urls "$(peer_url 4)"
for format in simple json fields table; do sorted ctl member list -w $format; done
ctl member add n5 --learner --peer-urls http://127.0.0.1:1
fourth=$(tool member list | sed -n 's/^\([0-9a-f]*\), unstarted,.*/\1/p')
name_id "$fourth" n4-id
ctl member promote "$fourth"
start 4 "$three,n4=$(peer_url 4)" $calm --initial-cluster-state existing
at=$(client_address 4) eventually tool get a --consistency s
# It knows what it is a moment after it has the data.
refuses() { ! tool get a >refusal 2>&1 && grep 'not supported for learner' refusal; }
at=$(client_address 4) eventually refuses
at="$(client_address 4)" ctl get a --consistency s
at="$(client_address 4)" ctl get a
at="$(client_address 4)" ctl put a 2
at="$(client_address 4)" ctl endpoint status
at="$(client_address 4)" ctl endpoint status -w table
promoted() { tool member promote "$fourth" >promoted 2>&1; }
eventually promoted
masked <promoted
ctl member promote "$fourth"
ctl member promote 1234
ctl member promote
ctl member promote xyz
sorted ctl member list
serves 4
at="$(client_address 4)" ctl put a 2
ctl member update "$fourth" --peer-urls "$(peer_url 4),http://127.0.0.1:2"
ctl member update "$fourth" --peer-urls "$(peer_url 3)"
ctl member update 1234 --peer-urls http://127.0.0.1:3
ctl member update "$fourth"
ctl member update
sorted ctl member list
ctl member remove "$fourth"
ctl member remove "$fourth"
ctl member remove 1234
ctl member remove xyz
ctl member remove
sorted ctl member list

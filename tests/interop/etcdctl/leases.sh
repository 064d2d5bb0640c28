# Leases, locks and elections of one member.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
start 1 "n1=$(peer_url 1)"; serves 1
at=$(client_address 1); home=$at

# A lease of a minute; its id is told as $1.
grant() {
    tool lease grant 60 >granted
    lease=$(cut -d' ' -f2 granted)
    name_id "$lease" "$1"
    echo "$1: $(masked <granted)"
    echo
}

# Two wait in this line.
two() { [ "$(tool get "$1" --prefix --keys-only | grep -c "$1")" = 2 ]; }

formats lease list
ctl lease grant 60
formats lease grant 61
ctl lease grant
ctl lease grant x
ctl lease grant 0
ctl lease grant 99999999999
for held in $(tool lease list | grep -v found); do quiet lease revoke "$held"; done
grant first
first=$lease
quiet put a 1 --lease "$lease"; quiet put b 2 --lease "$lease"
formats lease timetolive "$lease"
quiet del b
formats lease timetolive "$lease" --keys
formats lease list
ctl get a -w json
formats lease keep-alive --once "$lease"
begin alive lease keep-alive "$lease"
hears alive keepalived
end alive TERM
ctl put a 1 --lease "$lease" --prev-kv -w json
ctl put a 1 --lease "$lease" --prev-kv -w fields
ctl put a 3 --ignore-lease
ctl get a -w fields
formats lease revoke "$lease"
ctl get a
formats lease timetolive "$lease"
formats lease keep-alive --once "$lease"
ctl lease keep-alive "$lease"
ctl lease timetolive
ctl lease timetolive zz
ctl lease revoke zz
ctl lease revoke
grant second
quiet put gone v --lease "$lease"
ctl lease revoke "$lease"
ctl get gone
ctl lease list

ctl lock l -- sh -c 'echo "held: $(echo $ETCD_LOCK_KEY | cut -d/ -f1)"'
ctl lock l --ttl 20 -- sh -c 'exit 3'
ctl lock
ctl lock l no-such-program
begin holder lock l
hears holder l/
begin waiter lock l --ttl 30
eventually two l/
ctl get l/ --prefix --sort-by create --order ascend
end holder TERM
hears waiter l/
end waiter TERM
ctl get l/ --prefix --sort-by create --order ascend

begin leader elect e one
hears leader one
begin observer elect --listen e
hears observer one
begin next elect e two
eventually two e/
ctl get e/ --prefix --sort-by create --order ascend
end leader TERM
hears next two
hears observer two
end next TERM
end observer TERM
ctl elect e
ctl elect
ctl elect --listen e x
ctl get e/ --prefix --sort-by create --order ascend

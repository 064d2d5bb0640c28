# Users, roles and permissions of one member.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
start 1 "n1=$(peer_url 1)"; serves 1
at=$(client_address 1); home=$at
as_root() { "$@" --user root:secret; }

if [ "$MINOR" -ge 6 ]; then formats auth status; fi
ctl auth disable
ctl auth enable
ctl user list
ctl role list
ctl user get nobody
ctl role get nobody

# What is no command.
ctl user add
ctl user add a:b c
ctl user add :b
ctl user add a --no-password --new-user-password x
ctl user delete
ctl user get
ctl user passwd
ctl user grant-role a
ctl user revoke-role a
ctl user list x
ctl role add
ctl role delete
ctl role get
ctl role list x
ctl role grant-permission r
ctl role grant-permission r read
ctl role grant-permission r take k
ctl role grant-permission r read k e more
ctl role grant-permission r read k e --prefix
ctl role grant-permission r read k e --from-key
ctl role grant-permission r read k --prefix --from-key
ctl role revoke-permission r
ctl role revoke-permission r k e more
ctl role revoke-permission r k e --prefix
ctl role revoke-permission r k --prefix --from-key
ctl auth enable x
ctl auth disable x
if [ "$MINOR" -ge 6 ]; then ctl auth status x; fi

# As long as nobody is asked.
formats user add u1:secret
for format in json fields table protobuf; do ctl user add "u-$format:secret" -w "$format"; done
ctl user add u1:secret
echo secret | told user add u2 --interactive=false
echo '' | told user add u3 --interactive=false
ctl user add u4 --no-password
ctl user add u5 --new-user-password secret
ctl user add u6:
ctl user add "long:$(printf 'x%.0s' {1..73})"
formats user list
formats user get u1
for format in simple json fields table; do ctl user get u1 --detail -w "$format"; done
ctl user get nobody --detail
for format in simple json fields table protobuf; do ctl role add "r-$format" -w "$format"; done
ctl role add r-simple
ctl role add ''
ctl role add root
formats role list
formats role get r-simple
formats user grant-role u1 r-simple
ctl user grant-role u1 nothing
ctl user grant-role nobody r-simple
ctl user grant-role u1 r-json
ctl user grant-role u4 root
formats user get u1
formats user revoke-role u1 r-json
ctl user revoke-role nobody r-json
ctl user delete u5
for format in json fields table protobuf; do ctl user delete "u-$format" -w "$format"; done
ctl user delete nobody
ctl role delete r-protobuf
ctl role delete r-protobuf -w json
echo other | told user passwd u2 --interactive=false
echo other | told user passwd u2 --interactive=false -w json
echo other | told user passwd nobody --interactive=false

formats role grant-permission r-simple read a
ctl role grant-permission r-simple write a
ctl role grant-permission r-simple readwrite b c
ctl role grant-permission r-simple READ d/ --prefix
ctl role grant-permission r-simple read '' --prefix
ctl role grant-permission r-simple read x --from-key
ctl role grant-permission r-simple read '' --from-key
ctl role grant-permission r-simple read c b
ctl role grant-permission r-simple read ''
ctl role grant-permission nothing read a
formats role get r-simple
for format in simple json fields table; do ctl user get u1 --detail -w "$format"; done
ctl role get root
formats role revoke-permission r-simple a
ctl role revoke-permission r-simple d/ --prefix
ctl role revoke-permission r-simple x --from-key
ctl role revoke-permission r-simple '' --prefix
ctl role revoke-permission r-simple b
ctl role revoke-permission nothing b
ctl role get r-simple
for held in json fields table; do quiet role delete "r-$held"; done
ctl role list

# Who asks.
ctl auth enable
quiet user add root:secret
ctl auth enable
ctl user grant-role root root
formats auth enable
if [ "$MINOR" -ge 6 ]; then ctl auth status; as_root formats auth status; fi
ctl auth enable
ctl put b 1
ctl put b 1 --user u1:secret
ctl put b 1 --user u1:wrong
ctl put b 1 --user nobody:secret
ctl put b 1 --user u1 --password secret
ctl get b --user u1:secret
ctl get b --user u1 --password wrong
ctl get b --user u4:any
ctl get b c --user u1:secret
ctl get b d --user u1:secret
ctl put a 1 --user u1:secret
ctl get a --user u1:secret
ctl del b --prev-kv --user u1:secret
as_root ctl put a 1
as_root ctl get a
as_root ctl put b 2
told txn --user u1:secret <<<'value("b") = "2"

get b

put a x
'
told txn --user u1:secret <<<'value("b") = "2"

get b

put b x
'
ctl get b --user u1:secret --prefix
ctl get '' --prefix --user u1:secret
ctl compaction 2 --user u1:secret
ctl lease grant 60
ctl lease list
ctl lease revoke 77
ctl lease revoke 77 --user u1:secret
ctl lease timetolive 77
ctl member list
ctl member add n2 --peer-urls http://127.0.0.1:1 --user u1:secret
ctl endpoint status --user u1:wrong
ctl alarm list
ctl alarm disarm --user u1:secret
ctl defrag
ctl defrag --user u1:secret
ctl snapshot save file
ctl snapshot save file --user u1:secret
ctl endpoint hashkv --user u1:secret
ctl move-leader 77 --user u1:secret
ctl user list --user u1:secret
ctl user get u1 --user u1:secret
ctl user get root --user u1:secret
ctl user get u1 --user u1:secret --detail
ctl role get r-simple --user u1:secret
ctl role list --user u1:secret
ctl role get root --user u1:secret
ctl role add r --user u1:secret
ctl user add u9:secret --user u1:secret
ctl auth disable
ctl auth disable --user u1:secret
begin denied watch a --user u1:secret
hears denied .
end denied
next=$(($(tool get '' --prefix --limit 1 -w json --user root:secret | sed 's/.*"revision":\([0-9]*\).*/\1/') + 1))
begin watcher watch b --rev $next --user u1:secret
as_root quiet put b 3
hears watcher '^3$'

# Of what changes, what still counts.
as_root ctl role revoke-permission r-simple b c
ctl get b --user u1:secret
as_root quiet put b 4
hears watcher '^4$'
end watcher TERM
echo other | as_root told user passwd u1 --interactive=false
ctl get b --user u1:secret
as_root ctl auth enable -w json
as_root ctl user delete u1
ctl get b --user u1:other
as_root ctl user delete root
as_root ctl role delete root
as_root ctl user revoke-role root root
as_root ctl user get root
as_root ctl role get root
as_root formats role list
as_root ctl role delete r-simple
as_root ctl auth disable
ctl auth disable
ctl put b 5
ctl put b 5 --user root:secret
ctl put b 5 --user root:wrong

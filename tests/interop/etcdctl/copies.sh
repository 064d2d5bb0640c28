# Snapshots, and mirrors of one member in another.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
start 1 "n1=$(peer_url 1)"; start 2 "n2=$(peer_url 2)"
serves 1; serves 2
from=$(client_address 1); to=$(client_address 2)
at=$from; home=$at
for key in a b/1 b/2 c; do quiet put "$key" "value of $key"; done

ctl snapshot save saved.db
echo "of 512: $(($(stat -c %s saved.db) % 512))"
ctl snapshot save
ctl snapshot save /no/such/folder/saved.db
at="$from,$to" ctl snapshot save saved.db

begin everything make-mirror "$to"
is() { [ "$(at=$to tool get "$1" --print-value-only)" = "$2" ]; }
mirrored() { eventually is "$@"; }
mirrored c 'value of c'
quiet put a again
mirrored a again
quiet del c
mirrored c ''
at="$to" ctl get '' --prefix
end everything TERM
begin some make-mirror "$to" --prefix b/ --dest-prefix copy/
mirrored copy/1 'value of b/1'
quiet put b/3 'value of b/3'
mirrored copy/3 'value of b/3'
end some TERM
begin bare make-mirror "$to" --prefix b/ --no-dest-prefix
mirrored 3 'value of b/3'
end bare TERM
at="$to" ctl get '' --prefix
ctl make-mirror

# The checks that take a minute. What they find is about the machine; that they are told of is about us.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
start 1 "n1=$(peer_url 1)"; serves 1
at=$(client_address 1); home=$at

verdicts() {
    grep -oE '(PASS|FAIL)(:.*)?' | sed -E -e 's/^(PASS|FAIL)/VERDICT/' \
        -e 's/: (Throughput|Slowest request|Stddev|Approximate system memory used) .*/: \1/'
    echo
}
checked() { echo "\$ etcdctl check $*"; timeout 200 "$ETCDCTL" --endpoints "$at" check "$@" 2>&1 </dev/null | verdicts; }
checked datascale --load s
ctl get /etcdctl-check-datascale/ --prefix --limit 1
checked perf --load s
ctl get /etcdctl-check-perf/ --prefix --limit 1
ctl check datascale --load nonsense
ctl check perf --load nonsense

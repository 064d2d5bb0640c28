#!/bin/sh
# Proves the compose files on the Docker engine that is here. compose.yaml: three containers; what is put in one is read in
# another; one is killed and comes back; one is lost with its data and is replaced. discovery.yaml and dns.yaml: three find each
# other, and a fourth is their proxy; by DNS with nothing but the domain. Then article.yaml, which was written for etcd's image,
# with `docker exec ... etcdctl`, and from outside over TCP. Ends with `proved`, or with what failed.
#
# Needs: curl, the image `quorate` (docker/build.sh), that of CoreDNS (from Docker's registry, or DNS_IMAGE), and Docker Compose, 2
# (`docker compose`) or 1 (`docker-compose`). article.yaml publishes the ports 2379, 2380 and 2381.
set -eu
cd "$(dirname "$0")"
# Not the ports of a cluster that may run here for good.
export N1_PORT=42379 N2_PORT=42380 N3_PORT=42381 N4_PORT=42382

if docker compose version >/dev/null 2>&1; then program="docker compose"; else program=docker-compose; fi
# Which file of them is proved now.
file=compose
# `docker compose` is two words.
# shellcheck disable=SC2086
compose() { $program --project-name "quorate-prove-$file" --file "$file.yaml" "$@"; }
# shellcheck disable=SC2086
article() { $program --project-name quorate-article --file article.yaml "$@"; }
# container MEMBER: its id; its name is another one in each version of Compose.
container() { compose ps -q "$1"; }
quorate() { # quorate MEMBER WORD...
    member=$1
    shift
    compose exec -T "$member" /quorate "$@"
}
fail() {
    echo "FAILED: $*" >&2
    compose logs --tail=20 >&2
    exit 1
}
# until_true WHAT COMMAND...: for a minute at most.
until_true() {
    what=$1
    shift
    for _ in $(seq 60); do
        if "$@" >/dev/null 2>&1; then return 0; fi
        sleep 1
    done
    fail "$what"
}
is_healthy() {
    [ "$(docker inspect --format '{{.State.Health.Status}}' "$(container "$1")")" = healthy ]
}
reads() { # reads MEMBER KEY VALUE
    [ "$(quorate "$1" get "$2" --print-value-only)" = "$3" ]
}

# begin FILE MEMBER...: brings it up, without what may be left of another time.
begin() {
    file=$1
    shift
    compose down --volumes >/dev/null 2>&1
    compose up -d
    for member in "$@"; do until_true "$member becomes healthy" is_healthy "$member"; done
}

trap 'compose down --volumes --timeout 20 >/dev/null 2>&1; article down --volumes --timeout 20 >/dev/null 2>&1' EXIT
begin compose n1 n2 n3

quorate n1 put greeting hello
reads n2 greeting hello || fail "n2 reads what was put in n1"
reads n3 greeting hello || fail "n3 reads what was put in n1"
[ "$(docker inspect --format '{{.Config.User}} {{.HostConfig.ReadonlyRootfs}}' "$(container n1)")" = "65532:65532 true" ] ||
    fail "n1 is not root and cannot write its image"

compose kill -s SIGKILL n2
# If n2 led, the first tries may end without an answer: an election has to come first.
until_true "n1 and n3 are a quorum" quorate n1 put greeting again
compose up -d n2
until_true "n2 is back" reads n2 greeting again
echo "one killed: it came back"

lost=$(quorate n1 member list | sed -n 's/^\([0-9a-f]*\), .*, n3, .*/\1/p')
[ -n "$lost" ] || fail "n3 is in the list of members"
compose rm --force --stop -v n3
docker volume rm quorate-prove-compose_n3
quorate n1 member remove "$lost"
quorate n1 member add n3 --peer-urls https://n3:2380
STATE=existing compose up -d n3
until_true "n3 is healthy again" is_healthy n3
reads n3 greeting again || fail "n3 reads what was put before it was there"
compose kill -s SIGKILL n2
until_true "n1 and the new n3 are a quorum" quorate n3 put greeting "a third time"
reads n1 greeting "a third time" || fail "n1 reads what was put in n3"
echo "one lost: it was replaced"
compose down --volumes --timeout 20

begin discovery discovery n1 n2 n3 n4
quorate discovery discovery list | grep -q '^compose, 3 of 3, ' || fail "three have come to the discovery service"
[ "$(quorate n4 member list | grep -c ', started, ')" = 3 ] || fail "the fourth is none of the members"
quorate n4 put greeting hello
reads n2 greeting hello || fail "n2 reads what was put by the proxy"
compose kill -s SIGKILL discovery
compose kill -s SIGKILL n1
until_true "n2 and n3 are a quorum, and the proxy asks them" quorate n4 put greeting again
compose up -d
until_true "n1 is back" reads n1 greeting again
echo "three met at a discovery service, and a fourth is their proxy"
compose down --volumes --timeout 20

begin dns n1 n2 n3
by_dns="--discovery-srv quorate.test --dns-server 172.30.53.53"
# Words of their own.
# shellcheck disable=SC2086
quorate n1 $by_dns put greeting hello
reads n3 greeting hello || fail "n3 reads what was put in n1"
# shellcheck disable=SC2086
[ "$(quorate n2 $by_dns member list | grep -c ', started, ')" = 3 ] || fail "three members, by DNS"
compose kill -s SIGKILL dns
compose kill -s SIGKILL n2
until_true "n1 and n3 are a quorum" quorate n1 put greeting again
compose up -d
until_true "n2 is back" reads n2 greeting again
echo "three found each other by DNS"
compose down --volumes --timeout 20

article down --volumes >/dev/null 2>&1
article up -d
until_true "the article's cluster takes a key" docker exec etcd-node1 etcdctl put key value
for node in etcd-node1 etcd-node2 etcd-node3; do
    [ "$(docker exec "$node" etcdctl get key)" = "key
value" ] || fail "$node: etcdctl get key"
done
docker exec etcd-node1 etcdctl --endpoints http://etcd-node2:2379,http://etcd-node3:2379 endpoint health ||
    fail "etcdctl reaches the others by their names"
[ "$(docker exec etcd-node1 /usr/local/bin/etcd --version | head -n 1)" = "etcd Version: 3.6.0" ] || fail "etcd --version"
# The entry point is told to be etcd, as etcd's image is told what to run.
[ "$(docker run --rm quorate /usr/local/bin/etcdctl version | head -n 1)" = "etcdctl version: 3.6.0" ] ||
    fail "docker run quorate /usr/local/bin/etcdctl version"
echo "the article's compose file: it is a cluster, and etcdctl is inside"

# Its Go programs, where tests/interop/prepare.sh has built them; or else whoever speaks HTTP.
programs=${CARGO_TARGET_DIR:-../target}/interop/go
outside=http://localhost:2379,http://localhost:2380,http://localhost:2381
if [ -x "$programs/first_put" ]; then
    docker exec etcd-node1 etcdctl del key
    "$programs/first_put" "$outside" || fail "the article's first program puts a key"
    [ "$(docker exec etcd-node3 etcdctl get key)" = "key
value" ] || fail "what the article's program put is read"
    [ "$("$programs/first_watch" "$outside")" = 'Watch: PUT "key" : "value"
Watch: PUT "key" : "new_value"
Watch: DELETE "key" : ""' ] || fail "the article's second program prints what the article prints"
    echo "the article's programs: they print what it prints"
fi
curl --silent --fail http://localhost:2381/health | grep -q '"health":"true"' || fail "/health from outside"

echo proved

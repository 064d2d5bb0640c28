#!/bin/sh
# Proves docker/compose.yaml on the Docker engine that is here: three containers; what is put in one is read in another;
# one is killed and comes back; one is lost with its data and is replaced. Ends with `proved`, or with what failed.
#
# Needs: the image `quorate` (docker/build.sh) and Docker Compose, 2 (`docker compose`) or 1 (`docker-compose`).
set -eu
cd "$(dirname "$0")"
# Not the ports of a cluster that may run here for good.
export N1_PORT=42379 N2_PORT=42380 N3_PORT=42381

if docker compose version >/dev/null 2>&1; then program="docker compose"; else program=docker-compose; fi
# Two words of one of them.
# shellcheck disable=SC2086
compose() { $program --project-name quorate-prove --file compose.yaml "$@"; }
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

trap 'compose down --volumes --timeout 20 >/dev/null 2>&1' EXIT
compose down --volumes >/dev/null 2>&1
compose up -d
for member in n1 n2 n3; do until_true "$member becomes healthy" is_healthy "$member"; done

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
docker volume rm quorate-prove_n3
quorate n1 member remove "$lost"
quorate n1 member add n3 --peer-urls https://n3:2380
STATE=existing compose up -d n3
until_true "n3 is healthy again" is_healthy n3
reads n3 greeting again || fail "n3 reads what was put before it was there"
compose kill -s SIGKILL n2
until_true "n1 and the new n3 are a quorum" quorate n3 put greeting "a third time"
reads n1 greeting "a third time" || fail "n1 reads what was put in n3"
echo "one lost: it was replaced"

echo proved

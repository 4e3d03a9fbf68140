#!/bin/sh
# Bring the stack up, whatever died: what Docker does not do by itself, for who shares the network of `net`.
#
#   what happened                       Docker                                       this
#   the engine started anew             starts all at once, and does not try again   starts what is down
#                                       what came before `net`
#   `net` died, and is back             leaves the others in the network that is     starts them again
#                                       gone with it
#   another token is in `secrets`       nothing: a container sees the file that      starts its readers again
#                                       was there when it started
#
# At the start of the machine and each minute, by a timer: docs/deployment.md, "After a crash". It leaves alone what runs.
set -eu
cd "$(dirname "$0")/.."

up() { docker compose up --detach --no-build --quiet-pull "$@"; }

up || : # it ends when one that others wait for is unhealthy, which may be for what is mended below
net=$(docker compose ps --quiet net)
since=$(docker inspect --format '{{.State.StartedAt}}' "$net")
cut_off=
for id in $(docker compose ps --quiet); do
    mode=$(docker inspect --format '{{.HostConfig.NetworkMode}}' "$id")
    started=$(docker inspect --format '{{.State.StartedAt}}' "$id")
    # Times of one form, in UTC: the earlier is the smaller text.
    if [ "$mode" = "container:$net" ] && expr "$started" \< "$since" >/dev/null; then
        cut_off="$cut_off $id"
    fi
done
if [ -n "$cut_off" ]; then
    echo "heal: in the network of a \`net\` that died:$cut_off"
    # shellcheck disable=SC2086 # one word for each
    docker restart $cut_off >/dev/null
fi

# When it was written, or moved there; a clock that was wrong then does not make it newer each minute.
written=$(TZ=UTC stat -c %z secrets/influxdb_token | sed 's/ /T/; s/ .*//')
now=$(date -u +%Y-%m-%dT%H:%M:%S)
stale=
for id in $(docker compose ps --quiet collector bridge api); do
    started=$(docker inspect --format '{{.State.StartedAt}}' "$id")
    if expr "$started" \< "$written" \& "$written" \< "$now" >/dev/null; then
        stale="$stale $id"
    fi
done
if [ -n "$stale" ]; then
    echo "heal: started before secrets/influxdb_token was written:$stale"
    # shellcheck disable=SC2086 # one word for each
    docker restart $stale >/dev/null
fi
up --wait # a failure is for the timer's next minute

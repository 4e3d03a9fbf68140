#!/bin/sh
# Bring the stack up, whatever died: what Docker does not do by itself, for who shares the network of `net`.
#
#   what happened                       Docker                                       this
#   the engine started anew             starts all at once, and does not try again   starts what is down
#                                       what came before `net`
#   `net` died, and is back             leaves the others in the network that is     starts them again
#                                       gone with it
#
# At the start of the machine and each minute, by a timer: docs/deployment.md, "After a crash". It leaves alone what runs.
set -eu
cd "$(dirname "$0")/.."

docker compose up --detach --no-build --quiet-pull
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
docker compose up --detach --no-build --wait

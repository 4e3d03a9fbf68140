#!/bin/sh
# nginx, and the rotation of its access log by size: rename, then tell nginx (USR1) to open a new one. No line is lost
# between. One container for both: whichever ends, the container does, and the engine starts both again.
#
#   nginx.sh nginx -c /etc/nginx/nginx.conf -g 'daemon off;'
#
#   tailtrace.log      nginx writes it
#   tailtrace.log.1    the last one, still plain: nginx's workers may write on for a moment
#   tailtrace.log.2.gz and up to ROTATE_KEEP, the oldest; what is beyond is deleted
#
# | variable | is |
# |---|---|
# | ROTATE_LOG | the log |
# | ROTATE_BYTES | rotated when it is as long |
# | ROTATE_KEEP | rotated files that are kept, at least 2 |
# | ROTATE_EVERY_S | how often we look |
#
# HUP, QUIT, USR1, USR2 and WINCH are handed on to nginx, TERM and INT end it.
set -eu

log=${ROTATE_LOG:-/var/log/nginx/tailtrace.log}
bytes_max=${ROTATE_BYTES:-104857600}
keep=${ROTATE_KEEP:-10}
every_s=${ROTATE_EVERY_S:-1}

rotate() {
    # Packed before anything moves: a crash in between leaves `.1` whole, and `-f` begins again.
    if [ -e "$log.1" ]; then
        gzip -f "$log.1"
    fi
    number=$keep
    while [ "$number" -gt 1 ]; do
        newer=$((number - 1))
        if [ -e "$log.$newer.gz" ]; then
            mv -f "$log.$newer.gz" "$log.$number.gz"
        fi
        number=$newer
    done
    mv "$log" "$log.1"
    kill -USR1 "$nginx" || true
}

"$@" &
nginx=$!
for signal in HUP QUIT USR1 USR2 WINCH TERM INT; do
    # shellcheck disable=SC2064 # now: each trap has its own signal
    trap "kill -$signal $nginx 2>/dev/null || true" "$signal"
done
# So that the end of nginx ends a wait below at once, where it comes during the wait.
trap : CHLD

# A process that ended and was not waited for is still there, but runs no program.
while [ -e "/proc/$nginx/exe" ]; do
    bytes=$(stat -c %s "$log" 2>/dev/null || echo 0)
    if [ "$bytes" -ge "$bytes_max" ]; then
        rotate
    fi
    sleep "$every_s" &
    wait $! || true
done
wait "$nginx"

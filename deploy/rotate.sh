#!/bin/sh
# Rotate nginx's access log by size: rename, then tell nginx (USR1) to open a new one. No line is lost between.
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
# | ROTATE_PID | nginx's master process; 1, where we share its container's processes |
set -eu

log=${ROTATE_LOG:-/var/log/nginx/tailtrace.log}
bytes_max=${ROTATE_BYTES:-104857600}
keep=${ROTATE_KEEP:-10}
every_s=${ROTATE_EVERY_S:-10}
pid=${ROTATE_PID:-1}

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
    kill -USR1 "$pid" || echo "rotate: no process $pid takes USR1; a nginx that starts anew opens a new log" >&2
}

# A signal ends us between two looks, never within a rotation.
ended=
trap 'ended=1' TERM INT
while [ -z "$ended" ]; do
    bytes=$(stat -c %s "$log" 2>/dev/null || echo 0)
    if [ "$bytes" -ge "$bytes_max" ]; then
        rotate
    fi
    sleep "$every_s" &
    wait $! || true
done

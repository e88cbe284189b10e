#!/bin/bash
# damemtop in a terminal of its own, until it has drawn its table.
set -euo pipefail
server=$1
home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
mkdir "$home/.damemtop"
cat >"$home/.damemtop/damemtop.yaml" <<EOF
delay: 1
mode: t
top_mode:
    sort_column: "hostname"
    sort_order: "asc"
    columns:
        - hostname
        - all_version
        - all_fill_rate
        - hit_rate
        - all_evictions
        - all_bytes_written
        - all_curr_items
        - "all_items:1:number"
        - "all_1:cmd_set"
servers:
    - $server
EOF
exec 3<>"/dev/tcp/${server%:*}/${server##*:}"
printf 'set a 0 0 5\r\nvalue\r\nset b 0 0 1\r\nx\r\nquit\r\n' >&3
[ "$(tr -d '\r' <&3)" = $'STORED\nSTORED' ] || { echo "not stored"; exit 1; }

# It asks twice for every line that it draws; ending it is up to us.
version='1\.[0-9]+\.[0-9]+'
row="${server//./\\.} +$version +[0-9.e-]+ +[0-9.NA]+%? +0 +[0-9,]+ +2 +2 +2"
log=$home/log
HOME=$home TERM=xterm timeout 30 script -qfec \
    "stty rows 40 cols 200; exec perl /usr/share/memcached/scripts/damemtop" "$log" \
    </dev/null >/dev/null 2>&1 &
top=$!
for _ in $(seq 200); do
    if grep -qaE "$row" "$log" 2>/dev/null; then drawn=yes; break; fi
    kill -0 $top 2>/dev/null || break
    sleep 0.1
done
kill $top 2>/dev/null || true
wait $top 2>/dev/null || true
if [ "${drawn:-}" != yes ]; then echo "no line of the server:"; tail -n 8 "$log" | cat -v; exit 1; fi

#!/bin/bash
# munin's plugin memcached_: all that it can graph, as munin-node runs it.
set -euo pipefail
server=$1
plugin=/usr/share/munin/plugins/memcached_
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "line ${BASH_LINENO[0]}: $*"; exit 1; }

exec 3<>"/dev/tcp/${server%:*}/${server##*:}"
printf 'set a 0 0 1\r\nx\r\nget a\r\nget b\r\nget c\r\nquit\r\n' >&3
[ "$(tr -d '\r' <&3)" = $'STORED\nVALUE a 0 1\nx\nEND\nEND\nEND' ] || fail "not stored"

run() { host=${server%:*} port=${server##*:} perl "$@"; }
# A value that the plugin does not find is `U`.
for graph in $(run $plugin suggest); do
    ln -s $plugin "$work/memcached_$graph"
    run "$work/memcached_$graph" config | grep -q '^graph_title' || fail "config of $graph"
    run "$work/memcached_$graph" >>"$work/values"
done
if grep -vE '^memcache_[a-z_]+\.value [0-9]+$' "$work/values"; then fail "no figure"; fi
for expected in cache_hits=1 cache_misses=2 cmd_get=3 cmd_set=1 curr_items=1 total_items=1; do
    grep -qx "memcache_${expected%=*}.value ${expected#*=}" "$work/values" ||
        fail "not $expected: $(cat "$work/values")"
done
for positive in bytes_read bytes_written bytes_allocated curr_connections total_connections; do
    grep -qE "^memcache_$positive.value [1-9]" "$work/values" || fail "no $positive"
done

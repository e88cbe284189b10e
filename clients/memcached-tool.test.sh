#!/bin/bash
# memcached-tool, all of its words, against a server with -o track_sizes.
set -euo pipefail
server=$1
tool() { perl /usr/share/memcached/scripts/memcached-tool "$server" "$@" 2>&1 | tr -d "\r"; }
fail() { echo "line ${BASH_LINENO[0]}: $*"; exit 1; }

exec 3<>"/dev/tcp/${server%:*}/${server##*:}"
for number in $(seq 100); do printf 'set key%s 7 3600 5\r\nvalue\r\n' "$number" >&3; done
large=$(printf 'x%.0s' $(seq 100000))
printf 'set large 0 0 100000\r\n%s\r\n' "$large" >&3
printf 'get key1 missing\r\nquit\r\n' >&3
answers=$(tr -d '\r' <&3)
[ "$(grep -c '^STORED$' <<<"$answers")" = 101 ] || fail "not all was stored: $answers"

# One line per class: number, item size, age, pages, items, full?, evicted, evicted time, OOM.
display=$(tool display)
grep -q 'Item_Size *Max_age *Pages *Count *Full? *Evicted *Evict_Time OOM' <<<"$display" ||
    fail "$display"
class='^ *[0-9]+ +[0-9.]+[BKM] +[0-9]+s +([0-9]+) +([0-9]+) +(yes|no) +0 +0 +0$'
[ "$(tail -n +2 <<<"$display" | grep -cvE "$class")" = 0 ] || fail "$display"
[ "$(awk 'NR > 1 { items += $5 } END { print items }' <<<"$display")" = 101 ] || fail "$display"

stats=$(tool stats)
for expected in 'curr_items 101' 'total_items 101' 'cmd_set 101' 'get_hits 1' 'get_misses 1'; do
    grep -qE "^ *${expected/ / +}\$" <<<"$stats" || fail "no $expected: $stats"
done
settings=$(tool settings)
for expected in 'maxbytes [0-9]+' 'maxconns [0-9]+' 'track_sizes yes' 'evictions on'; do
    grep -qE "^ *${expected/ / +}\$" <<<"$settings" || fail "no $expected: $settings"
done
sizes=$(tool sizes | grep -E '^ *[0-9]+ +[0-9]+$')
[ "$(awk '{ items += $2 } END { print items }' <<<"$sizes")" = 101 ] || fail "$sizes"

# What it dumps is what it takes to fill another server.
dump=$(tool dump)
[ "$(grep -cE '^add key[0-9]+ 7 [0-9]+ 5$' <<<"$dump")" = 100 ] || fail "$(head -20 <<<"$dump")"
grep -qE '^add large 0 0 100000$' <<<"$dump" || fail "the large item is not in the dump"
keys=$(tool keys)
line='key=key[0-9]+ exp=[0-9]+ la=[0-9]+ cas=[0-9]+ fetch=(yes|no) cls=[0-9]+ size=[0-9]+'
# memcached may miss an item that it moves meanwhile.
[ "$(grep -cE "^$line" <<<"$keys")" -ge 99 ] || fail "$(head -5 <<<"$keys")"

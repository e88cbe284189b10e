#!/bin/bash
# libmemcached's tools: the text protocol, and the binary one where the second argument says so.
set -euo pipefail
server=$1
binary=()
capable=-a
if [ "${2:-}" = binary ]; then binary=(--binary); capable=-b; fi
tool() { local name=$1; shift; "$name" --servers="$server" "${binary[@]}" "$@"; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

printf 'first value' >one
head -c 100000 /dev/urandom | base64 >two
tool memccp one two
tool memcexist one two
[ "$(tool memccat one)" = "first value" ]
[ "$(tool memccat two)" = "$(cat two)" ]
tool memctouch --expire=100 one
tool memcstat | grep -q 'curr_items: 2'
memcping --servers="$server"
tool memcrm one
if tool memccat one 2>/dev/null | grep -q .; then echo "one is still there"; exit 1; fi
if tool memcexist one 2>/dev/null; then echo "one still exists"; exit 1; fi
tool memcflush
if tool memcexist two 2>/dev/null; then echo "two still exists"; exit 1; fi

# Its last line is the verdict.
memccapable -h "${server%:*}" -p "${server##*:}" -t 5 "$capable" >capable 2>&1 || true
if [ "$(tail -1 capable)" != "All tests passed" ]; then grep -v '\[pass\]' capable; exit 1; fi

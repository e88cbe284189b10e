"""pylibmc, libmemcached for Python: text, then binary where the second argument says so."""

import sys
import time

import pylibmc

binary = "binary" in sys.argv[2:]
client = pylibmc.Client(
    [sys.argv[1]], binary=binary, behaviors={"cas": True, "tcp_nodelay": True}
)

for value in (b"bytes", "größer", 7, 1 << 40, True, None, {"a": [1, 2]}):
    assert client.set("a", value) and client.get("a") == value, value
assert client.get("missing") is None
assert client.set("packed", b"z" * 100_000, min_compress_len=1000)
assert client.get("packed") == b"z" * 100_000

assert client.set_multi({"m1": 1, "m2": "two"}) == []
assert client.get_multi(["m1", "m2", "missing"]) == {"m1": 1, "m2": "two"}

assert client.set("s", b"b") and client.append("s", b"c") and client.prepend("s", b"a")
assert client.get("s") == b"abc"
assert client.add("s", b"x") is False
try:
    assert client.replace("missing", b"x") is False
except pylibmc.NotFound:
    assert binary, "the text protocol cannot tell why"

value, unique = client.gets("s")
assert value == b"abc" and client.cas("s", b"new", unique) is True
assert client.cas("s", b"newer", unique) is False

assert client.set("n", "10") and client.incr("n", 5) == 15 and client.decr("n", 6) == 9
try:
    client.incr("missing")
    raise SystemExit("a missing counter was counted")
except pylibmc.NotFound:
    pass

assert client.set("short", 1, time=1) and client.touch("s", 100)
deadline = time.monotonic() + 10
while client.get("short") is not None:
    assert time.monotonic() < deadline, "an item of one second is still there"
    time.sleep(0.1)

assert client.delete("s") is True and client.delete("s") is False
assert client.delete_multi(["m1", "m2"]) and client.get("m1") is None

(_, stats), = client.get_stats()
assert int(stats["curr_items"]) >= 1
assert client.flush_all() and client.get("a") is None

"""python-memcached: the text protocol, with its own flags for pickled and compressed values."""

import sys
import time

import memcache

client = memcache.Client([sys.argv[1]], cache_cas=True, debug=1)

for value in ("text", b"bytes", 7, 1 << 40, {"a": [1, None]}, "größer"):
    assert client.set("a", value) and client.get("a") == value, value
assert client.get("missing") is None
assert client.set("packed", "z" * 100_000, min_compress_len=1000)
assert client.get("packed") == "z" * 100_000

assert client.set_multi({"m1": 1, "m2": "two"}) == []
assert client.get_multi(["m1", "m2", "missing"]) == {"m1": 1, "m2": "two"}

assert client.add("new", "x") and not client.add("new", "y")
assert client.replace("new", "z") and not client.replace("missing", "z")
assert client.append("new", "!") and client.prepend("new", "?") and client.get("new") == "?z!"

assert client.gets("new") == "?z!"
assert client.cas("new", "mine")
other = memcache.Client([sys.argv[1]], cache_cas=True)
assert other.set("new", "theirs")
assert not client.cas("new", "mine again")

assert client.set("n", 10) and client.incr("n", 5) == 15 and client.decr("n", 20) == 0
assert client.incr("missing") is None

assert client.set("short", 1, time=1) and client.touch("new", 100)
deadline = time.monotonic() + 10
while client.get("short") is not None:
    assert time.monotonic() < deadline, "an item of one second is still there"
    time.sleep(0.1)

assert client.delete("new") and client.get("new") is None
assert client.delete_multi(["m1", "m2"]) and client.get("m1") is None

(_, stats), = client.get_stats()
assert int(stats["curr_items"]) >= 1
client.flush_all()
assert client.get("a") is None

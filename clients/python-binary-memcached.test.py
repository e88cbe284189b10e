"""python-binary-memcached: the binary protocol."""

import sys
import time

import bmemcached

client = bmemcached.Client((sys.argv[1],))

for value in ("text", b"bytes", 7, {"a": [1, None]}, "größer"):
    assert client.set("a", value) and client.get("a") == value, value
assert client.get("missing") is None
assert client.set("packed", "z" * 100_000) and client.get("packed") == "z" * 100_000

assert client.set_multi({"m1": 1, "m2": "two"}) == []
assert client.get_multi(["m1", "m2", "missing"]) == {"m1": 1, "m2": "two"}

assert client.add("new", "x") and not client.add("new", "y")
assert client.replace("new", "z") and not client.replace("missing", "z")

value, unique = client.gets("new")
assert value == "z" and client.cas("new", "mine", unique)
assert not client.cas("new", "again", unique)

assert client.incr("n", 5, default=10) == 10 and client.incr("n", 5) == 15
assert client.decr("n", 20) == 0

assert client.set("short", 1, time=1)
deadline = time.monotonic() + 10
while client.get("short") is not None:
    assert time.monotonic() < deadline, "an item of one second is still there"
    time.sleep(0.1)

assert client.delete("new") and client.get("new") is None
assert client.delete_multi(["m1", "m2"]) and client.get("m1") is None

stats = client.stats()[sys.argv[1]]
assert int(stats["curr_items"]) >= 1
assert client.flush_all() and client.get("a") is None
client.disconnect_all()

"""pymemcache: the text protocol."""

import json
import sys
import time

from pymemcache.client.base import Client
from pymemcache.client.hash import HashClient

host, port = sys.argv[1].rsplit(":", 1)


class JsonSerde:
    def serialize(self, key, value):
        return (value, 1) if isinstance(value, bytes) else (json.dumps(value).encode(), 2)

    def deserialize(self, key, value, flags):
        return value if flags == 1 else json.loads(value)


client = Client((host, int(port)), serde=JsonSerde(), default_noreply=False)

assert client.set("a", b"bytes") and client.get("a") == b"bytes"
assert client.set("b", {"name": ["x", 1, None]}) and client.get("b") == {"name": ["x", 1, None]}
assert client.get("missing") is None
assert client.set("umlaut", "größer") and client.get("umlaut") == "größer"
assert client.set_many({"m1": b"1", "m2": b"2"}) == []
assert client.get_many(["m1", "m2", "missing"]) == {"m1": b"1", "m2": b"2"}

assert client.add("a", b"x") is False and client.add("new", b"x") is True
assert client.replace("missing", b"x") is False and client.replace("new", b"y") is True
assert client.append("a", b"!") and client.prepend("a", b"?") and client.get("a") == b"?bytes!"

value, unique = client.gets("a")
assert client.cas("a", b"second", unique) is True
assert client.cas("a", b"third", unique) is False
assert client.cas("missing", b"x", unique) is None

assert client.set("n", b"10") and client.incr("n", 5) == 15 and client.decr("n", 20) == 0
assert client.incr("missing", 1) is None

assert client.set("short", b"x", expire=1) and client.touch("a", 100) is True
assert client.touch("missing", 100) is False
deadline = time.monotonic() + 10
while client.get("short") is not None:
    assert time.monotonic() < deadline, "an item of one second is still there"
    time.sleep(0.1)

assert client.delete("a") is True and client.delete("a") is False
assert client.delete_many(["m1", "m2"]) and client.get("m1") is None

large = b"x" * 1_000_000
assert client.set("large", large) and client.get("large") == large

assert client.version().startswith(b"1.")
assert client.stats()[b"curr_items"] >= 1
assert client.flush_all() and client.get("b") is None

ring = HashClient([(host, int(port))], use_pooling=True, default_noreply=False)
assert ring.set("r", b"1") and ring.get("r") == b"1" and ring.delete("r")

quiet = Client((host, int(port)), default_noreply=True)
for number in range(1000):
    quiet.set(f"quiet{number}", b"x")
assert len(quiet.get_many([f"quiet{number}" for number in range(1000)])) == 1000

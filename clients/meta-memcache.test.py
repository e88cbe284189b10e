"""meta-memcache: the meta protocol, with leases and stale values."""

import sys
import time

from meta_memcache import CacheClient, Key, ServerAddress, connection_pool_factory_builder
from meta_memcache.configuration import LeasePolicy, RecachePolicy, StalePolicy
from meta_memcache.protocol import RequestFlags, SetMode

host, port = sys.argv[1].rsplit(":", 1)
client = CacheClient.cache_client_from_servers(
    servers=[ServerAddress(host, int(port))],
    connection_pool_factory_fn=connection_pool_factory_builder(recv_timeout=5),
)
HOUR = 3600

# The client tells by the flags of an item what Python object it was.
for key, value in {"a": b"bytes", "b": "größer", "c": 42, "d": {"x": [1, None]}}.items():
    assert client.set(key, value, ttl=HOUR) and client.get(key) == value, key
assert client.get("missing") is None
unicode, long = Key("ключ 🍺"), Key("k" * 300)
assert client.set(unicode, "x", ttl=HOUR) and client.get(unicode) == "x"
assert client.set(long, "y", ttl=HOUR) and client.get(long) == "y"
several = client.multi_get(["a", "c", "missing", unicode])
assert several == {Key("a"): b"bytes", Key("c"): 42, Key("missing"): None, unicode: "x"}

assert client.refill("a", b"other", ttl=HOUR) is False and client.get("a") == b"bytes"
assert client.set("missing", b"x", ttl=HOUR, set_mode=SetMode.REPLACE) is False
assert client.set("a", b"!", ttl=HOUR, set_mode=SetMode.APPEND) and client.get("a") == b"bytes!"

value, unique = client.get_cas("a")
assert client.set("a", b"second", ttl=HOUR, cas_token=unique) is True
assert client.set("a", b"third", ttl=HOUR, cas_token=unique) is False
newer = client.set_cas("a", b"fourth", ttl=HOUR)
assert newer is not None and client.get_cas("a") == (b"fourth", newer)

assert client.delta_initialize_and_get("n", 5, initial_value=10, initial_ttl=HOUR) == 10
assert client.delta_initialize_and_get("n", 5, initial_value=10, initial_ttl=HOUR) == 15
assert client.delta_and_get("n", -20) == 0 and client.delta_and_get("nothing", 1) is None

# What was deleted under the stale policy is served once more while one client fills it anew.
stale = StalePolicy(mark_stale_on_deletion_ttl=30)
recache = RecachePolicy(ttl=0)
assert client.set("stale", "old", ttl=HOUR) and client.delete("stale", stale_policy=stale)
assert client.get("stale", recache_policy=recache) is None, "the first one fills it"
assert client.get("stale", recache_policy=recache) == "old", "the others get the old value"

lease = LeasePolicy(ttl=30, miss_retries=2, miss_retry_wait=0.01)
assert client.get_or_lease("leased", lease) is None, "the first one got the lease"
assert client.set("leased", "filled", ttl=HOUR) and client.get_or_lease("leased", lease) == "filled"

found = client.meta_get(Key("c"), flags=RequestFlags(return_value=True, return_ttl=True))
assert 0 < found.flags.ttl <= HOUR, found

assert client.set("short", "x", ttl=1)
assert client.touch("a", ttl=100) is True and client.touch("missing", ttl=100) is False
deadline = time.monotonic() + 10
while client.get("short") is not None:
    assert time.monotonic() < deadline, "an item of one second is still there"
    time.sleep(0.1)

large = b"x" * 1_000_000
assert client.set("large", large, ttl=HOUR) and client.get("large") == large

for number in range(1000):
    client.set(f"quiet{number}", b"x", ttl=HOUR, no_reply=True)
assert all(client.multi_get([f"quiet{number}" for number in range(1000)]).values())

assert client.delete("a") is True and client.delete("a") is False
assert client.invalidate("a") is True and client.get("a") is None

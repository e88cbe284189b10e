"""What programs that watch a cache read of its statistics: names, types and figures.

One row of READS per consumer, command and type; the fields of a row are separate checks.
"""

import re
import socket
import struct
import sys

host, port = sys.argv[1].rsplit(":", 1)

COUNT = r"\d+"
BIT = r"[01]"
# memcached_exporter splits it at its only point.
SECONDS = r"\d+\.\d{6}"
RATIO = r"\d+\.\d+"
YES_NO = r"yes|no"
ON_OFF = r"on|off"
OCTAL = r"[0-7]+"
VERSION = r"\d+\.\d+\.\d+"
WORD = r"\S+"

# Of `stats items` and `stats slabs` a field is wanted of every class; ALL marks those for all.
GENERAL, ITEMS, SLABS, ALL, SETTINGS = "", "items", "slabs", "slabs of all", "settings"

READS = [
    ("memcached_exporter", GENERAL, VERSION, "version"),
    ("memcached_exporter", GENERAL, SECONDS, "rusage_user rusage_system"),
    ("memcached_exporter", GENERAL, BIT, "accepting_conns"),
    ("memcached_exporter", GENERAL, COUNT, """
        uptime time get_hits get_misses delete_hits delete_misses incr_hits incr_misses decr_hits
        decr_misses cas_hits cas_misses cas_badval touch_hits touch_misses cmd_flush cmd_set bytes
        limit_maxbytes curr_items total_items bytes_read bytes_written curr_connections
        total_connections rejected_connections conn_yields listen_disabled_num evictions reclaimed
        lru_crawler_starts direct_reclaims crawler_items_checked crawler_reclaimed moves_to_cold
        moves_to_warm moves_within_lru"""),
    ("memcached_exporter", ITEMS, COUNT, """
        number age hits_to_hot hits_to_warm hits_to_cold hits_to_temp crawler_reclaimed evicted
        evicted_nonzero evicted_time evicted_unfetched expired_unfetched outofmemory reclaimed
        tailrepairs mem_requested number_hot number_warm number_cold age_hot age_warm"""),
    ("memcached_exporter", SLABS, COUNT, """
        cmd_set cas_hits cas_badval get_hits delete_hits incr_hits decr_hits touch_hits chunk_size
        chunks_per_page total_pages total_chunks used_chunks free_chunks free_chunks_end"""),
    ("memcached_exporter", ALL, COUNT, "total_malloced"),
    ("memcached_exporter", SETTINGS, COUNT, """
        maxconns lru_crawler_sleep lru_crawler_tocrawl hot_lru_pct warm_lru_pct"""),
    ("memcached_exporter", SETTINGS, RATIO, "hot_max_factor warm_max_factor"),
    ("memcached_exporter", SETTINGS, YES_NO, "lru_crawler lru_maintainer_thread"),
    ("datadog", GENERAL, SECONDS, "rusage_user rusage_system"),
    ("datadog", GENERAL, COUNT, """
        total_items curr_items limit_maxbytes uptime bytes curr_connections max_connections
        connection_structures threads pointer_size cmd_get cmd_set cmd_flush get_hits get_misses
        delete_hits delete_misses evictions bytes_read bytes_written cas_misses cas_hits cas_badval
        total_connections listen_disabled_num"""),
    ("datadog", ITEMS, COUNT, """
        evicted evicted_nonzero evicted_time expired_unfetched evicted_unfetched outofmemory
        tailrepairs moves_to_cold moves_to_warm moves_within_lru reclaimed crawler_reclaimed
        lrutail_reflocked direct_reclaims number number_hot number_warm number_cold age"""),
    ("datadog", SLABS, COUNT, """
        get_hits cmd_set delete_hits incr_hits decr_hits cas_hits cas_badval touch_hits chunk_size
        chunks_per_page total_pages total_chunks used_chunks free_chunks free_chunks_end"""),
    ("datadog", ALL, COUNT, "active_slabs total_malloced"),
    ("telegraf", GENERAL, COUNT, """
        get_hits get_misses get_expired get_flushed evictions limit_maxbytes bytes uptime
        curr_items total_items curr_connections total_connections connection_structures cmd_get
        cmd_set delete_hits delete_misses incr_hits incr_misses decr_hits decr_misses cas_hits
        cas_misses bytes_read bytes_written threads conn_yields cmd_flush cmd_touch touch_hits
        touch_misses reclaimed expired_unfetched evicted_unfetched evicted_active
        rejected_connections listen_disabled_num time_in_listen_disabled_us slabs_moved
        slab_reassign_running lru_crawler_running lru_crawler_starts hash_power_level hash_bytes
        hash_is_expanding reserved_fds max_connections malloc_fails"""),
    ("netdata", GENERAL, COUNT, """
        limit_maxbytes bytes bytes_read bytes_written curr_connections rejected_connections
        total_connections curr_items total_items reclaimed evictions get_hits get_misses
        delete_hits delete_misses incr_hits incr_misses decr_hits decr_misses touch_hits
        touch_misses cas_hits cas_misses cas_badval cmd_get cmd_set cmd_touch"""),
    ("collectd", GENERAL, SECONDS, "rusage_user rusage_system"),
    ("collectd", GENERAL, COUNT, """
        threads curr_items bytes limit_maxbytes curr_connections listen_disabled_num cmd_get
        cmd_set cmd_flush cmd_touch cmd_meta incr_hits incr_misses decr_hits decr_misses get_hits
        get_misses delete_hits delete_misses evictions bytes_read bytes_written"""),
    ("phpMemcachedAdmin", GENERAL, BIT, "accepting_conns hash_is_expanding slab_reassign_running"),
    ("phpMemcachedAdmin", GENERAL, COUNT, """
        bytes bytes_read bytes_written cas_badval cas_hits cas_misses cmd_flush cmd_get cmd_set
        cmd_touch curr_connections curr_items delete_hits delete_misses decr_hits decr_misses
        incr_hits incr_misses touch_hits touch_misses evicted_unfetched evictions
        expired_unfetched hash_bytes hash_power_level reclaimed slabs_moved total_connections
        total_items"""),
    ("phpMemcachedAdmin", SETTINGS, YES_NO, "auth_enabled_sasl cas_enabled detail_enabled"),
    ("phpMemcachedAdmin", SETTINGS, ON_OFF, "evictions"),
    ("phpMemcachedAdmin", SETTINGS, RATIO, "growth_factor"),
    ("phpMemcachedAdmin", SETTINGS, OCTAL, "umask"),
    ("phpMemcachedAdmin", SETTINGS, WORD, "domain_socket inter"),
    ("phpMemcachedAdmin", SETTINGS, COUNT, """
        chunk_size maxbytes maxconns num_threads oldest reqs_per_event tcp_backlog tcpport udpport
        verbosity"""),
    ("phpMemcachedAdmin", SLABS, COUNT, "chunk_size total_pages used_chunks get_hits cmd_set"),
    ("phpMemcachedAdmin", ITEMS, COUNT, "number age evicted evicted_time outofmemory tailrepairs"),
]

# Bytes that collectd reads of `stats`.
COLLECTD_BUFFER = 4096

WORK = (
    [f"set small{n} 1 0 4\r\n1000" for n in range(20)]
    + [f"set big{n} 1 0 5000\r\n" + "x" * 5000 for n in range(10)]
    + ["get small0 small1 big0 nothing", "delete small19", "delete nothing"]
    + ["incr small2 1", "incr nothing 1", "decr small2 1", "decr nothing 1"]
    + ["touch small3 100", "touch nothing 100", "cas nothing 0 0 1 1\r\nx", "cas small4 0 0 1 1\r\nx"]
    + ["mg small5 v"]
)
# What it comes to: 30 items stored, one deleted.
FIGURES = {
    "curr_items": 29, "total_items": range(30, 33), "cmd_set": range(30, 33),
    "cmd_get": range(5, 7), "get_hits": range(4, 6), "get_misses": 1, "delete_hits": 1,
    "delete_misses": 1, "incr_hits": 1, "incr_misses": 1, "decr_hits": 1, "decr_misses": 1,
    "touch_hits": 1, "touch_misses": 1, "cas_misses": 1, "cas_badval": 1,
    "curr_connections": range(1, 20), "evictions": 0, "bytes": range(50_000, 70_000),
    "bytes_read": range(50_000, 60_000), "bytes_written": range(5_000, 100_000),
    "uptime": range(0, 600), "rejected_connections": 0, "accepting_conns": 1,
}


class Text:
    """Statistics as everyone but Datadog asks for them."""

    def __init__(self):
        self.socket = socket.create_connection((host, int(port)), timeout=10)

    def ask(self, command, last=b"END\r\n", line_end="\r\n"):
        self.socket.sendall((command + line_end).encode())
        answer = b""
        while not answer.endswith(last):
            part = self.socket.recv(65536)
            assert part, f"{command}: closed after {answer!r}"
            answer += part
        return answer

    def stats(self, group):
        lines = self.ask(f"stats {group}".strip()).decode().split("\r\n")[:-2]
        found = [re.fullmatch(r"STAT (\S+) (.*)", line) for line in lines]
        assert all(found), f"stats {group}: {lines}"
        return dict(line.groups() for line in found)


class Binary:
    """Statistics as Datadog asks for them."""

    STAT, HEADER = 0x10, struct.Struct(">BBHBBHIIQ")

    def __init__(self):
        self.stream = socket.create_connection((host, int(port)), timeout=10).makefile("rwb")

    def stats(self, group):
        header = self.HEADER.pack(0x80, self.STAT, len(group), 0, 0, 0, len(group), 7, 0)
        self.stream.write(header + group.encode())
        self.stream.flush()
        found = {}
        while True:
            words = self.HEADER.unpack(self.stream.read(self.HEADER.size))
            _, opcode, key_length, _, _, status, length, opaque, _ = words
            assert (opcode, status, opaque) == (self.STAT, 0, 7), words
            body = self.stream.read(length).decode()
            if not body:
                return found
            found[body[:key_length]] = body[key_length:]


def values(stats, group, field):
    """Of `items:1:number` and `1:cmd_set` every class's value."""
    if group in (ITEMS, SLABS):
        name = re.compile(r"(items:)?\d+:" + re.escape(field))
        return [value for key, value in stats.items() if name.fullmatch(key)]
    return [stats[field]] if field in stats else []


text, binary = Text(), Binary()
text.ask("\r\n".join([*WORK, "mn"]), b"MN\r\n")

mistakes = []
for consumer, group, kind, fields in READS:
    asked = binary if consumer == "datadog" else text
    stats = asked.stats(group.split(" ")[0])
    for field in fields.split():
        found = values(stats, group, field)
        if not found or not all(re.fullmatch(kind, value) for value in found):
            mistakes.append(f"{consumer} reads {field} of `stats {group}` as {kind}: {found}")

for asked in (text, binary):
    general, items, slabs = (asked.stats(group) for group in (GENERAL, ITEMS, SLABS))
    for field, figure in FIGURES.items():
        if int(general[field]) not in (figure if isinstance(figure, range) else [figure]):
            mistakes.append(f"{field} is {general[field]}, not {figure}")
    number = sum(map(int, values(items, ITEMS, "number")))
    used = sum(map(int, values(slabs, SLABS, "used_chunks")))
    sets = sum(map(int, values(slabs, SLABS, "cmd_set")))
    if number != 29 or used < number or sets < 30:
        mistakes.append(f"of 29 items, the classes hold {number} in {used} chunks, {sets} stored")
    if int(slabs["active_slabs"]) < len(values(items, ITEMS, "number")):
        mistakes.append(f"{slabs['active_slabs']} active classes for more with items")
    if int(slabs["total_malloced"]) < int(general["bytes"]):
        mistakes.append(f"total_malloced {slabs['total_malloced']} < bytes {general['bytes']}")
    if int(general["bytes"]) > int(general["limit_maxbytes"]):
        mistakes.append("more bytes than there may be")

length = len(text.ask("stats"))
if length >= COLLECTD_BUFFER:
    mistakes.append(f"collectd reads {COLLECTD_BUFFER} of {length} bytes")
if not text.ask("stats ", line_end="\n").startswith(b"STAT pid "):
    mistakes.append("damemtop ends its lines with a blank and a line feed")
if mistakes:
    sys.exit("\n".join(mistakes))

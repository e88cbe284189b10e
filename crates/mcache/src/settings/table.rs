//! THE TABLE OF SETTINGS. One row: what it is, its field, its default as mcache and its default
//! as memcached, how it is shown, how it can be said, its name in `stats settings`.
//!
//! The rows stand in the order of memcached's `stats settings`. A row without a spelling is only
//! reported; a row with `no effect` is read, checked and reported, and a line in the log says so.

use std::path::PathBuf;
use std::time::Duration;

use mcache_base::limits::{REQUEST_SECONDS, TLS_HANDSHAKE_SECONDS};
use mcache_net::Io;
use mcache_protocol::Protocols;
use mcache_store::SizeLimit;

use super::declare::{at_most_one, settings};
use super::{
    Engine, Given, Habits, ListenOn, MemoryFrom, Port, Setting, Spelling, Threads, read, show,
};
use crate::network::Network;
use crate::options::IdlePolicy;
use crate::tls::{ClientCertificate, KeyFormat, Version};
use crate::users::UserOptions;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const U32_MAX: u64 = u32::MAX as u64;

const NO_SLABS: &str = "it tunes memcached's slabs, which mcache does not have";
const NO_LRU: &str = "it tunes memcached's LRU, which mcache does not have";
const NO_HASH: &str = "it tunes memcached's hash table; mcache sizes and keys its own";

settings! {
    /// A TOML file of settings: the keys are the long options' names. What the command line says
    /// wins over the file. Tables `[[user]]` name users with rights; without -S and -Y peers then
    /// have to log in by whichever protocol they speak.
    config: Option<PathBuf> = None, None => show::path;
        ["--config"] "FILE" => read::path;

    /// Memory for items: keys, values and everything that is kept beside them. `--cap auto` is
    /// 3/4 of what the cgroup may have, or the default if nothing limits it.
    memory: u64 = 1024 * MIB, 64 * MIB => show::plain;
        ["-m" "--memory-limit"] "MEGABYTES" => read::megabytes;
        ["--cap"] "BYTES[k|m|g]|auto" => read::capacity;
        stat "maxbytes";

    /// Connections that may be open at once; one more is told so and closed.
    connections_max: u32 = 1024, 1024 => show::plain;
        ["-c" "--conn-limit"] "NUMBER" => read::number::<_, 1, 10_000_000>;
        stat "maxconns";

    /// TCP port to listen on; 0 for none, -1 for one that the system chooses.
    port: Port = Port::Number(11211), Port::Number(11211) => show::plain;
        ["-p" "--port"] "PORT" => read::port;
        stat "tcpport";

    /// UDP port to serve; 0 for none, -1 for one that the system chooses. Without -p it is the
    /// TCP port too.
    udp_port: Port = Port::Off, Port::Off => show::plain;
        ["-U" "--udp-port"] "PORT" => read::port;
        stat "udpport";

    /// Who may be sent answers over UDP that are more than three times as long as their requests,
    /// as addresses or networks with commas between them: mcache's default is this machine,
    /// memcached's everybody. Others get no such answer, because a sender's address can be forged,
    /// and may ask for one key at a time and nothing about the server.
    udp_allow: Vec<Network> = Network::LOOPBACK.to_vec(), Network::EVERYBODY.to_vec()
        => show::networks;
        ["--udp-allow"] "NETWORKS" => read::networks;

    /// Interfaces to listen on, as ADDRESS, HOST:PORT or [V6]:PORT: several with commas, or the
    /// option repeated. `proto[ascii]:`, `proto[binary]:` or `proto[negotiating]:` in front gives
    /// one protocols of its own, then `tag[WORD]:` a name. With -Z, `notls:` before all that is one
    /// without TLS, `btls:` asks its clients for no certificate, `mtls:` demands a good one.
    /// Without -l mcache listens on loopback, memcached on all interfaces.
    listen: Vec<ListenOn> = Vec::new(), Vec::new() => show::listeners;
        ["-l" "--listen"] "ADDRESS" => read::listeners;
        stat "inter";

    /// What is logged: 0 errors and warnings, 1 start and stop, 2 connections and the text
    /// commands that come, 3 what becomes of items too, both in the words of `watch`. Each -v adds
    /// 1. RUST_LOG wins over it.
    verbosity: u32 = 1, 0 => show::plain;
        ["-v" "--verbose"] "[=LEVEL]" => read::level;
        stat "verbosity";

    /// The age of the oldest item, in seconds.
    oldest: u32 = 0, 0 => show::plain;
        stat "oldest";

    /// A full cache makes room by evicting; with -M it refuses to store instead.
    evictions: bool = true, true => show::on_off;
        ["-M" "--disable-evictions"] => read::off;
        stat "evictions";

    /// Who leaves first when room is needed.
    eviction: &'static str = "heat", "heat" => show::plain;
        ["--eviction"] "POLICY" => read::policy;

    /// Where items live: `segment` in one arena; `simple` in a map under one lock, only for
    /// comparison.
    engine: Engine = Engine::Segment, Engine::Segment => show::engine;
        ["--engine"] "ENGINE" => read::engine;

    /// How sockets are served: `uring` (io_uring) or `epoll`; `auto` is io_uring where the system
    /// allows it, and epoll elsewhere.
    io: Io = Io::Auto, Io::Auto => show::io;
        ["--io"] "INTERFACE" => read::io;

    /// Unix socket to listen on. The ports are then off; mcache opens those that are given too: TCP
    /// by -p or -l, UDP by -U.
    unix_socket: Option<PathBuf> = None, None => show::path;
        ["-s" "--unix-socket"] "PATH" => read::path;
        stat "domain_socket";

    /// Permissions of the unix socket, in octal.
    unix_mask: u32 = 0o700, 0o700 => show::octal;
        ["-a" "--unix-mask"] "MODE" => read::permissions;
        stat "umask";

    /// Peers may stop the server with the command `shutdown`; without -A they may not.
    shutdown_command: bool = false, false => show::yes_no;
        ["-A" "--enable-shutdown"] => read::on;
        stat "shutdown_command";

    /// Growth from one slab class to the next.
    growth_factor: f64 = 1.25, 1.25 => show::two_decimals;
        ["-f" "--slab-growth-factor"] "FACTOR" => read::above_one;
        stat "growth_factor";
        no effect NO_SLABS;

    /// Bytes of the smallest slab chunk.
    chunk_size: u32 = 48, 48 => show::plain;
        ["-n" "--slab-min-size"] "BYTES" => read::number::<_, 1, MIB>;
        stat "chunk_size";
        no effect NO_SLABS;

    /// Sizes of the slab classes, with dashes between them.
    slab_sizes: Option<String> = None, None => show::word;
        ["-o slab_sizes"] "SIZES" => read::word;
        no effect NO_SLABS;

    /// Worker threads, each with its own event loop. `auto` is one for each processor that the
    /// process may use.
    threads: Threads = Threads::Auto, Threads::Number(4) => show::plain;
        ["-t" "--threads"] "NUMBER|auto" => read::threads;
        stat "num_threads";

    /// Keep each worker on one of the processors that the process may use, in turn.
    pin_workers: bool = false, false => show::yes_no;
        ["--pin-workers"] => read::on;

    /// Threads that serve each UDP port: in mcache one, in memcached all of `-t`.
    threads_per_udp: u32 = 1, 1 => show::plain;
        stat "num_threads_per_udp";

    /// What ends the prefix of a key for `flush_prefix` and `stats detail`, which then counts from
    /// the start.
    stat_key_prefix: u8 = b':', b':' => show::character;
        ["-D"] "DELIMITER" => read::character;
        stat "stat_key_prefix";

    /// Whether `stats detail` counts.
    detail_enabled: bool = false, false => show::yes_no;
        stat "detail_enabled";

    /// Requests served on a connection before the others get their turn.
    requests_per_turn: u32 = 20, 20 => show::plain;
        ["-R" "--max-reqs-per-event"] "NUMBER" => read::number::<_, 1, 1_000_000>;
        stat "reqs_per_event";

    /// Whether items have a cas unique: with -C memcached saves its bytes.
    cas_enabled: bool = true, true => show::yes_no;
        ["-C" "--disable-cas"] => read::off;
        stat "cas_enabled";
        no effect "a cas unique takes no memory of its own in mcache; items go on having one";

    /// Connections that may wait to be accepted, for each listener.
    backlog: u32 = 1024, 1024 => show::plain;
        ["-b" "--listen-backlog"] "NUMBER" => read::number::<_, 1, 65_535>;
        stat "tcp_backlog";

    /// The protocol spoken: ascii, binary, or auto (the default) to let each connection's first
    /// byte decide.
    protocols: Protocols = Protocols::Negotiated, Protocols::Negotiated => show::protocols;
        ["-B" "--protocol"] "NAME" => read::protocols;
        stat "binding_protocol";

    /// Peers have to log in, by the binary protocol and SASL's PLAIN; no other protocol is spoken.
    /// Who may stands in the file of --sasl-users.
    auth_sasl: bool = false, false => show::yes_no;
        ["-S" "--enable-sasl"] => read::on;
        stat "auth_enabled_sasl";

    /// Peers have to log in, by the text protocol: a set of any key whose value is a name, a space
    /// and a password. Who may stands in this file, `name:password` or `name:$argon2id$...` on each
    /// line, as `mcache passwd NAME` writes it; SIGHUP has it read again. No other protocol is
    /// spoken.
    auth_file: Option<PathBuf> = None, None => show::path_or_no;
        ["-Y" "--auth-file"] "FILE" => read::path;
        stat "auth_enabled_ascii";

    /// Largest item: -I counts its key and memcached's header (1k to 1024m, and at most half of
    /// the memory), --max-val-size counts the value alone (0 for no limit).
    item_size: SizeLimit = SizeLimit::Value(u64::MAX), SizeLimit::Item(MIB) => show::size;
        ["-I" "--max-item-size"] "BYTES[k|m]" => read::item_size;
        ["--max-val-size"] "BYTES[k|m|g]" => read::value_size;
        stat "item_size_max";

    /// Refuse connections above the limit at once, rather than let them wait.
    maxconns_fast: bool = true, true => show::yes_no;
        ["-o maxconns_fast"] => read::on;
        ["-o no_maxconns_fast"] => read::off;
        stat "maxconns_fast";

    /// log2 of the hash table's first size; 0 is memcached's own choice.
    hashpower: u32 = 0, 0 => show::plain;
        ["-o hashpower"] "12..32" => read::number::<_, 12, 32>;
        stat "hashpower_init";
        no effect NO_HASH;

    /// Whether the hash table grows.
    hash_expands: bool = true, true => show::yes_no;
        ["-o no_hashexpand"] => read::off;
        no effect NO_HASH;

    /// Whether memory moves between slab classes.
    slab_reassign: bool = true, true => show::yes_no;
        ["-o slab_reassign"] => read::on;
        ["-o no_slab_reassign"] => read::off;
        stat "slab_reassign";
        no effect NO_SLABS;

    /// How eagerly memory moves between slab classes.
    slab_automove: u32 = 1, 1 => show::plain;
        ["-o slab_automove"] "[=0..2]" => |field, text| match text {
            "" => read::number::<_, 0, 2>(field, "1"),
            _ => read::number::<_, 0, 2>(field, text),
        };
        ["-o no_slab_automove"] => |field, _| read::number::<_, 0, 2>(field, "0");
        stat "slab_automove";
        no effect NO_SLABS;

    /// Ratio of ages between slab classes from which memory moves.
    slab_automove_ratio: f64 = 0.8, 0.8 => show::two_decimals;
        ["-o slab_automove_ratio"] "RATIO" => read::up_to_one;
        stat "slab_automove_ratio";
        no effect NO_SLABS;

    /// Seconds that the page mover looks back.
    slab_automove_window: u32 = 10, 10 => show::plain;
        ["-o slab_automove_window"] "SECONDS" => read::number::<_, 3, 1800>;
        stat "slab_automove_window";
        no effect NO_SLABS;

    /// Largest slab chunk; said in kilobytes, shown in bytes.
    slab_chunk_max: u64 = 512 * KIB, 512 * KIB => show::plain;
        ["-o slab_chunk_max"] "KILOBYTES" => read::units::<KIB, 1, 1024>;
        ["-o no_chunked_items"] => |field, _| read::units::<KIB, 1, 1024>(field, "1024");
        stat "slab_chunk_max";
        no effect NO_SLABS;

    /// Whether a thread looks for expired items.
    lru_crawler: bool = true, true => show::yes_no;
        ["-o lru_crawler"] => read::on;
        ["-o no_lru_crawler"] => read::off;
        stat "lru_crawler";
        no effect NO_LRU;

    /// Microseconds that it sleeps between items.
    lru_crawler_sleep: u32 = 100, 100 => show::plain;
        ["-o lru_crawler_sleep"] "MICROSECONDS" => read::number::<_, 0, 1_000_000>;
        stat "lru_crawler_sleep";
        no effect NO_LRU;

    /// Items that it looks at per slab class; 0 for all.
    lru_crawler_tocrawl: u32 = 0, 0 => show::plain;
        ["-o lru_crawler_tocrawl"] "NUMBER" => read::number::<_, 0, U32_MAX>;
        stat "lru_crawler_tocrawl";
        no effect NO_LRU;

    /// Seconds after which a stuck item is taken by force; 0 for never.
    tail_repair_time: u32 = 0, 0 => show::plain;
        ["-o tail_repair_time"] "SECONDS" => read::number::<_, 10, U32_MAX>;
        stat "tail_repair_time";
        no effect NO_LRU;

    /// Peers may empty the cache with flush_all; with -F they may not.
    flush_enabled: bool = true, true => show::yes_no;
        ["-F" "--disable-flush-all"] => read::off;
        stat "flush_enabled";

    /// Peers may list keys; with -X they may not.
    dump_enabled: bool = true, true => show::yes_no;
        ["-X" "--disable-dumping"] => read::off;
        stat "dump_enabled";

    /// memcached's hash function.
    hash_algorithm: &'static str = "murmur3", "murmur3" => show::plain;
        ["-o hash_algorithm"] "NAME" =>
            |field, text| read::one_of(field, text, &["jenkins", "murmur3", "xxh3"]);
        stat "hash_algorithm";
        no effect NO_HASH;

    /// Whether a thread keeps the LRU's parts in balance.
    lru_maintainer: bool = true, true => show::yes_no;
        ["-o lru_maintainer"] => read::on;
        ["-o no_lru_maintainer"] => read::off;
        stat "lru_maintainer_thread";
        no effect NO_LRU;

    /// Whether the LRU has parts.
    lru_segmented: bool = true, true => show::yes_no;
        stat "lru_segmented";

    /// Percent of memory for the hot part.
    hot_lru_percent: u32 = 20, 20 => show::plain;
        ["-o hot_lru_pct"] "PERCENT" => read::number::<_, 1, 79>;
        stat "hot_lru_pct";
        no effect NO_LRU;

    /// Percent of memory for the warm part.
    warm_lru_percent: u32 = 40, 40 => show::plain;
        ["-o warm_lru_pct"] "PERCENT" => read::number::<_, 1, 79>;
        stat "warm_lru_pct";
        no effect NO_LRU;

    /// Age, against the cold part's, at which items leave the hot part.
    hot_max_factor: f64 = 0.2, 0.2 => show::two_decimals;
        ["-o hot_max_factor"] "FACTOR" => read::above_zero;
        stat "hot_max_factor";
        no effect NO_LRU;

    /// Age, against the cold part's, at which items leave the warm part.
    warm_max_factor: f64 = 2.0, 2.0 => show::two_decimals;
        ["-o warm_max_factor"] "FACTOR" => read::above_zero;
        stat "warm_max_factor";
        no effect NO_LRU;

    /// Whether items with a short time to live have a part of their own.
    temporary_lru: bool = false, false => show::yes_no;
        stat "temp_lru";

    /// The longest time to live, in seconds, that counts as short.
    temporary_ttl: u32 = 61, 61 => show::plain;
        ["-o temporary_ttl"] "SECONDS" => read::number::<_, 0, U32_MAX>;
        stat "temporary_ttl";
        no effect NO_LRU;

    /// Seconds after which an idle connection is closed; 0 for never. If it is not said, mcache
    /// closes some only to make room at the connection limit: those that have asked nothing yet,
    /// those in the midst of a request for a second, and those idle for 5.
    idle: IdlePolicy = IdlePolicy::MakeRoom(Duration::from_secs(5)), IdlePolicy::Keep => show::idle;
        ["--timeout" "-o idle_timeout"] "SECONDS" => read::idle_seconds;
        stat "idle_timeout";

    /// Seconds after which a connection is closed whose peer has begun a request and not got on
    /// with it: not finished it, nor sent another 64 KiB of its value. 0 for never.
    request_seconds: u64 = REQUEST_SECONDS, 0 => show::plain;
        ["--request-timeout"] "SECONDS" => read::number::<_, 0, U32_MAX>;

    /// Peers may watch what happens; with -W they may not.
    watch_enabled: bool = true, true => show::yes_no;
        ["-W" "--disable-watch"] => read::off;

    /// Bytes of a watcher's buffer; said in kilobytes.
    watcher_buffer: u64 = 256 * KIB, 256 * KIB => show::plain;
        ["-o watcher_logbuf_size"] "KILOBYTES" => read::units::<KIB, 1, MIB>;
        stat "watcher_logbuf_size";

    /// Bytes of a worker's buffer for watchers; said in kilobytes.
    worker_watch_buffer: u64 = 64 * KIB, 64 * KIB => show::plain;
        ["-o worker_logbuf_size"] "KILOBYTES" => read::units::<KIB, 1, MIB>;
        stat "worker_logbuf_size";

    /// Bytes that connections may hold together, of requests that wait and answers that are not
    /// taken; said in megabytes, 0 for 12 of them.
    read_buffers_max: u64 = 0, 0 => show::plain;
        ["-o read_buf_mem_limit"] "MEGABYTES" => read::units::<MIB, 0, KIB>;
        stat "read_buf_mem_limit";

    /// Whether `stats sizes` reports how many items there are of each size.
    track_sizes: bool = false, false => show::yes_no;
        ["-o track_sizes"] => read::on;
        stat "track_sizes";

    /// A dead switch of memcached's.
    inline_ascii_response: bool = false, false => show::yes_no;
        ["-o inline_ascii_resp"] => read::on;
        ["-o no_inline_ascii_resp"] => read::off;
        stat "inline_ascii_response";
        no effect "memcached itself does nothing with it any more";

    /// Bytes from which an item is written to the flash tier.
    flash_item_size: u32 = 512, 512 => show::plain;
        stat "ext_item_size";

    /// Idle seconds after which an item is written to the flash tier.
    flash_item_age: u32 = u32::MAX, u32::MAX => show::plain;
        stat "ext_item_age";

    /// Times to live under this, in seconds, have pages of the flash tier of their own.
    flash_low_ttl: u32 = 0, 0 => show::plain;
        stat "ext_low_ttl";

    /// One in so many hits on the flash tier brings the item back to memory.
    flash_recache_rate: u32 = 2000, 2000 => show::plain;
        stat "ext_recache_rate";

    /// Bytes of the flash tier's write buffer.
    flash_write_buffer: u64 = 4 * MIB, 4 * MIB => show::plain;
        stat "ext_wbuf_size";

    /// Free pages of the flash tier below which it is compacted.
    flash_compact_under: u32 = 0, 0 => show::plain;
        stat "ext_compact_under";

    /// Free pages of the flash tier below which it drops items.
    flash_drop_under: u32 = 0, 0 => show::plain;
        stat "ext_drop_under";

    /// The longest sleep of the flash tier's threads, in microseconds.
    flash_max_sleep: u32 = 1_000_000, 1_000_000 => show::plain;
        stat "ext_max_sleep";

    /// Share of a flash page that may be dead.
    flash_max_dead: f64 = 0.8, 0.8 => show::two_decimals;
        stat "ext_max_frag";

    /// Share of memory that the page mover keeps free.
    slab_automove_freeratio: f64 = 0.01, 0.01 => show::three_decimals;
        ["-o slab_automove_freeratio"] "RATIO" => read::up_to_one;
        stat "slab_automove_freeratio";
        no effect NO_SLABS;

    /// Whether the flash tier drops items that were not read when it is compacted.
    flash_drop_unread: bool = false, false => show::yes_no;
        stat "ext_drop_unread";

    /// TLS on all TCP ports but those that `-l notls:` names. It needs -o ssl_chain_cert, and a key
    /// in that file or in one of its own. docs/tls.md has the rest.
    tls: bool = false, false => show::yes_no;
        ["-Z" "--enable-ssl"] => read::on;
        stat "ssl_enabled";

    /// File of the server's certificate and of those that it is signed by, in PEM. SIGHUP and
    /// `refresh_certs` have it read again, and the other files too.
    tls_chain: Option<PathBuf> = None, None => show::path_or_null;
        ["--tls-chain" "-o ssl_chain_cert"] "FILE" => read::path;
        stat "ssl_chain_cert";

    /// File of its private key, if that does not stand in the file of the certificate.
    tls_key: Option<PathBuf> = None, None => show::path_or_null;
        ["--tls-key" "-o ssl_key"] "FILE" => read::path;
        stat "ssl_key";

    /// What is asked of clients: 0 or `none`; 1 or `request`, a certificate, which has to be good
    /// if there is one; 2 or `require` (3 is the same), a good certificate. `-l mtls:` and `btls:`
    /// say it for one listener.
    tls_verify: ClientCertificate = ClientCertificate::NotAsked, ClientCertificate::NotAsked
        => show::verify_mode;
        ["--tls-verify" "-o ssl_verify_mode"] "MODE" => read::verify_mode;
        stat "ssl_verify_mode";

    /// How the key stands in its file: 1 or PEM, 2 or DER.
    tls_key_format: KeyFormat = KeyFormat::Pem, KeyFormat::Pem => show::key_format;
        ["-o ssl_keyformat"] "FORMAT" => read::key_format;
        stat "ssl_keyformat";

    /// Cipher suites that may be spoken, by OpenSSL's names with colons between them. A version of
    /// TLS of which none is named keeps all that mcache has.
    tls_ciphers: Option<String> = None, None => show::word;
        ["--tls-ciphers" "-o ssl_ciphers"] "LIST" => read::ciphers;
        stat "ssl_ciphers";

    /// File of those who may sign clients' certificates, in PEM.
    tls_authorities: Option<PathBuf> = None, None => show::path;
        ["--tls-ca" "-o ssl_ca_cert"] "FILE" => read::path;
        stat "ssl_ca_cert";

    /// Bytes of memcached's buffer for what is sealed; said in kilobytes.
    tls_write_buffer: u64 = 16 * KIB, 16 * KIB => show::plain;
        ["-o ssl_wbuf_size"] "KILOBYTES" => read::units::<KIB, 1, 1024>;
        stat "ssl_wbuf_size";
        no effect "answers are sealed as sockets take them, without a buffer of this kind";

    /// Report ssl_new_sessions. Clients may go on with the keys of an earlier connection in any
    /// case: what that needs is in the tickets that they are given, so no cache is kept.
    tls_sessions: bool = false, false => show::yes_no;
        ["-o ssl_session_cache"] => read::on;
        stat "ssl_session_cache";

    /// The kernel seals what is sent.
    tls_in_kernel: bool = false, false => show::yes_no;
        ["-o ssl_kernel_tls"] => read::on;
        stat "ssl_kernel_tls";
        no effect "mcache seals what it sends itself";

    /// The oldest version of TLS that is spoken: 2 is TLS 1.2, 3 is TLS 1.3. Older ones are not.
    tls_oldest: Version = Version::Tls12, Version::Tls12 => show::tls_version;
        ["--tls-min-version" "-o ssl_min_version"] "2|3" => read::tls_version;
        stat "ssl_min_version";

    /// Seconds that a TLS handshake may take; the connection is closed then, at most a second late.
    tls_handshake_seconds: u32 = TLS_HANDSHAKE_SECONDS, TLS_HANDSHAKE_SECONDS => show::plain;
        ["--tls-handshake-timeout"] "SECONDS" => read::number::<_, 1, 3600>;

    /// NIC queues that have worker threads of their own.
    napi_ids: u32 = 0, 0 => show::plain;
        ["-N" "--napi-ids"] "NUMBER" => read::number::<_, 1, 1024>;
        stat "num_napi_ids";
        no effect "mcache does not sort connections by NIC queue";

    /// File that the items live in, on a RAM disk: a server that is started with it again has them
    /// again, however the one before ended. Only one server at a time can have it.
    memory_file: Option<PathBuf> = None, None => show::path_or_null;
        ["-e" "--memory-file"] "FILE" => read::path;
        stat "memory_file";

    /// What is done with a memory file that was last used before the machine was started: `cold`
    /// begins anew, because some of it may be older than the rest; `verify` takes what its
    /// checksums find whole.
    after_reboot: &'static str = "cold", "cold" => show::plain;
        ["--after-reboot"] "cold|verify" =>
            |field, text| read::one_of(field, text, &["cold", "verify"]);

    /// Unix socket over which a process that is started with it takes listeners and items over from
    /// the one that runs, so that no connection is refused; and gives them to the next.
    takeover: Option<PathBuf> = None, None => show::path;
        ["--takeover"] "SOCKET" => read::path;

    /// Bytes of an item's flags.
    client_flags_size: u32 = 4, 4 => show::plain;
        stat "client_flags_size";

    /// Memory for answers, an old name that memcached warns about.
    response_objects_max: u32 = 0, 0 => show::plain;
        ["-o resp_obj_mem_limit"] "MEGABYTES" => read::number::<_, 0, U32_MAX>;
        no effect "memcached itself does nothing with it any more";

    /// The defaults that memcached has since 1.5; without them connections above the limit wait
    /// to be accepted, and memcached's own parts are shown as switched off.
    modern: bool = true, true => show::yes_no;
        ["-o modern"] => read::on;
        ["-o no_modern"] => read::off;

    /// Use large pages of memory for items, where the system has them.
    large_pages: bool = false, false => show::yes_no;
        ["-L" "--enable-largepages"] => read::on;

    /// Once everything is open, have the kernel shut the process in: by seccomp it keeps only the
    /// system calls that serving needs, by landlock only the directories of the files that are read
    /// again or removed at the end. It does not start where there is no seccomp.
    drop_privileges: bool = false, false => show::yes_no;
        ["-o drop_privileges"] => read::on;
        ["-o no_drop_privileges"] => read::off;

    /// For tests only: peers may move the server's clock with the command `debugtime`, and have it
    /// open a socket with `misbehave`, which its sandbox forbids. memcached's test-suite starts
    /// every server with it, so that memcached's sandbox is not in its way; that of mcache stays as
    /// it is.
    relaxed_privileges: bool = false, false => show::yes_no;
        ["-o relaxed_privileges"] => read::on;

    /// Run in the background. Nothing is logged then, unless -v or --verbose is said.
    daemon: bool = false, false => show::yes_no;
        ["-d" "--daemon"] => read::on;

    /// Raise the limit on the size of core files, and stay in the working directory with -d. Items
    /// are left out of them. Without it there are none, and no debugger of the same user gets in.
    core_dumps: bool = false, false => show::yes_no;
        ["-r" "--enable-coredumps"] => read::on;

    /// User to become when started as root.
    user: Option<String> = None, None => show::word;
        ["-u" "--user"] "USER" => read::word;

    /// Keep all memory from being paged out. All address space counts against `ulimit -l`, so that
    /// has to be unlimited; else a line in the log says that it has no effect.
    lock_memory: bool = false, false => show::yes_no;
        ["-k" "--lock-memory"] => read::on;

    /// Close a connection on which a store has a length that is none, or a value that does not end
    /// where it should. Without it the error is answered, what has arrived by then is thrown away,
    /// so that no part of a value is taken for a command, and the connection goes on.
    strict_framing: bool = false, false => show::yes_no;
        ["--strict-framing"] => read::on;

    /// File of those who may log in by SASL, as that of --auth-file. Without it the one that the
    /// environment's MEMCACHED_SASL_PWDB names.
    sasl_users: Option<PathBuf> = None, None => show::path;
        ["--sasl-users"] "FILE" => read::path;

    /// File to write the process id to; removed at the end.
    pid_file: Option<PathBuf> = None, None => show::path;
        ["-P" "--pidfile"] "FILE" => read::path;
}

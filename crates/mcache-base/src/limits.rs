//! Every bound in one place: its name, its number, and what happens when it is reached.
//!
//! A bound that an operator may move is a setting whose default stands here.

/// Longest key in bytes. A longer one is refused with `CLIENT_ERROR bad command line format`.
pub const KEY_MAX: usize = 250;

/// Bytes of a text line that may arrive without its end. A longer line closes the connection,
/// unless it is a key list, which is served as a stream and costs no memory.
pub const LINE_MAX: usize = 2048;

/// Most tokens of a meta command. More are refused with
/// `CLIENT_ERROR options flags are too long`.
pub const META_TOKENS_MAX: usize = 20;

/// Longest opaque token of a meta command, its letter included.
pub const OPAQUE_MAX: usize = 32;

/// Bytes that are thrown away because nobody can tell where in them the next command begins: more
/// that have arrived close the connection.
pub const UNFRAMED_MAX: usize = 1 << 20;

/// Largest `<bytes>` a storage command may announce: 2^31 - 3, so that it fits memcached's int
/// with its line end. A larger one is refused and its data is not swallowed.
pub const VALUE_LEN_MAX: u64 = (1 << 31) - 3;

/// A request of at most this many bytes is kept whole until it is complete; a value of a larger
/// one streams into the engine's memory as it arrives.
pub const REQUEST_BUFFERED_MAX: usize = 16 << 10;

/// Values above this are sent by reference (pinned) instead of copied into the answer.
pub const VALUE_COPIED_MAX: usize = 8 << 10;

/// Bytes of values that are still arriving, all together, that are let in however small the cache
/// is; otherwise three quarters of its capacity are, an eighth without evictions. Beyond it the
/// value whose bytes have been awaited longest is refused for want of memory.
pub const STAGED_MIN: u64 = 4 << 20;

/// Values up to this are copied into the answer if so much is pinned already that they can't be.
/// A larger one is told as a miss: readers who don't read must not cost memory.
pub const VALUE_COPIED_UNPINNED_MAX: usize = 256 << 10;

/// Answers waiting to be sent, in bytes, at which a session stops serving its peer until some
/// have gone out.
pub const OUTPUT_HIGH_WATER: usize = 256 << 10;

/// Bytes that connections hold together, of requests that wait and answers that are not taken,
/// unless `-o read_buf_mem_limit` says another number. Reaching it, sessions serve less at once,
/// then connections wait for each other, then the one whose peer has not got on for longest, with
/// a request or an answer, is closed.
pub const BUFFERED_MAX: usize = 12 << 20;

/// Milliseconds for which a connection's peer must not have got on to be closed so that others can
/// hold more. If none has, the one that would hold more is closed itself.
pub const BUFFERED_IDLE_MS: u64 = 1000;

/// Seconds after which a connection is closed whose peer has begun a request and not got on with
/// it, unless `--request-timeout` says another number.
pub const REQUEST_SECONDS: u64 = 30;

/// Bytes of a request under way that are a good part of it: who has sent so many got on. Longer
/// values may take as long as they need, at this much in the time that a request has.
pub const REQUEST_STEP: usize = 64 << 10;

/// Milliseconds for which a connection's peer must have been waited for in the midst of a request,
/// or while it takes an answer, for the connection to be closed to make room for a newcomer at the
/// connection limit. Before its first request it may be at once: a storm of newcomers that ask
/// nothing pushes each other out.
pub const REQUEST_REST_MS: u64 = 1000;

/// Memory that an answer under way may hold beyond twice its bytes.
pub const OUTPUT_SLACK: usize = 4 << 10;

/// Pinned values waiting to be sent at which a session stops serving until some have gone out.
pub const OUTPUT_PINS_MAX: usize = 64;

/// Bytes of a name and a password with which a peer logs in, before which it may say nothing else.
/// More are refused with `CLIENT_ERROR auth token too long`.
pub const LOGIN_MAX: usize = 16 << 10;

/// Milliseconds after which a connection is closed whose peer has not logged in.
pub const LOGIN_MS: u64 = 30_000;

/// Milliseconds between two answers that a login failed, on whatever connections: so fast can
/// passwords be guessed.
pub const LOGIN_FAILED_MS: u64 = 5;

/// Seconds that a TLS handshake may take, unless `--tls-handshake-timeout` says another number.
/// The connection is then closed.
pub const TLS_HANDSHAKE_SECONDS: u32 = 5;

/// Bytes of a TLS handshake that are kept until a whole message of it has come. A longer message
/// closes the connection: certificates of clients have to be shorter.
pub const TLS_HANDSHAKE_MAX: usize = 12 << 10;

/// Bytes of a TLS record, its header included, as both versions have it. So much is kept at most
/// until the rest of it comes; a longer one closes the connection.
pub const TLS_RECORD_MAX: usize = 5 + (16 << 10) + 2048;

/// Bytes of sealed answers from which on no more are sealed until the driver has sent them. They
/// may come to a record more.
pub const TLS_SEALED_AHEAD: usize = 64 << 10;

/// Bytes of a file of certificates or of a key. A longer one is refused.
pub const TLS_FILE_MAX: u64 = 1 << 20;

/// Users with rights that the settings may name. One more is refused with the file.
pub const USERS_MAX: usize = 1 << 10;

/// Prefixes of keys that a user may have, each of which is looked at for each key. One more is
/// refused with the file.
pub const USER_KEYS_MAX: usize = 64;

/// Logins that wait to be looked at, and as many that wait for a hash. One more, and the one that
/// has waited longest is forgotten; its connection is closed when its time to log in is over.
pub const LOGINS_WAITING_MAX: usize = 1 << 10;

/// Passwords that are remembered to be right, so that they need no hash again. One more makes all
/// others forgotten.
pub const LOGINS_PROVEN_MAX: usize = 1 << 12;

/// Groups inside groups: delimiters of a key that are looked at. A prefix with more is refused with
/// `CLIENT_ERROR a prefix has at most eight delimiters`.
pub const GROUP_LEVELS_MAX: usize = 8;

/// Flushed groups that are remembered, until a flush_all makes them forgotten. One more is
/// refused with `SERVER_ERROR too many flushed prefixes`.
pub const GROUPS_MAX: usize = 1 << 16;

/// Keys that a session looks ahead, to bring what their requests will read nearer: all that a
/// turn serves, unless `-R` says another number.
pub const REQUESTS_AHEAD: usize = 20;

/// Bytes a worker reads from a socket at once.
pub const RECEIVE_CHUNK: usize = 64 << 10;

/// Bytes it reads at once from a connection whose last request was a value that went to its place
/// as it came, so that little of the next one takes another way; also what it reads behind a value.
pub const RECEIVE_HEAD: usize = 4 << 10;

/// Bytes it reads at once while connections hold a quarter of what they may.
pub const RECEIVE_SOME: usize = 16 << 10;

/// Answers of a session that has used up its turn, in bytes, at which they are sent although
/// more of its requests have arrived. Below it they wait for the answers of its next turns.
pub const OUTPUT_LOW_WATER: usize = 32 << 10;

/// Bytes of answers in a turn at which a report or a list ends it, however few requests that were:
/// they cost much more than a request for an item, and others wait meanwhile.
pub const REPORTED_PER_TURN: usize = 4 << 10;

/// Memory of empty output queues that a worker keeps for its next answers, in bytes.
pub const OUTPUTS_KEPT_MAX: usize = 1 << 20;

/// Newcomers over the connection limit that may wait for a worker to make room for them. More
/// are accepted when these were.
pub const NEWCOMERS_WAITING_MAX: usize = 64;

/// Milliseconds between two lines of the log about newcomers that there is no room for: who comes
/// and goes at a limit does not fill a disk.
pub const NO_ROOM_LOGGED_MS: u64 = 10_000;

/// Milliseconds until connections are accepted again after the process ran out of descriptors.
pub const ACCEPT_RETRY_MS: u64 = 20;

/// Milliseconds that a stopping server goes on sending answers to peers that read slowly.
pub const STOP_GRACE_MS: u64 = 1000;

/// Milliseconds that a server which is taken over waits for requests that have begun to come; those
/// that are not there by then are cut off.
pub const DRAIN_MS: u64 = 500;

/// Milliseconds that a process which takes over waits for an answer of the one that runs, and that
/// one for it while it still serves. Then the take-over fails, and the running one goes on.
pub const HANDOVER_MS: u64 = 20_000;

/// Bytes of a message between a server and its successor. A longer one is cut off and not
/// understood.
pub const HANDOVER_MESSAGE_MAX: usize = 8 << 10;

/// Processes that may wait to take over at once. One more waits to connect.
pub const HANDOVERS_WAITING_MAX: i32 = 4;

/// Connections that may watch at once. One more is told so, with memcached's words.
pub const WATCHERS_MAX: usize = 20;

/// Bytes of a UDP packet, header included: answers are split so that none is fragmented.
pub const UDP_PACKET_MAX: usize = 1400;

/// Longest answer to a datagram, in bytes. A longer one is not sent at all.
pub const UDP_REPLY_MAX: usize = 16 << 20;

/// How many times as long as its request a datagram's answer may be, unless whoever asked is on
/// the list of those who may have more. A longer one is not sent at all.
pub const UDP_AMPLIFICATION_MAX: usize = 3;

/// Events a worker takes from the kernel at once; the others wait for its next turn.
pub const EVENTS_PER_WAIT: usize = 1024;

/// Entries that a worker hands to io_uring at once; further ones follow when it has taken these.
pub const RING_SUBMISSIONS: u32 = 1024;

/// Completions that io_uring has room for; it keeps further ones until these are read.
pub const RING_COMPLETIONS: u32 = 4096;

/// Buffers of a worker that io_uring receives into. A connection that bytes arrive for while all
/// are full receives them a turn later.
pub const LENT_BUFFERS: u16 = 256;

/// Buffers that it is lent at first, twice as many whenever all were full: a worker with few
/// connections never needs memory for more.
pub const LENT_BUFFERS_FIRST: u16 = 32;

/// Bytes of such a buffer.
pub const LENT_BUFFER_LEN: usize = 4 << 10;

/// Bytes that io_uring has received for a connection that does not take them, at which it stops
/// receiving until all are taken. What one system call brings may come on top.
pub const RECEIVED_AHEAD_MAX: usize = 16 << 10;

/// Bytes of a value that are still missing from which on io_uring does not receive them by itself:
/// they wait in the socket and go to where they are wanted, and so do those of the next values.
pub const EXPECTED_MUCH_MIN: usize = 16 << 10;

/// Bytes of answers that wait to be handed to io_uring at which the worker hands them over before
/// it serves more connections.
pub const SENDS_GATHERED_MAX: usize = 1 << 20;

/// Slices handed to one gathering send. What is behind them follows in the next one.
pub const SLICES_PER_SEND: usize = 64;

/// Bytes handed to io_uring in one send, below the kernel's own bound of about 2^31, at which it
/// would be silent about the rest. What is behind them follows in the next one.
pub const SEND_MAX: usize = 1 << 30;

/// Prefixes that `stats detail` counts. Keys of further ones are not counted.
pub const PREFIXES_MAX: usize = 65_536;

/// Bytes of the answer of `stats cachedump`: items beyond it are left out.
pub const CACHEDUMP_MAX: usize = 2 << 20;

/// Index slots, or items, that one step of a walk over the items looks at.
pub const WALK_STEP: usize = 96;

/// Connections that one step of `stats conns` looks at.
pub const CONNECTIONS_STEP: usize = 64;

/// Largest item size limit (`-I`) that can be set: 1 GiB, as memcached.
pub const ITEM_SIZE_CEILING: u64 = 1 << 30;

const _: () = assert!(KEY_MAX < LINE_MAX && LINE_MAX < REQUEST_BUFFERED_MAX);
const _: () = assert!(REQUEST_BUFFERED_MAX < RECEIVE_CHUNK);
const _: () = assert!(LINE_MAX < RECEIVE_HEAD && RECEIVE_HEAD < RECEIVE_CHUNK);
const _: () = assert!(LINE_MAX + LOGIN_MAX < RECEIVE_CHUNK);
const _: () = assert!(LINE_MAX + LOGIN_MAX + 2 * TLS_RECORD_MAX < RECEIVE_CHUNK);
const _: () = assert!(TLS_HANDSHAKE_MAX < TLS_RECORD_MAX);
const _: () = assert!(VALUE_COPIED_MAX < OUTPUT_HIGH_WATER);
const _: () = assert!(OUTPUT_LOW_WATER < OUTPUT_HIGH_WATER);
const _: () = assert!(2 * OUTPUT_HIGH_WATER < BUFFERED_MAX);
const _: () = assert!(2 * OUTPUT_HIGH_WATER <= OUTPUTS_KEPT_MAX);

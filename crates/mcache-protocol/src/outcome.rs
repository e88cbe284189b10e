//! What came of a request, in no protocol's words. `I` is the engine's handle on an item.

use mcache_base::operation::{Counted, Deleted, Hit, Miss, Refusal, Stored};

/// What happened.
#[derive(Debug)]
pub enum Outcome<I> {
    /// The item was found (or made, by `vivify`).
    Hit(Hit<I>),
    /// It was not.
    Miss(Miss),
    /// What came of a store.
    Stored(Stored),
    /// What came of a delete.
    Deleted(Deleted),
    /// What came of arithmetic.
    Counted(Counted<I>),
    /// Done, nothing more to say.
    Done,
    /// The statistics were set to 0.
    Reset,
    /// The level that is spoken: `1.6.45`.
    Version(&'static str),
    /// A report, line by line.
    Stats(Vec<StatLine>),
    /// Lines of a text answer, complete with line ends: for commands that only text has.
    Lines(Vec<u8>),
    /// How a peer can log in.
    Mechanisms(&'static str),
    /// Its next message is awaited.
    Challenge,
    /// The peer has logged in.
    LoggedIn,
    /// The request could not be served.
    Error(WireError),
}

impl From<Refusal> for WireError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::TooLarge => Self::TooLarge,
            Refusal::NoMemory => Self::NoMemory,
        }
    }
}

/// One line of a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatLine {
    /// The statistic's name.
    pub name: String,
    /// Its value, as it is to be printed.
    pub value: String,
}

macro_rules! wire_errors {
    ($( $(#[doc = $about:literal])+ $name:ident = $text:literal, $status:literal; )+) => {
        /// Answers that say "no", with memcached's own words.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum WireError { $( $(#[doc = $about])+ $name, )+ }

        impl WireError {
            /// Every error.
            pub const ALL: &'static [WireError] = &[ $( WireError::$name, )+ ];

            /// The text line, without its end.
            pub const fn text(self) -> &'static str {
                match self { $( WireError::$name => $text, )+ }
            }

            /// The binary protocol's status.
            pub const fn status(self) -> u16 {
                match self { $( WireError::$name => $status, )+ }
            }
        }
    };
}

wire_errors! {
    /// No such command.
    UnknownCommand = "ERROR", 0x81;
    /// `stats` knows no such report.
    UnknownReport = "ERROR", 0x01;
    /// A command that is not understood: too short, a key too long, a number that is none.
    BadFormat = "CLIENT_ERROR bad command line format", 0x04;
    /// The data block is longer or shorter than announced.
    BadDataChunk = "CLIENT_ERROR bad data chunk", 0x04;
    /// More behind the key of a delete than a time.
    DeleteUsage = "CLIENT_ERROR bad command line format.  Usage: delete <key> [noreply]", 0x04;
    /// More tokens than a meta command may have.
    TooManyFlags = "CLIENT_ERROR options flags are too long", 0x04;
    /// The same flag twice.
    DuplicateFlag = "CLIENT_ERROR duplicate flag", 0x04;
    /// No such flag.
    InvalidFlag = "CLIENT_ERROR invalid flag", 0x04;
    /// Any mistake in the flags of ma.
    InvalidOrDuplicateFlag = "CLIENT_ERROR invalid or duplicate flag", 0x04;
    /// The token of a flag is no number.
    BadToken = "CLIENT_ERROR bad token in command line format", 0x04;
    /// The token of flag J is no number.
    BadInitialFlag = "CLIENT_ERROR invalid numeric initial value", 0x04;
    /// The token of flag D is no number.
    BadDeltaFlag = "CLIENT_ERROR invalid numeric delta value", 0x04;
    /// ms knows no such mode.
    BadStoreMode = "CLIENT_ERROR invalid mode for ms M token", 0x04;
    /// ma knows no such mode.
    BadCountMode = "CLIENT_ERROR invalid mode for ma M token", 0x04;
    /// A key that is said to be base64 is not.
    BadKeyEncoding = "CLIENT_ERROR error decoding key", 0x04;
    /// The opaque token is over its limit.
    OpaqueTooLong = "CLIENT_ERROR opaque token too long", 0x04;
    /// An exptime that is no number.
    BadExptime = "CLIENT_ERROR invalid exptime argument", 0x04;
    /// A delta that is no number.
    BadDelta = "CLIENT_ERROR invalid numeric delta argument", 0x04;
    /// Arithmetic on something else than a number.
    NotNumeric = "CLIENT_ERROR cannot increment or decrement non-numeric value", 0x06;
    /// The item is over the size limit.
    TooLarge = "SERVER_ERROR object too large for cache", 0x03;
    /// No memory for the item.
    NoMemory = "SERVER_ERROR out of memory storing object", 0x82;
    /// No memory for the result of arithmetic.
    OutOfMemory = "SERVER_ERROR out of memory", 0x82;
    /// flush_all is switched off.
    FlushNotAllowed = "CLIENT_ERROR flush_all not allowed", 0x20;
    /// flush_prefix wants a prefix that ends with the delimiter.
    BadPrefix = "CLIENT_ERROR a prefix ends with the delimiter", 0x04;
    /// flush_prefix wants one that is looked for in keys.
    DeepPrefix = "CLIENT_ERROR a prefix has at most eight delimiters", 0x04;
    /// No more flushed prefixes can be remembered.
    TooManyPrefixes = "SERVER_ERROR too many flushed prefixes", 0x82;
    /// The crawler is switched off.
    CrawlerOff = "CLIENT_ERROR lru crawler disabled", 0x04;
    /// A crawler may not sleep that long.
    CrawlerSleep = "CLIENT_ERROR sleep must be one second or less", 0x04;
    /// Moving pages is switched off.
    ReassignOff = "CLIENT_ERROR slab reassignment disabled", 0x04;
    /// No such window for moving pages.
    AutomoveWindow = "CLIENT_ERROR automove window too low or too high", 0x04;
    /// Dumps are switched off, and stats detail with them.
    DetailNotAllowed = "CLIENT_ERROR stats detail not allowed", 0x04;
    /// stats detail knows no such word.
    DetailUsage = "CLIENT_ERROR usage: stats detail on|off|dump", 0x04;
    /// Dumps are switched off, and stats cachedump with them.
    CachedumpNotAllowed = "CLIENT_ERROR stats cachedump not allowed", 0x04;
    /// A report that wants more words.
    BadCommandLine = "CLIENT_ERROR bad command line", 0x04;
    /// No such size class.
    BadSlabId = "CLIENT_ERROR Illegal slab id", 0x04;
    /// The peer has to log in first.
    Unauthenticated = "CLIENT_ERROR unauthenticated", 0x20;
    /// There is no such user, or the password is another.
    LoginFailed = "CLIENT_ERROR authentication failure", 0x20;
    /// The peer's user may not ask this. Its status is that of a flush_all that is not allowed.
    Unauthorized = "CLIENT_ERROR unauthorized", 0x20;
    /// Too many bytes to log in with.
    LoginTooLong = "CLIENT_ERROR auth token too long", 0x03;
    /// More or less bytes to log in with than announced.
    LoginBadEnd = "CLIENT_ERROR bad command line termination", 0x04;
    /// No name and password.
    LoginBadFormat = "CLIENT_ERROR bad authentication token format", 0x04;
    /// The connection limit is reached.
    TooManyConnections = "ERROR Too many open connections", 0x85;
    /// watch is switched off.
    WatchNotAllowed = "CLIENT_ERROR watch commands not allowed", 0x20;
    /// watch behind other commands.
    WatchPipelined = "ERROR cannot pipeline other commands before watch", 0x04;
    /// Too many connections watch.
    TooManyWatchers = "WATCHER_TOO_MANY log watcher limit reached", 0x85;
    /// shutdown is switched off.
    ShutdownNotEnabled = "SERVER_ERROR: shutdown not enabled", 0x81;
    /// shutdown knows no such mode.
    BadShutdownMode = "CLIENT_ERROR invalid shutdown mode", 0x04;
}

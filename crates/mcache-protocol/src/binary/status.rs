//! The statuses of answers, and memcached's words for them.

pub(super) const NOT_FOUND: u16 = 0x01;
pub(super) const EXISTS: u16 = 0x02;
pub(super) const TOO_LARGE: u16 = 0x03;
pub(super) const INVALID: u16 = 0x04;
pub(super) const NOT_STORED: u16 = 0x05;
pub(super) const NOT_NUMERIC: u16 = 0x06;
pub(super) const AUTH_FAILURE: u16 = 0x20;
pub(super) const AUTH_CONTINUE: u16 = 0x21;
pub(super) const UNKNOWN_COMMAND: u16 = 0x81;
pub(super) const OUT_OF_MEMORY: u16 = 0x82;

/// The body of an answer with this status; empty where memcached has no words.
pub(super) const fn text(status: u16) -> &'static str {
    match status {
        NOT_FOUND => "Not found",
        EXISTS => "Data exists for key.",
        TOO_LARGE => "Too large.",
        INVALID => "Invalid arguments",
        NOT_STORED => "Not stored.",
        NOT_NUMERIC => "Non-numeric server-side value for incr or decr",
        AUTH_FAILURE => "Auth failure.",
        UNKNOWN_COMMAND => "Unknown command",
        OUT_OF_MEMORY => "Out of memory",
        _ => "",
    }
}

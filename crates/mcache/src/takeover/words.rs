//! What a server and its successor say to each other.
//!
//! The successor greets with [`GREETING`]; the server offers what it has, one thing a message, up
//! to [`ALL`], or says [`NO`] and why. [`GO`] of the successor makes the server stop; [`AT_REST`]
//! of the server says that it has, and [`SERVING`] of the successor that the server may end.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use mcache_net::ListenAddress;

/// The first word of a successor, with the version of all this.
pub const GREETING: &[u8] = b"mcache takeover 1";

/// What every version's greeting begins with.
pub const ANY_GREETING: &[u8] = b"mcache takeover ";

/// That was all.
pub const ALL: &[u8] = b"all";

/// Refused; the reason follows.
pub const NO: &[u8] = b"no ";

/// The successor has all that it needs to serve, but the memory.
pub const GO: &[u8] = b"go";

/// Nobody uses the memory any more.
pub const AT_REST: &[u8] = b"at rest";

/// The successor serves.
pub const SERVING: &[u8] = b"serving";

/// What a server hands over; each comes with a descriptor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Offer {
    /// A socket that the server is found at.
    Socket(ListenAddress),
    /// Where it waits for successors.
    Control,
    /// The memory that its items live in, and where its file is, if it has a name.
    Memory(Option<PathBuf>),
}

impl Offer {
    /// The words of an offer.
    pub fn text(&self) -> Vec<u8> {
        let path =
            |word: String, path: &PathBuf| [word.as_bytes(), path.as_os_str().as_bytes()].concat();
        match self {
            Self::Socket(ListenAddress::Tcp(address)) => format!("tcp {address}").into(),
            Self::Socket(ListenAddress::Udp(address)) => format!("udp {address}").into(),
            Self::Socket(ListenAddress::Unix { path: at, mode }) => {
                path(format!("unix {mode:o} "), at)
            }
            Self::Control => b"control".into(),
            Self::Memory(None) => b"memory".into(),
            Self::Memory(Some(at)) => path("file ".to_owned(), at),
        }
    }

    /// The offer that these words are.
    pub fn read(text: &[u8]) -> Option<Self> {
        let (word, rest) = match text.iter().position(|&byte| byte == b' ') {
            Some(at) => (text.get(..at)?, text.get(at + 1..)?),
            None => (text, &[][..]),
        };
        let address = || std::str::from_utf8(rest).ok()?.parse().ok();
        let path = |bytes| PathBuf::from(OsStr::from_bytes(bytes));
        Some(match word {
            b"tcp" => Self::Socket(ListenAddress::Tcp(address()?)),
            b"udp" => Self::Socket(ListenAddress::Udp(address()?)),
            b"unix" => {
                let at = rest.iter().position(|&byte| byte == b' ')?;
                let mode = std::str::from_utf8(rest.get(..at)?).ok()?;
                let mode = u32::from_str_radix(mode, 8).ok()?;
                Self::Socket(ListenAddress::Unix { path: path(rest.get(at + 1..)?), mode })
            }
            b"control" => Self::Control,
            b"memory" => Self::Memory(None),
            b"file" => Self::Memory(Some(path(rest))),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offer_is_read_as_it_was_written() {
        let unix = |path: &str| ListenAddress::Unix { path: path.into(), mode: 0o750 };
        for offer in [
            Offer::Socket(ListenAddress::Tcp("127.0.0.1:0".parse().unwrap())),
            Offer::Socket(ListenAddress::Tcp("[::]:11211".parse().unwrap())),
            Offer::Socket(ListenAddress::Udp("10.0.0.1:1".parse().unwrap())),
            Offer::Socket(unix("/run/a b/socket")),
            Offer::Control,
            Offer::Memory(None),
            Offer::Memory(Some("/dev/shm/my cache".into())),
        ] {
            assert_eq!(Offer::read(&offer.text()), Some(offer));
        }
        for text in ["", "tcp", "tcp x", "unix 9 /a", "unix /a", "udp 1.1.1.1", "other"] {
            assert_eq!(Offer::read(text.as_bytes()), None, "{text}");
        }
    }
}

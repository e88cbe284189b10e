//! Where to listen, as the user says it: `-p`, and the grammar of `-l`.

use std::fmt;

/// The port of listeners that name none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// 0: none.
    Off,
    /// -1: one that the system chooses.
    Chosen,
    /// 1 to 65535.
    Number(u16),
}

impl Port {
    /// Reads -1 to 65535.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "-1" => Some(Self::Chosen),
            _ => match parse_port(text)? {
                0 => Some(Self::Off),
                number => Some(Self::Number(number)),
            },
        }
    }

    /// The number to bind: 0 lets the system choose.
    pub fn to_bind(self) -> Option<u16> {
        match self {
            Self::Off => None,
            Self::Chosen => Some(0),
            Self::Number(number) => Some(number),
        }
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("0"),
            Self::Chosen => f.write_str("-1"),
            Self::Number(number) => number.fmt(f),
        }
    }
}

/// An interface to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenOn {
    /// An address or a host name; `None` (written `*`) is every interface.
    pub host: Option<String>,
    /// The port, if the listener has one of its own; 0 lets the system choose.
    pub port: Option<u16>,
}

impl ListenOn {
    /// Reads `host`, `host:port`, `v6`, `[v6]`, `[v6]:port` or `*`, or says what it should be.
    pub fn parse(text: &str) -> Result<Self, String> {
        let unsupported = ["proto[", "tag[", "tag_", "notls:", "btls:", "mtls:"];
        if let Some(prefix) = unsupported.iter().find(|prefix| text.starts_with(**prefix)) {
            return Err(format!("is not supported yet: listeners with a prefix such as {prefix}"));
        }
        let (host, port) = split(text).ok_or("should be an address, host:port or [v6]:port")?;
        let valid = |c: char| c.is_ascii_alphanumeric() || "-._:%".contains(c);
        if host.is_empty() || (host != "*" && !host.chars().all(valid)) {
            return Err("should be an address, host:port or [v6]:port".to_owned());
        }
        let port = match port {
            Some(port) => Some(parse_port(port).ok_or("the port should be from 0 to 65535")?),
            None => None,
        };
        let host = (host != "*").then(|| host.to_owned());
        Ok(Self { host, port })
    }
}

impl fmt::Display for ListenOn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.host.as_deref(), self.port) {
            (Some(host), Some(port)) if host.contains(':') => write!(f, "[{host}]:{port}"),
            (host, Some(port)) => write!(f, "{}:{port}", host.unwrap_or("*")),
            (host, None) => f.write_str(host.unwrap_or("*")),
        }
    }
}

/// Splits a host from its port. An address of version 6 needs brackets to have a port.
fn split(text: &str) -> Option<(&str, Option<&str>)> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']')?;
        return match rest {
            "" => Some((host, None)),
            _ => Some((host, Some(rest.strip_prefix(':')?))),
        };
    }
    match text.split_once(':') {
        Some((host, port)) if !port.contains(':') => Some((host, Some(port))),
        _ => Some((text, None)),
    }
}

/// Digits only: `u16::from_str` would take a `+`.
fn parse_port(text: &str) -> Option<u16> {
    let number = mcache_base::number::parse_u64(text.as_bytes())?;
    u16::try_from(number).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_are_read_and_shown() {
        let rows = [
            ("127.0.0.1", Some("127.0.0.1"), None, "127.0.0.1"),
            ("127.0.0.1:11300", Some("127.0.0.1"), Some(11300), "127.0.0.1:11300"),
            ("localhost:0", Some("localhost"), Some(0), "localhost:0"),
            ("::1", Some("::1"), None, "::1"),
            ("[::1]", Some("::1"), None, "::1"),
            ("[::1]:11300", Some("::1"), Some(11300), "[::1]:11300"),
            ("fe80::1%eth0", Some("fe80::1%eth0"), None, "fe80::1%eth0"),
            ("*", None, None, "*"),
            ("*:11300", None, Some(11300), "*:11300"),
        ];
        for (text, host, port, shown) in rows {
            let expected = ListenOn { host: host.map(str::to_owned), port };
            assert_eq!(ListenOn::parse(text), Ok(expected.clone()), "{text}");
            assert_eq!(expected.to_string(), shown);
        }
    }

    #[test]
    fn bad_listeners_are_refused() {
        let bad = [
            "",
            ":11211",
            "host:",
            "host:x",
            "host:65536",
            "host:-1",
            "[::1",
            "[]:1",
            "[::1]x",
            "a b",
            "a/b:1",
            "proto[ascii]:127.0.0.1",
            "notls:127.0.0.1:1",
        ];
        for text in bad {
            assert!(ListenOn::parse(text).is_err(), "{text:?}");
        }
    }
}

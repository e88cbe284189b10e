//! Where to listen, as the user says it: `-p`, and the grammar of `-l`.

use std::fmt;

use mcache_protocol::Protocols;

/// Characters that a listener's tag may have, at most.
const TAG_MAX: usize = 8;

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

/// A listener's own word on TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnTls {
    /// None.
    Off,
    /// Its clients are asked for no certificate.
    Basic,
    /// Its clients have to show a good one.
    Mutual,
}

impl OwnTls {
    const ALL: [Self; 3] = [Self::Off, Self::Basic, Self::Mutual];

    /// memcached's word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Off => "notls",
            Self::Basic => "btls",
            Self::Mutual => "mtls",
        }
    }
}

/// An interface to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenOn {
    /// Its own word on TLS, if it has one.
    pub tls: Option<OwnTls>,
    /// The protocols spoken there, if they are not those of all listeners.
    pub protocols: Option<Protocols>,
    /// A word for the listener.
    pub tag: Option<String>,
    /// An address or a host name; `None` (written `*`) is every interface.
    pub host: Option<String>,
    /// The port, if the listener has one of its own; 0 lets the system choose.
    pub port: Option<u16>,
}

impl ListenOn {
    /// Reads `host`, `host:port`, `v6`, `[v6]`, `[v6]:port` or `*`, or says what it should be.
    /// In front of it may stand `notls:`, `btls:` or `mtls:`, then `proto[NAME]:`, then
    /// `tag[WORD]:` or `tag_WORD_:`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (tls, text) = own_tls(text);
        let (protocols, text) = protocols(text)?;
        let (tag, text) = tag(text)?;
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
        Ok(Self { tls, protocols, tag, host, port })
    }
}

impl fmt::Display for ListenOn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(tls) = self.tls {
            write!(f, "{}:", tls.name())?;
        }
        if let Some(protocols) = self.protocols {
            write!(f, "proto[{}]:", name_of(protocols))?;
        }
        if let Some(tag) = &self.tag {
            write!(f, "tag[{tag}]:")?;
        }
        match (self.host.as_deref(), self.port) {
            (Some(host), Some(port)) if host.contains(':') => write!(f, "[{host}]:{port}"),
            (host, Some(port)) => write!(f, "{}:{port}", host.unwrap_or("*")),
            (host, None) => f.write_str(host.unwrap_or("*")),
        }
    }
}

/// memcached's name of a listener's protocols.
fn name_of(protocols: Protocols) -> &'static str {
    match protocols {
        Protocols::Negotiated => "negotiating",
        Protocols::Ascii => "ascii",
        Protocols::Binary => "binary",
    }
}

/// Takes a word on TLS off the front, if it is there.
fn own_tls(text: &str) -> (Option<OwnTls>, &str) {
    let named = text.split_once(':').and_then(|(word, rest)| {
        let tls = OwnTls::ALL.into_iter().find(|tls| tls.name() == word)?;
        Some((Some(tls), rest))
    });
    named.unwrap_or((None, text))
}

/// Takes `proto[NAME]:` off the front, if it is there.
fn protocols(text: &str) -> Result<(Option<Protocols>, &str), String> {
    let Some(rest) = text.strip_prefix("proto[") else { return Ok((None, text)) };
    let all = [Protocols::Ascii, Protocols::Binary, Protocols::Negotiated];
    let named = rest.split_once("]:").and_then(|(name, rest)| {
        let protocols = all.into_iter().find(|&protocols| name_of(protocols) == name)?;
        Some((Some(protocols), rest))
    });
    named.ok_or_else(|| "should have proto[ascii]:, proto[binary]: or proto[negotiating]:".into())
}

/// Takes `tag[WORD]:` or `tag_WORD_:` off the front, if it is there.
fn tag(text: &str) -> Result<(Option<String>, &str), String> {
    let split = match text.strip_prefix("tag_") {
        Some(rest) => rest.split_once("_:"),
        None => match text.strip_prefix("tag[") {
            Some(rest) => rest.split_once("]:"),
            None => return Ok((None, text)),
        },
    };
    let tagged = split.filter(|(tag, _)| (1..=TAG_MAX).contains(&tag.len()));
    let (tag, rest) = tagged.ok_or_else(|| {
        format!("should have tag[WORD]: or tag_WORD_:, the word of 1 to {TAG_MAX} characters")
    })?;
    Ok((Some(tag.to_owned()), rest))
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
            let host = host.map(str::to_owned);
            let expected = ListenOn { tls: None, protocols: None, tag: None, host, port };
            assert_eq!(ListenOn::parse(text), Ok(expected.clone()), "{text}");
            assert_eq!(expected.to_string(), shown);
        }
    }

    #[test]
    fn prefixes_are_read_and_shown() {
        let (ascii, binary) = (Some(Protocols::Ascii), Some(Protocols::Binary));
        let rows = [
            ("proto[ascii]:127.0.0.1", ascii, None, "proto[ascii]:127.0.0.1"),
            (
                "proto[binary]:tag_tools_:[::1]:1",
                binary,
                Some("tools"),
                "proto[binary]:tag[tools]:[::1]:1",
            ),
            ("proto[negotiating]:*", Some(Protocols::Negotiated), None, "proto[negotiating]:*"),
            ("tag[12345678]:localhost:1", None, Some("12345678"), "tag[12345678]:localhost:1"),
            ("tag_a_b_:*", None, Some("a_b"), "tag[a_b]:*"),
            ("notls:127.0.0.1:1", None, None, "notls:127.0.0.1:1"),
            ("btls:[::1]:1", None, None, "btls:[::1]:1"),
            ("mtls:proto[ascii]:*", ascii, None, "mtls:proto[ascii]:*"),
        ];
        for (text, protocols, tag, shown) in rows {
            let listener = ListenOn::parse(text).expect(text);
            assert_eq!((listener.protocols, listener.tag.as_deref()), (protocols, tag), "{text}");
            assert_eq!(listener.to_string(), shown);
            assert_eq!(ListenOn::parse(shown), Ok(listener));
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
            "proto[ascii]127.0.0.1",
            "proto[asci]:127.0.0.1",
            "proto[]:127.0.0.1",
            "proto[proxy]:127.0.0.1",
            "proto[ascii]:",
            "tag[]:127.0.0.1",
            "tag[123456789]:127.0.0.1",
            "tag_x:127.0.0.1",
            "tag[x]:proto[ascii]:127.0.0.1",
            "mtls:",
            "proto[ascii]:mtls:127.0.0.1",
            "notls:btls:127.0.0.1",
        ];
        for text in bad {
            assert!(ListenOn::parse(text).is_err(), "{text:?}");
        }
    }
}

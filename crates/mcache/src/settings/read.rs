//! From text to a setting's value. Each reader fills in a field or says what the text should be.

use std::path::PathBuf;
use std::time::Duration;

use mcache_base::number::parse_u64;
use mcache_net::Io;
use mcache_protocol::Protocols;
use mcache_store::SizeLimit;
use mcache_store::eviction::POLICIES;

use super::{Engine, ListenOn, Port, THREADS_MAX, Threads};
use crate::network::Network;
use crate::options::IdlePolicy;
use crate::tls::{ClientCertificate, KeyFormat, Version, suites};

/// What came of reading; the error says what the text should have been.
pub type Reading = Result<(), String>;

/// A whole number from `MIN` to `MAX`.
pub fn number<T: TryFrom<u64>, const MIN: u64, const MAX: u64>(
    field: &mut T,
    text: &str,
) -> Reading {
    *field = parse_u64(text.as_bytes())
        .filter(|number| (MIN..=MAX).contains(number))
        .and_then(|number| T::try_from(number).ok())
        .ok_or_else(|| format!("should be a number from {MIN} to {MAX}"))?;
    Ok(())
}

/// A number from `MIN` to `MAX` of units of `UNIT` bytes.
pub fn units<const UNIT: u64, const MIN: u64, const MAX: u64>(
    field: &mut u64,
    text: &str,
) -> Reading {
    let mut count = 0;
    number::<u64, MIN, MAX>(&mut count, text)?;
    *field = count * UNIT;
    Ok(())
}

/// Megabytes, up to a million terabytes. An `m` behind them says nothing new; memcached takes
/// other letters too and heeds none of them, which makes `64g` 64 megabytes.
pub fn megabytes(field: &mut u64, text: &str) -> Reading {
    if text.ends_with(['k', 'K', 'g', 'G']) && parse_bytes(text).is_some() {
        return Err(format!("should be a number of megabytes; --cap takes {text}"));
    }
    units::<{ 1 << 20 }, 1, { 1 << 40 }>(field, text.strip_suffix(['m', 'M']).unwrap_or(text))
}

/// Bytes, or kilo-, mega- or gigabytes if a letter says so; at least 1.
pub fn byte_size(field: &mut u64, text: &str) -> Reading {
    *field = parse_bytes(text)
        .filter(|&bytes| bytes > 0)
        .ok_or("should be a number of bytes above 0, with k, m or g after it if so meant")?;
    Ok(())
}

/// A number of threads, or [`AUTO`].
pub fn threads(field: &mut Threads, text: &str) -> Reading {
    *field = Threads::Auto;
    if text != AUTO {
        let mut count = 0;
        number::<_, 1, THREADS_MAX>(&mut count, text)
            .map_err(|error| format!("{error}, or {AUTO}"))?;
        *field = Threads::Number(count);
    }
    Ok(())
}

/// What asks for what the machine has: a share of the cgroup's memory, a thread a processor.
pub const AUTO: &str = "auto";

/// Bytes as [`byte_size`] has them. [`AUTO`] changes nothing yet: see `Settings::settle`.
pub fn capacity(field: &mut u64, text: &str) -> Reading {
    if text == AUTO { Ok(()) } else { byte_size(field, text) }
}

/// `-I`: the whole item. Its range is checked when the memory is known.
pub fn item_size(field: &mut SizeLimit, text: &str) -> Reading {
    let bytes =
        parse_bytes(text).ok_or("should be a number of bytes, with k or m after it if so meant")?;
    *field = SizeLimit::Item(bytes);
    Ok(())
}

/// `--max-val-size`: the value alone; 0 is no limit.
pub fn value_size(field: &mut SizeLimit, text: &str) -> Reading {
    let bytes = parse_bytes(text)
        .ok_or("should be a number of bytes, with k, m or g after it if so meant")?;
    *field = SizeLimit::Value(if bytes == 0 { u64::MAX } else { bytes });
    Ok(())
}

/// A fraction above 0.
pub fn above_zero(field: &mut f64, text: &str) -> Reading {
    fraction(field, text, |value| value > 0.0, "should be a number above 0")
}

/// A fraction above 1.
pub fn above_one(field: &mut f64, text: &str) -> Reading {
    fraction(field, text, |value| value > 1.0, "should be a number above 1")
}

/// A fraction above 0, up to 1.
pub fn up_to_one(field: &mut f64, text: &str) -> Reading {
    let range = |value| value > 0.0 && value <= 1.0;
    fraction(field, text, range, "should be a number above 0, up to 1")
}

/// A switch that turns its setting on.
pub fn on(field: &mut bool, _text: &str) -> Reading {
    *field = true;
    Ok(())
}

/// A switch that turns its setting off.
pub fn off(field: &mut bool, _text: &str) -> Reading {
    *field = false;
    Ok(())
}

/// One more for each time it is said, or the number itself.
pub fn level(field: &mut u32, text: &str) -> Reading {
    if text.is_empty() {
        *field = field.saturating_add(1);
        return Ok(());
    }
    number::<u32, 0, 9>(field, text)
}

/// The first byte, as memcached takes it.
pub fn character(field: &mut u8, text: &str) -> Reading {
    *field = *text.as_bytes().first().ok_or("should not be empty")?;
    Ok(())
}

/// Any text but none.
pub fn word(field: &mut Option<String>, text: &str) -> Reading {
    if text.is_empty() {
        return Err("should not be empty".to_owned());
    }
    *field = Some(text.to_owned());
    Ok(())
}

/// A file's path.
pub fn path(field: &mut Option<PathBuf>, text: &str) -> Reading {
    if text.is_empty() {
        return Err("should be a path".to_owned());
    }
    *field = Some(PathBuf::from(text));
    Ok(())
}

/// Permission bits in octal.
pub fn permissions(field: &mut u32, text: &str) -> Reading {
    *field = u32::from_str_radix(text, 8)
        .ok()
        .filter(|&mode| mode <= 0o777 && !text.starts_with('+'))
        .ok_or("should be permissions in octal, from 0 to 777")?;
    Ok(())
}

/// A port.
pub fn port(field: &mut Port, text: &str) -> Reading {
    *field =
        Port::parse(text).ok_or("should be a port from 1 to 65535, 0 for none or -1 for any")?;
    Ok(())
}

/// Networks, instead of those already there; an empty text is none.
pub fn networks(field: &mut Vec<Network>, text: &str) -> Reading {
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    *field = parts
        .map(|part| Network::parse(part).ok_or("should be addresses, or networks as 10.0.0.0/8"))
        .collect::<Result<_, _>>()?;
    Ok(())
}

/// One or more listeners, in addition to those already there.
pub fn listeners(field: &mut Vec<ListenOn>, text: &str) -> Reading {
    for part in text.split([',', ';']) {
        let listener = ListenOn::parse(part.trim())?;
        if !field.contains(&listener) {
            field.push(listener);
        }
    }
    Ok(())
}

/// Seconds after which an idle connection is closed; 0 is never.
pub fn idle_seconds(field: &mut IdlePolicy, text: &str) -> Reading {
    let mut seconds = 0;
    number::<u64, 0, { u32::MAX as u64 }>(&mut seconds, text)?;
    *field = match seconds {
        0 => IdlePolicy::Keep,
        seconds => IdlePolicy::Close(Duration::from_secs(seconds)),
    };
    Ok(())
}

/// The protocols spoken.
pub fn protocols(field: &mut Protocols, text: &str) -> Reading {
    *field = match text {
        "auto" => Protocols::Negotiated,
        "ascii" => Protocols::Ascii,
        "binary" => Protocols::Binary,
        _ => return Err("should be one of auto, binary, or ascii".to_owned()),
    };
    Ok(())
}

/// What is asked of TLS clients.
pub fn verify_mode(field: &mut ClientCertificate, text: &str) -> Reading {
    *field = match text {
        "0" | "none" => ClientCertificate::NotAsked,
        "1" | "request" => ClientCertificate::Asked,
        "2" | "3" | "require" => ClientCertificate::Required,
        _ => return Err("should be 0 (none), 1 (request), 2 or 3 (require)".to_owned()),
    };
    Ok(())
}

/// How a key stands in its file.
pub fn key_format(field: &mut KeyFormat, text: &str) -> Reading {
    *field = match text {
        "1" | "PEM" => KeyFormat::Pem,
        "2" | "DER" => KeyFormat::Der,
        _ => return Err("should be 1 (PEM) or 2 (DER); there are no engines".to_owned()),
    };
    Ok(())
}

/// The oldest version of TLS.
pub fn tls_version(field: &mut Version, text: &str) -> Reading {
    *field = match text {
        "2" => Version::Tls12,
        "3" => Version::Tls13,
        _ => {
            return Err(
                "should be 2 (TLS 1.2) or 3 (TLS 1.3): older ones are not spoken".to_owned()
            );
        }
    };
    Ok(())
}

/// Cipher suites, looked at again where they are used.
pub fn ciphers(field: &mut Option<String>, text: &str) -> Reading {
    suites::parse(text)?;
    word(field, text)
}

/// A policy of the store's table.
pub fn policy(field: &mut &'static str, text: &str) -> Reading {
    let names: Vec<_> = POLICIES.iter().map(|policy| policy.name).collect();
    one_of(field, text, &names)
}

/// A kernel interface.
pub fn io(field: &mut Io, text: &str) -> Reading {
    let mut name = "";
    one_of(&mut name, text, &Io::ALL.map(Io::name))?;
    *field = Io::ALL.into_iter().find(|io| io.name() == name).unwrap_or(*field);
    Ok(())
}

/// An engine.
pub fn engine(field: &mut Engine, text: &str) -> Reading {
    let names = Engine::ALL.map(Engine::name);
    let mut name = "";
    one_of(&mut name, text, &names)?;
    *field = Engine::ALL.into_iter().find(|engine| engine.name() == name).unwrap_or(*field);
    Ok(())
}

/// One of several names.
pub fn one_of(field: &mut &'static str, text: &str, names: &[&'static str]) -> Reading {
    *field = names
        .iter()
        .find(|name| **name == text)
        .ok_or_else(|| format!("should be one of {}", names.join(", ")))?;
    Ok(())
}

fn fraction(field: &mut f64, text: &str, fits: fn(f64) -> bool, should: &str) -> Reading {
    *field =
        text.parse().ok().filter(|value: &f64| value.is_finite() && fits(*value)).ok_or(should)?;
    Ok(())
}

fn parse_bytes(text: &str) -> Option<u64> {
    let (digits, unit) = match text.as_bytes().split_last()? {
        (b'k' | b'K', digits) => (digits, 1 << 10),
        (b'm' | b'M', digits) => (digits, 1 << 20),
        (b'g' | b'G', digits) => (digits, 1 << 30),
        _ => (text.as_bytes(), 1),
    };
    parse_u64(digits)?.checked_mul(unit)
}

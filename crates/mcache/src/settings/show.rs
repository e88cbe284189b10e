//! From a setting's value to text, as `stats settings` has it.

use std::path::PathBuf;

use mcache_net::Io;
use mcache_protocol::Protocols;
use mcache_store::SizeLimit;

use super::{Engine, ListenOn};
use crate::network::Network;
use crate::options::IdlePolicy;
use crate::tls::{ClientCertificate, KeyFormat, Version};

/// What memcached prints for a text that is not set.
pub const UNSET: &str = "NULL";

/// As the value prints itself.
pub fn plain<T: ToString>(value: &T) -> String {
    value.to_string()
}

/// `yes` or `no`.
pub fn yes_no(value: &bool) -> String {
    if *value { "yes" } else { "no" }.to_owned()
}

/// `on` or `off`.
pub fn on_off(value: &bool) -> String {
    if *value { "on" } else { "off" }.to_owned()
}

/// Two decimals.
pub fn two_decimals(value: &f64) -> String {
    format!("{value:.2}")
}

/// Three decimals.
pub fn three_decimals(value: &f64) -> String {
    format!("{value:.3}")
}

/// A character.
pub fn character(value: &u8) -> String {
    char::from(*value).to_string()
}

/// Octal digits.
pub fn octal(value: &u32) -> String {
    format!("{value:o}")
}

/// A text, or memcached's word for none.
pub fn word(value: &Option<String>) -> String {
    value.clone().unwrap_or_else(|| UNSET.to_owned())
}

/// A path, or memcached's word for none.
pub fn path(value: &Option<PathBuf>) -> String {
    value.as_ref().map_or_else(|| UNSET.to_owned(), |path| path.display().to_string())
}

/// A path, or what memcached prints for some that are not set.
pub fn path_or_null(value: &Option<PathBuf>) -> String {
    value.as_ref().map_or_else(|| "(null)".to_owned(), |path| path.display().to_string())
}

/// OpenSSL's number of a way to verify clients.
pub fn verify_mode(value: &ClientCertificate) -> String {
    match value {
        ClientCertificate::NotAsked => "0",
        ClientCertificate::Asked => "1",
        ClientCertificate::Required => "3",
    }
    .to_owned()
}

/// OpenSSL's number of a format.
pub fn key_format(value: &KeyFormat) -> String {
    match value {
        KeyFormat::Pem => "1",
        KeyFormat::Der => "2",
    }
    .to_owned()
}

/// memcached's name of a version of TLS.
pub fn tls_version(value: &Version) -> String {
    match value {
        Version::Tls12 => "tlsv1.2",
        Version::Tls13 => "tlsv1.3",
    }
    .to_owned()
}

/// A path, or `no`.
pub fn path_or_no(value: &Option<PathBuf>) -> String {
    value.as_ref().map_or_else(|| "no".to_owned(), |path| path.display().to_string())
}

/// A comma list, or memcached's word for none.
#[expect(clippy::ptr_arg, reason = "shows a field")]
pub fn listeners(value: &Vec<ListenOn>) -> String {
    if value.is_empty() {
        return UNSET.to_owned();
    }
    value.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// A comma list.
#[expect(clippy::ptr_arg, reason = "shows a field")]
pub fn networks(value: &Vec<Network>) -> String {
    value.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// Bytes; 0 for no limit.
pub fn size(value: &SizeLimit) -> String {
    match *value {
        SizeLimit::Value(u64::MAX) => "0".to_owned(),
        SizeLimit::Item(bytes) | SizeLimit::Value(bytes) => bytes.to_string(),
    }
}

/// Seconds after which an idle connection is always closed; 0 for never.
pub fn idle(value: &IdlePolicy) -> String {
    match value {
        IdlePolicy::Close(after) => after.as_secs().to_string(),
        IdlePolicy::Keep | IdlePolicy::MakeRoom(_) => "0".to_owned(),
    }
}

/// A kernel interface's name.
pub fn io(value: &Io) -> String {
    value.name().to_owned()
}

/// An engine's name.
pub fn engine(value: &Engine) -> String {
    value.name().to_owned()
}

/// memcached's names of the protocols.
pub fn protocols(value: &Protocols) -> String {
    match value {
        Protocols::Negotiated => "auto-negotiate",
        Protocols::Ascii => "ascii",
        Protocols::Binary => "binary",
    }
    .to_owned()
}

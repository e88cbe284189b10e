//! TLS, by rustls: between the bytes of a socket and those of a session.
//!
//! [`Certificates`] belong to the server and can be read again; a [`Layer`] belongs to one
//! connection. While nothing is under way it holds no buffer.

mod certificates;
mod layer;
mod names;
pub mod suites;

use std::path::PathBuf;
use std::time::Duration;

use rustls::SupportedCipherSuite;

pub use certificates::Certificates;
pub use layer::{Layer, Opened};
pub use names::{CertificateName, Names};

/// What a server is told of TLS.
#[derive(Clone, Debug)]
pub struct TlsOptions {
    /// The file of the server's certificate and those between it and one that clients trust.
    pub chain: PathBuf,
    /// The file of its key.
    pub key: PathBuf,
    /// How the key stands in it.
    pub key_format: KeyFormat,
    /// The file of those who may sign clients' certificates.
    pub authorities: Option<PathBuf>,
    /// The cipher suites that may be spoken.
    pub suites: Vec<SupportedCipherSuite>,
    /// The oldest version that is spoken.
    pub oldest: Version,
    /// How long a handshake may take.
    pub handshake: Duration,
}

/// How a key stands in its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyFormat {
    /// As text, perhaps behind certificates.
    Pem,
    /// As it is.
    Der,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// 1.2
    Tls12,
    /// 1.3
    Tls13,
}

/// Whether a client has to say by a certificate who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientCertificate {
    /// It is not asked.
    NotAsked,
    /// It is asked. If it has one, that has to be good.
    Asked,
    /// It has to.
    Required,
}

impl ClientCertificate {
    /// All.
    pub const ALL: [Self; 3] = [Self::NotAsked, Self::Asked, Self::Required];
}

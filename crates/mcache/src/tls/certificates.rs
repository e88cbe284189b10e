//! The server's certificate and key, and those who sign its clients': read from files at the start
//! and whenever they are to be read again. Connections that are open keep what they began with.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mcache_base::Pin;
use mcache_base::limits::TLS_FILE_MAX;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::ring::{self, Ticketer, sign};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{
    NoClientAuth, NoServerSessionStorage, UnbufferedServerConnection, WebPkiClientVerifier,
};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, InconsistentKeys,
    RootCertStore, ServerConfig, SignatureScheme,
};
use zeroize::{Zeroize, Zeroizing};

use super::{ClientCertificate, KeyFormat, Layer, TlsOptions, Version};

/// What the server proves itself by, and whom it believes.
pub struct Certificates {
    options: TlsOptions,
    current: Mutex<Current>,
    /// Connections whose handshakes are done.
    connections: Arc<AtomicUsize>,
}

/// What the files said when they were read last.
struct Current {
    /// For each of [`ClientCertificate::ALL`].
    configs: [Arc<ServerConfig>; 3],
    read_at: Instant,
}

/// Why files are of no use, in memcached's words.
type Unusable = String;

/// Nothing of a key is ever shown.
impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates").field("chain", &self.options.chain).finish_non_exhaustive()
    }
}

impl Certificates {
    /// Reads the files for the first time.
    pub fn read(options: TlsOptions) -> Result<Self, Unusable> {
        let current = Current { configs: read(&options)?, read_at: Instant::now() };
        Ok(Self { options, current: Mutex::new(current), connections: Arc::default() })
    }

    /// Reads the files again, for connections that come from now on. On an error nothing changes.
    pub fn refresh(&self) -> Result<(), Unusable> {
        let configs = read(&self.options)?;
        *self.lock() = Current { configs, read_at: Instant::now() };
        Ok(())
    }

    /// How long ago the files were read.
    pub fn age(&self) -> Duration {
        self.lock().read_at.elapsed()
    }

    /// How long a handshake may take.
    pub fn patience(&self) -> Duration {
        self.options.handshake
    }

    /// How many connections there are whose handshakes are done.
    pub fn connections(&self) -> usize {
        self.connections.load(Relaxed)
    }

    /// The layer of a connection that has just been accepted.
    pub fn accept<P: Pin>(&self, asked: ClientCertificate) -> Result<Layer<P>, Error> {
        let config = self.lock().configs[asked as usize].clone();
        let connection = UnbufferedServerConnection::new(config)?;
        Ok(Layer::new(connection, Counted::new(&self.connections)))
    }

    fn lock(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection that is counted from when it says so until it ends.
pub struct Counted {
    all: Arc<AtomicUsize>,
    is_counted: bool,
}

impl Counted {
    fn new(all: &Arc<AtomicUsize>) -> Self {
        Self { all: all.clone(), is_counted: false }
    }

    /// Counts it; tells whether it was not yet.
    pub fn count(&mut self) -> bool {
        let was_counted = std::mem::replace(&mut self.is_counted, true);
        if !was_counted {
            self.all.fetch_add(1, Relaxed);
        }
        !was_counted
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if self.is_counted {
            self.all.fetch_sub(1, Relaxed);
        }
    }
}

/// Reads the files.
fn read(options: &TlsOptions) -> Result<[Arc<ServerConfig>; 3], Unusable> {
    let chain = read_certificates(&options.chain).map_err(|error| {
        format!("Error loading the certificate chain: {} : {error}", options.chain.display())
    })?;
    let key = read_key(&options.key, options.key_format)
        .map_err(|error| format!("Error loading the key: {} : {error}", options.key.display()))?;
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
        Err(error) => return Err(format!("Error validating the certificate: {error}")),
    }
    let authorities = match &options.authorities {
        None => RootCertStore::empty(),
        Some(path) => read_authorities(path).map_err(|error| {
            format!("Error loading the CA certificate: {} : {error}", path.display())
        })?,
    };
    let certified = Arc::new(SingleCertAndKey::from(certified));
    let [a, b, c] = ClientCertificate::ALL.map(|asked| {
        let config = configure(options, asked, certified.clone(), authorities.clone());
        config.map(Arc::new).map_err(|error| format!("Error setting up TLS: {error}"))
    });
    Ok([a?, b?, c?])
}

/// What the connections of a listener begin with.
fn configure(
    options: &TlsOptions,
    asked: ClientCertificate,
    certified: Arc<SingleCertAndKey>,
    authorities: RootCertStore,
) -> Result<ServerConfig, Error> {
    let suites = options.suites.clone();
    let provider = Arc::new(CryptoProvider { cipher_suites: suites, ..ring::default_provider() });
    let versions: &[_] = match options.oldest {
        Version::Tls12 => &[&TLS13, &TLS12],
        Version::Tls13 => &[&TLS13],
    };
    let verifier: Arc<dyn ClientCertVerifier> = if asked == ClientCertificate::NotAsked {
        Arc::new(NoClientAuth)
    } else if authorities.is_empty() {
        Arc::new(BelievesNobody { asked, provider: provider.clone() })
    } else {
        let builder =
            WebPkiClientVerifier::builder_with_provider(authorities.into(), provider.clone());
        let builder = match asked {
            ClientCertificate::Required => builder,
            _ => builder.allow_unauthenticated(),
        };
        builder.build().map_err(|error| Error::General(error.to_string()))?
    };
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(certified);
    // What a client goes on with is in its ticket, so it takes no memory here. Each set of files
    // and each way of asking has keys of its own for them: nobody gets in by a ticket who would
    // have to prove more now.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer = Ticketer::new()?;
    Ok(config)
}

fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let text = read_file(path)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let certificates = certificates.map_err(|error| error.to_string())?;
    if certificates.is_empty() {
        return Err("no certificate in it".to_owned());
    }
    Ok(certificates)
}

fn read_key(path: &Path, format: KeyFormat) -> Result<Arc<dyn rustls::sign::SigningKey>, String> {
    let bytes = read_file(path)?;
    let key = match format {
        KeyFormat::Pem => PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| match error {
            pem::Error::NoItemsFound => "no private key in it".to_owned(),
            error => error.to_string(),
        }),
        KeyFormat::Der => PrivateKeyDer::try_from(bytes.to_vec()).map_err(str::to_owned),
    };
    let mut key = key?;
    let signs = sign::any_supported_type(&key).map_err(|error| error.to_string());
    key.zeroize();
    signs
}

fn read_authorities(path: &Path) -> Result<RootCertStore, String> {
    let mut authorities = RootCertStore::empty();
    let (good, bad) = authorities.add_parsable_certificates(read_certificates(path)?);
    if good == 0 {
        return Err("no certificate in it can be understood".to_owned());
    }
    if bad > 0 {
        tracing::warn!(bad, path = %path.display(), "CA certificates that are not understood");
    }
    Ok(authorities)
}

/// Reads a file that may hold a secret.
fn read_file(path: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    let mut bytes = Zeroizing::new(Vec::new());
    let file = File::open(path).map_err(|error| error.to_string())?;
    file.take(TLS_FILE_MAX + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() as u64 > TLS_FILE_MAX {
        return Err(format!("larger than {TLS_FILE_MAX} bytes"));
    }
    Ok(bytes)
}

/// Asks for certificates although nobody is named who may sign them: none is good.
#[derive(Debug)]
struct BelievesNobody {
    asked: ClientCertificate,
    provider: Arc<CryptoProvider>,
}

impl ClientCertVerifier for BelievesNobody {
    fn client_auth_mandatory(&self) -> bool {
        self.asked == ClientCertificate::Required
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Err(CertificateError::UnknownIssuer.into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

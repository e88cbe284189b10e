//! What has to be said for TLS, and what is then told to the server.

use std::path::PathBuf;
use std::time::Duration;

use super::listen::{OwnTls, Port};
use super::{ListenOn, Settings};
use crate::failure::Failure;
use crate::tls::{ClientCertificate, TlsOptions, suites};

impl Settings {
    /// What TLS is told, if there is any.
    pub fn tls_options(&self) -> Option<TlsOptions> {
        let chain = self.tls_chain.clone().filter(|_| self.tls)?;
        Some(TlsOptions {
            key: self.tls_key.clone().unwrap_or_else(|| chain.clone()),
            chain,
            key_format: self.tls_key_format,
            authorities: self.tls_authorities.clone(),
            suites: self
                .tls_ciphers
                .as_deref()
                .and_then(|list| suites::parse(list).ok()) // it was looked at when it was read
                .unwrap_or_else(suites::all),
            oldest: self.tls_oldest,
            handshake: Duration::from_secs(u64::from(self.tls_handshake_seconds)),
        })
    }

    /// What is asked of the clients of a listener, with its own word on it; `None` without TLS.
    pub fn client_certificate(&self, own: Option<OwnTls>) -> Option<ClientCertificate> {
        let asked = match own {
            None => self.tls_verify,
            Some(OwnTls::Off) => return None,
            Some(OwnTls::Basic) => ClientCertificate::NotAsked,
            Some(OwnTls::Mutual) => ClientCertificate::Required,
        };
        Some(asked).filter(|_| self.tls)
    }

    /// Checks that TLS can be had where it is asked for.
    pub(super) fn check_tls(&self) -> Result<(), Failure> {
        let asks = |it: &&ListenOn| matches!(it.tls, Some(OwnTls::Basic | OwnTls::Mutual));
        if !self.tls {
            let asking = self.listen.iter().find(asks).and_then(|it| it.tls);
            return asking.map_or(Ok(()), |tls| {
                let name = tls.name();
                Err(Failure::usage(format!("'{name}' option is valid only when SSL is enabled")))
            });
        }
        let mistake = if self.port == Port::Off {
            "You cannot enable SSL without a TCP port."
        } else if self.tls_chain.is_none() {
            "-Z: no certificate: -o ssl_chain_cert=FILE names it"
        } else {
            return Ok(());
        };
        Err(Failure::usage(mistake))
    }

    /// Makes the paths whole: files are read again when the process may have left the directory
    /// that it began in.
    pub(super) fn settle_tls(&mut self) {
        for file in [&mut self.tls_chain, &mut self.tls_key, &mut self.tls_authorities] {
            *file = file.take().map(|path: PathBuf| std::path::absolute(&path).unwrap_or(path));
        }
    }
}

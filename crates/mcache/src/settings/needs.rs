//! Settings that do nothing unless another one is said: an operator who forgot that one is told.

use super::{OwnTls, Settings};
use crate::tls::ClientCertificate;

/// What some settings do nothing without.
struct Need {
    /// Their names.
    of: &'static [&'static str],
    /// What has to be said.
    word: &'static str,
    /// Whether it was said.
    is_said: fn(&Settings) -> bool,
}

const NEEDS: &[Need] = &[
    Need {
        of: &["tls_chain", "tls_key", "tls_verify", "tls_ciphers", "tls_authorities", "tls_oldest"],
        word: "-Z (enable-ssl)",
        is_said: |settings| settings.tls,
    },
    Need { of: &["sasl_users"], word: "-S (enable-sasl)", is_said: |settings| settings.auth_sasl },
    Need {
        of: &["after_reboot"],
        word: "-e (memory-file)",
        is_said: |settings| settings.memory_file.is_some(),
    },
    Need {
        of: &["unix_mask"],
        word: "-s (unix-socket)",
        is_said: |settings| settings.unix_socket.is_some(),
    },
];

impl Settings {
    /// The settings that were said and do nothing without another, each as it was said and with
    /// what it lacks.
    pub fn without_their_need(&self) -> impl Iterator<Item = (&str, &'static str)> {
        self.given.iter().filter_map(|given| {
            let need = NEEDS.iter().find(|need| need.of.contains(&given.name))?;
            (!(need.is_said)(self)).then_some((given.said.as_str(), need.word))
        })
    }

    /// Whether some listener lets nobody in: it demands a certificate, and nobody is named who
    /// may sign one.
    pub fn lets_nobody_in(&self) -> bool {
        let demanded = |own| self.client_certificate(own) == Some(ClientCertificate::Required);
        let own: Vec<Option<OwnTls>> = self.listen.iter().map(|it| it.tls).collect();
        let demanding = if own.is_empty() { demanded(None) } else { own.into_iter().any(demanded) };
        demanding && self.tls_authorities.is_none()
    }
}

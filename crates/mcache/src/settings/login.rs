//! Who has to log in, and that nobody gets in past it.

use std::path::{Path, PathBuf};

use mcache_protocol::Protocols;
use mcache_session::Authentication;

use super::{Port, Settings};
use crate::failure::Failure;
use crate::tls::ClientCertificate;

/// In the environment, as memcached has it: the file of those who may log in by SASL.
const SASL_USERS: &str = "MEMCACHED_SASL_PWDB";

impl Settings {
    /// How peers log in.
    pub fn authentication(&self) -> Authentication {
        match (&self.auth_file, self.auth_sasl) {
            (Some(_), _) => Authentication::Text,
            (None, true) => Authentication::Sasl,
            (None, false) if !self.users.is_empty() => Authentication::Either,
            (None, false) => Authentication::None,
        }
    }

    /// The file of those who may, besides the users with rights.
    pub fn users_file(&self) -> Option<&Path> {
        match self.authentication() {
            Authentication::None | Authentication::Either => None,
            Authentication::Text => self.auth_file.as_deref(),
            Authentication::Sasl => self.sasl_users.as_deref(),
        }
    }

    /// Checks that nobody gets in past the login.
    pub(super) fn check_login(&self) -> Result<(), Failure> {
        let spoken = self.protocols;
        let mistake = match self.authentication() {
            Authentication::None => return Ok(()),
            _ if self.users.iter().any(|it| it.certificate.is_some()) && !self.asks_clients() => {
                "[[user]] certificate: no client is asked for one: it takes enable-ssl, tls-ca, \
                 and tls-verify or a listener mtls:"
            }
            _ if self.udp_port != Port::Off => "Cannot enable UDP while peers have to log in.",
            Authentication::Text if self.auth_sasl => {
                "-S and -Y: peers log in by the binary or by the text protocol"
            }
            Authentication::Text if spoken != Protocols::Ascii => {
                "You cannot allow the BINARY protocol while using ascii authentication tokens."
            }
            Authentication::Sasl if spoken != Protocols::Binary => {
                "You cannot allow the ASCII protocol while using SASL."
            }
            Authentication::Either => return Ok(()),
            _ if self.listen.iter().any(|it| it.protocols.is_some_and(|own| own != spoken)) => {
                "-l proto[...]: nobody could log in there"
            }
            Authentication::Sasl if self.sasl_users.is_none() && self.users.is_empty() => {
                "-S: no users: --sasl-users FILE, or the environment's MEMCACHED_SASL_PWDB"
            }
            _ => return Ok(()),
        };
        Err(Failure::usage(mistake))
    }

    /// Whether a listener asks for certificates that can be good.
    fn asks_clients(&self) -> bool {
        let own = self.listen.iter().map(|it| it.tls);
        let own = if self.listen.is_empty() { vec![None] } else { own.collect() };
        let mut asked = own.into_iter().filter_map(|own| self.client_certificate(own));
        let asks = asked.any(|asked| asked != ClientCertificate::NotAsked);
        asks && self.tls_authorities.is_some()
    }

    /// Fills in what follows from peers having to log in.
    pub(super) fn settle_login(&mut self) {
        if !self.is_given("protocols") {
            self.protocols = match self.authentication() {
                Authentication::None | Authentication::Either => self.protocols,
                Authentication::Text => Protocols::Ascii,
                Authentication::Sasl => Protocols::Binary,
            };
        }
        if self.auth_sasl && self.sasl_users.is_none() {
            let named = std::env::var_os(SASL_USERS).filter(|path| !path.is_empty());
            self.sasl_users = named.map(PathBuf::from);
        }
        // It is read again when the process may have left the directory that it began in.
        for file in [&mut self.auth_file, &mut self.sasl_users] {
            if let Some(path) = file.take() {
                *file = Some(std::path::absolute(&path).unwrap_or(path));
            }
        }
    }
}

//! The names in a client's certificate: those by which a user can be known without a password.

use std::fmt;
use std::str::FromStr;

use rustls::pki_types::CertificateDer;
use webpki::EndEntityCert;

/// Tags and the one attribute of DER that a common name needs.
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OBJECT_IDENTIFIER: u8 = 0x06;
const STRINGS: [u8; 3] = [0x0c, 0x13, 0x16]; // UTF-8, printable, IA5
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];

/// A name that a certificate can have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertificateName {
    /// The subject's common name, if it has only one.
    Common(String),
    /// One of the subject's alternative names: that of a host, letter by letter but for their case.
    Dns(String),
    /// One of the subject's alternative names: a URI.
    Uri(String),
}

/// The names that a certificate has. One that nobody has verified tells nothing.
pub struct Names<'c>(EndEntityCert<'c>);

impl<'c> Names<'c> {
    /// Those of a certificate; `None` if it is none.
    pub fn of(certificate: &'c CertificateDer<'c>) -> Option<Self> {
        EndEntityCert::try_from(certificate).ok().map(Self)
    }

    /// Whether this is one of them.
    pub fn include(&self, name: &CertificateName) -> bool {
        match name {
            CertificateName::Common(name) => common_name(self.0.subject()) == Some(name.as_bytes()),
            CertificateName::Dns(name) => {
                self.0.valid_dns_names().any(|other| other.eq_ignore_ascii_case(name))
            }
            CertificateName::Uri(name) => self.0.valid_uri_names().any(|other| other == name),
        }
    }
}

impl FromStr for CertificateName {
    type Err = ();

    /// `DNS:...` and `URI:...` are alternative names, all else is a common name.
    fn from_str(text: &str) -> Result<Self, ()> {
        let (name, is): (_, fn(String) -> Self) = match text.split_at_checked(4) {
            Some(("DNS:", name)) => (name, Self::Dns),
            Some(("URI:", name)) => (name, Self::Uri),
            _ => (text, Self::Common),
        };
        if name.is_empty() { Err(()) } else { Ok(is(name.to_owned())) }
    }
}

impl fmt::Display for CertificateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Common(name) => f.write_str(name),
            Self::Dns(name) => write!(f, "DNS:{name}"),
            Self::Uri(name) => write!(f, "URI:{name}"),
        }
    }
}

/// The common name in the DER of a subject; none if there are several.
fn common_name(subject: &[u8]) -> Option<&[u8]> {
    let mut found = None;
    for (_, set) in Elements(subject).filter(|(tag, _)| *tag == SET) {
        for (_, attribute) in Elements(set).filter(|(tag, _)| *tag == SEQUENCE) {
            let mut parts = Elements(attribute);
            if parts.next() != Some((OBJECT_IDENTIFIER, COMMON_NAME)) {
                continue;
            }
            let (_, name) = parts.next().filter(|(tag, _)| STRINGS.contains(tag))?;
            if found.replace(name).is_some() {
                return None;
            }
        }
    }
    found
}

/// The elements of DER side by side, as tag and content; they end where they make no sense.
struct Elements<'d>(&'d [u8]);

impl<'d> Iterator for Elements<'d> {
    type Item = (u8, &'d [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (tag, len, rest) = match *std::mem::take(&mut self.0) {
            [tag, len @ 0..=0x7f, ref rest @ ..] => (tag, usize::from(len), rest),
            [tag, 0x81, len, ref rest @ ..] => (tag, usize::from(len), rest),
            [tag, 0x82, high, low, ref rest @ ..] => {
                (tag, usize::from(u16::from_be_bytes([high, low])), rest)
            }
            _ => return None,
        };
        let (content, behind) = rest.split_at_checked(len)?;
        self.0 = behind;
        Some((tag, content))
    }
}

#[cfg(test)]
mod tests {
    use mcache_conformance::tls;

    use super::*;

    #[test]
    fn a_certificate_has_its_names_and_no_others() {
        for (file, name, is) in [
            ("client", "client", true),
            ("client", "clien", false),
            ("client", "Client", false),
            ("client", "DNS:client", false),
            ("named", "app", true),
            ("named", "DNS:app.example", true),
            ("named", "DNS:APP.example", true),
            ("named", "DNS:app", false),
            ("named", "app.example", false),
            ("named", "URI:spiffe://example/app", true),
            ("named", "URI:spiffe://example/ap", false),
            ("named", "URI:app.example", false),
        ] {
            let (certificate, name) = (tls::certificate(file), name.parse().unwrap());
            assert_eq!(Names::of(&certificate).unwrap().include(&name), is, "{file}: {name}");
        }
        assert!(Names::of(&CertificateDer::from_slice(b"none")).is_none());
        for text in ["", "DNS:", "URI:"] {
            assert_eq!(text.parse::<CertificateName>(), Err(()), "{text:?}");
        }
    }

    #[test]
    fn of_several_common_names_none_counts() {
        // A set with one attribute: common name, UTF-8.
        let named = |name: &[u8], len_form: &[u8]| {
            let oid = [&[OBJECT_IDENTIFIER, 3], COMMON_NAME].concat();
            let len = &[name.len() as u8];
            let attribute = [&oid, &STRINGS[..1], len_form, len, name].concat();
            let sequence = [&[SEQUENCE, attribute.len() as u8], &attribute[..]].concat();
            [&[SET, sequence.len() as u8], &sequence[..]].concat()
        };
        let [one, other] = [named(b"one", b""), named(b"other", b"")];
        let country =
            [0x31, 0x0b, 0x30, 0x09, 0x06, 0x03, 0x55, 0x04, 0x06, 0x13, 0x02, b'D', b'E'];
        for (subject, name) in [
            (&one[..], Some(&b"one"[..])),
            (&[&country[..], &other].concat(), Some(b"other")),
            (&named(b"long", &[0x81]), Some(b"long")),
            (&named(b"long", &[0x82, 0]), Some(b"long")),
            (&[one.clone(), other].concat(), None),
            (&country, None),
            (&one[..one.len() - 1], None),
            (&one[..3], None),
            (b"", None),
            (&named(b"x", &[0x84, 0, 0, 0]), None),
        ] {
            assert_eq!(common_name(subject), name, "{subject:?}");
        }
    }
}

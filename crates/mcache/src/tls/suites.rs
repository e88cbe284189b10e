//! The cipher suites that rustls has, under OpenSSL's names.

use rustls::SupportedCipherSuite;
use rustls::crypto::ring::cipher_suite as suite;

/// In the order in which they are preferred.
const SUITES: &[(&str, SupportedCipherSuite)] = &[
    ("TLS_AES_256_GCM_SHA384", suite::TLS13_AES_256_GCM_SHA384),
    ("TLS_AES_128_GCM_SHA256", suite::TLS13_AES_128_GCM_SHA256),
    ("TLS_CHACHA20_POLY1305_SHA256", suite::TLS13_CHACHA20_POLY1305_SHA256),
    ("ECDHE-ECDSA-AES256-GCM-SHA384", suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384),
    ("ECDHE-ECDSA-AES128-GCM-SHA256", suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256),
    ("ECDHE-ECDSA-CHACHA20-POLY1305", suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256),
    ("ECDHE-RSA-AES256-GCM-SHA384", suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384),
    ("ECDHE-RSA-AES128-GCM-SHA256", suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256),
    ("ECDHE-RSA-CHACHA20-POLY1305", suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256),
];

/// All of them.
pub fn all() -> Vec<SupportedCipherSuite> {
    SUITES.iter().map(|(_, suite)| *suite).collect()
}

/// Those of a list with colons between them, in its order. A version of TLS of which it names none
/// keeps all that it has.
pub fn parse(list: &str) -> Result<Vec<SupportedCipherSuite>, String> {
    let mut named = Vec::new();
    for name in list.split([':', ' ']).filter(|name| !name.is_empty()) {
        match SUITES.iter().find(|(known, _)| *known == name) {
            Some((_, suite)) => named.push(*suite),
            None => {
                let all: Vec<_> = SUITES.iter().map(|(known, _)| *known).collect();
                return Err(format!("{name} is none of {}", all.join(":")));
            }
        }
    }
    if named.is_empty() {
        return Err("should name cipher suites, with colons between them".to_owned());
    }
    let names_version =
        |version| named.iter().any(|it: &SupportedCipherSuite| it.version() == version);
    let rest = all().into_iter().filter(|it| !names_version(it.version()));
    Ok(named.iter().copied().chain(rest).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_leaves_only_what_it_names_of_a_version_that_it_names() {
        let rows: &[(&str, Option<usize>)] = &[
            ("TLS_AES_256_GCM_SHA384", Some(1 + 6)),
            ("ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES128-GCM-SHA256", Some(2 + 3)),
            ("TLS_AES_128_GCM_SHA256:ECDHE-RSA-CHACHA20-POLY1305", Some(2)),
            ("", None),
            (":", None),
            ("HIGH:!aNULL", None),
            ("ECDHE-RSA-AES128-GCM-SHA256:AES128-SHA", None),
        ];
        for (list, count) in rows {
            assert_eq!(parse(list).ok().map(|suites| suites.len()), *count, "{list}");
        }
    }
}

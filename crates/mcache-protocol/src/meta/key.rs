//! Keys in base64 (flag `b`): any bytes may be a key, and a line stays a line.

use base64::alphabet;
use base64::engine::{DecodePaddingMode, Engine, GeneralPurpose, GeneralPurposeConfig};
use mcache_base::limits::KEY_MAX;
use mcache_base::{Item, fits_line};

use crate::decoded::KeyScratch;

/// Padding is asked for; bits that padding leaves over may be anything, as in memcached.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical)
        .with_decode_allow_trailing_bits(true),
);

/// The longest encoded key: a stored key may be longer than one that comes encoded.
const ENCODED_MAX: usize = KEY_MAX.div_ceil(3) * 4;

/// Decodes `encoded` into `scratch`.
pub(super) fn decode<'b>(encoded: &[u8], scratch: &'b mut KeyScratch) -> Option<&'b [u8]> {
    let len = BASE64.decode_slice(encoded, scratch).ok()?;
    scratch.get(..len).filter(|key| !key.is_empty())
}

/// Appends `key`, encoded in base64.
pub fn push_encoded(line: &mut Vec<u8>, key: &[u8]) {
    let mut encoded = [0; ENCODED_MAX];
    // A key longer than KEY_MAX, which no engine has, would be left out.
    let len = BASE64.encode_slice(key, &mut encoded).unwrap_or(0);
    line.extend_from_slice(encoded.get(..len).unwrap_or_default());
}

/// Appends the key of an item that was asked for `by_encoded`: whether by its key in base64.
/// Tells whether it is in base64: as the item was stored, or lest it break the line.
pub(super) fn push(line: &mut Vec<u8>, item: &impl Item, by_encoded: bool) -> bool {
    let encoded = item.binary_key() || (by_encoded && !fits_line(item.key()));
    if encoded {
        push_encoded(line, item.key());
    } else {
        line.extend_from_slice(item.key());
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_what_memcached_decodes() {
        for (encoded, key) in [
            ("Zm9v", Some(&b"foo"[..])),
            ("YQ==", Some(b"a")),
            ("YR==", Some(b"a")),
            ("AAEC/+8=", Some(&[0, 1, 2, 0xff, 0xef])),
            ("", None),
            ("YQ", None),
            ("YQ=", None),
            ("====", None),
            ("Zm9\u{1}", None),
        ] {
            assert_eq!(decode(encoded.as_bytes(), &mut [0; KEY_MAX]), key, "{encoded}");
        }
    }

    #[test]
    fn a_key_of_any_length_comes_back() {
        for len in 1..=KEY_MAX {
            let key: Vec<u8> = (0..len).map(|at| (at * 7) as u8).collect();
            let mut encoded = Vec::new();
            push_encoded(&mut encoded, &key);
            if encoded.len() <= KEY_MAX {
                assert_eq!(decode(&encoded, &mut [0; KEY_MAX]), Some(&key[..]));
            }
            assert_eq!(encoded.len(), len.div_ceil(3) * 4);
        }
    }
}

//! Lines to requests.

use crate::codec::Decoded;

/// Where in a key list the connection stands.
#[derive(Debug, Default)]
pub struct Decoder {}

impl Decoder {
    /// Decodes the request at the front of `input`.
    pub fn decode<'b>(&mut self, _input: &'b [u8]) -> Decoded<'b> {
        Decoded::NeedMore
    }

    /// Whether a key list goes on.
    pub fn in_list(&self) -> bool {
        false
    }
}

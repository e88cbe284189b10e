//! The 24 bytes before every frame, in network byte order.

/// Bytes of a header.
pub(super) const HEADER_LEN: usize = 24;

/// First byte of a request.
pub const REQUEST_MAGIC: u8 = 0x80;

/// First byte of an answer.
const ANSWER_MAGIC: u8 = 0x81;

/// A request's header. Its data type and vbucket are ignored, as memcached does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub opcode: u8,
    pub key_len: u16,
    pub extras_len: u8,
    /// Extras, key and value together.
    pub body_len: u32,
    pub opaque: u32,
    /// The cas unique to compare with; 0 for none.
    pub cas: u64,
}

impl Header {
    #[rustfmt::skip] // A row here is a row of the protocol's picture of the header.
    pub fn parse(bytes: &[u8; HEADER_LEN]) -> Self {
        let [
            _magic, opcode, key0, key1,
            extras_len, _data_type, _vbucket0, _vbucket1,
            body0, body1, body2, body3,
            opaque0, opaque1, opaque2, opaque3,
            cas0, cas1, cas2, cas3,
            cas4, cas5, cas6, cas7,
        ] = *bytes;
        Self {
            opcode,
            key_len: u16::from_be_bytes([key0, key1]),
            extras_len,
            body_len: u32::from_be_bytes([body0, body1, body2, body3]),
            opaque: u32::from_be_bytes([opaque0, opaque1, opaque2, opaque3]),
            cas: u64::from_be_bytes([cas0, cas1, cas2, cas3, cas4, cas5, cas6, cas7]),
        }
    }

    /// Bytes of the value; `None` if extras and key are longer than the body they are part of.
    pub fn value_len(&self) -> Option<usize> {
        let front = u32::from(self.key_len) + u32::from(self.extras_len);
        Some(self.body_len.checked_sub(front)? as usize)
    }

    /// The cas unique to compare with.
    pub fn compare(&self) -> Option<u64> {
        (self.cas != 0).then_some(self.cas)
    }
}

/// An answer's header.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct AnswerHeader {
    pub opcode: u8,
    pub status: u16,
    pub extras_len: usize,
    pub key_len: usize,
    pub value_len: usize,
    pub opaque: u32,
    pub cas: u64,
}

impl AnswerHeader {
    /// The header as it is sent. Lengths that the fields can't say don't occur: a key has at
    /// most 250 bytes and a value less than 2^31.
    #[rustfmt::skip] // A row here is a row of the protocol's picture of the header.
    pub fn to_bytes(self) -> [u8; HEADER_LEN] {
        let body_len = self.extras_len + self.key_len + self.value_len;
        let [key0, key1] = (self.key_len as u16).to_be_bytes();
        let [status0, status1] = self.status.to_be_bytes();
        let [body0, body1, body2, body3] = (body_len as u32).to_be_bytes();
        let [opaque0, opaque1, opaque2, opaque3] = self.opaque.to_be_bytes();
        let [cas0, cas1, cas2, cas3, cas4, cas5, cas6, cas7] = self.cas.to_be_bytes();
        [
            ANSWER_MAGIC, self.opcode, key0, key1,
            self.extras_len as u8, 0, status0, status1,
            body0, body1, body2, body3,
            opaque0, opaque1, opaque2, opaque3,
            cas0, cas1, cas2, cas3,
            cas4, cas5, cas6, cas7,
        ]
    }
}

//! memcached's UDP frame: eight bytes before every packet, requests in one, answers in many.

use mcache_base::limits::{KEY_MAX, UDP_PACKET_MAX};

use crate::codec::Codec;
use crate::decoded::Decoded;
use crate::request::Request;

/// Bytes of a packet's header: request id, sequence number, number of packets, a reserved word;
/// 16 bits each, the highest first.
pub const HEADER: usize = 8;

/// Bytes of an answer that go into one packet.
pub const PAYLOAD: usize = UDP_PACKET_MAX - HEADER;

/// A request that came in one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'b> {
    /// The peer's number for it, to be repeated in the answer.
    pub id: u16,
    /// The commands.
    pub payload: &'b [u8],
}

/// Reads a packet. Requests of several packets are not understood, nor are packets that carry
/// nothing: like memcached's, they stay without an answer.
pub fn decode(packet: &[u8]) -> Option<Frame<'_>> {
    let (header, payload) = packet.split_first_chunk::<HEADER>()?;
    let [id_high, id_low, _, _, packets_high, packets_low, _, _] = *header;
    let one = u16::from_be_bytes([packets_high, packets_low]) == 1;
    (one && !payload.is_empty())
        .then(|| Frame { id: u16::from_be_bytes([id_high, id_low]), payload })
}

/// Whether a request is one command, whole, about one key or none: what a stranger may ask.
pub fn asks_one_thing(payload: &[u8]) -> bool {
    let (mut codec, mut scratch) = (Codec::default(), [0; KEY_MAX]);
    let size = match codec.decode(payload, &mut scratch) {
        Decoded::Request { request, size, .. } => match request {
            Request::Fetch { .. }
            | Request::Inspect { .. }
            | Request::Delete { .. }
            | Request::Count { .. }
            | Request::Version
            | Request::Noop => size,
            _ => return false,
        },
        Decoded::Body { head, body, tail, .. } => head + body + tail,
        Decoded::Refused { size, .. } => size,
        Decoded::NeedMore | Decoded::Close => return false,
    };
    size == payload.len() && !codec.in_list()
}

/// Cuts an answer into packets and gives each to `send`. An answer of more packets than the
/// header can count is not sent.
pub fn encode(id: u16, answer: &[u8], mut send: impl FnMut(&[u8])) {
    let Ok(packets) = u16::try_from(answer.len().div_ceil(PAYLOAD)) else { return };
    let mut packet = Vec::with_capacity(UDP_PACKET_MAX);
    for (sequence, payload) in (0..packets).zip(answer.chunks(PAYLOAD)) {
        packet.clear();
        for word in [id, sequence, packets, 0] {
            packet.extend_from_slice(&word.to_be_bytes());
        }
        packet.extend_from_slice(payload);
        send(&packet);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stranger_may_ask_one_thing() {
        let rows: &[(&[u8], bool)] = &[
            (b"get a\r\n", true),
            (b"gat 0 a\r\n", true),
            (b"set a 0 0 1\r\nx\r\n", true),
            (b"mg a v\r\n", true),
            (b"incr a 1\r\n", true),
            (b"what\r\n", true),
            (b"version\r\n", true),
            (b"\x80\0\0\x01\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\0a", true),
            (b"get a b\r\n", false),
            (b"get a\r\nget b\r\n", false),
            (b"get a", false),
            (b"set a 0 0 1\r\nx\r\nversion\r\n", false),
            (b"set a 0 0 1\r\n", false),
            (b"stats\r\n", false),
            (b"lru_crawler metadump all\r\n", false),
            (b"flush_all\r\n", false),
            (b"watch\r\n", false),
            (b"quit\r\n", false),
        ];
        for (payload, expected) in rows {
            assert_eq!(asks_one_thing(payload), *expected, "{}", payload.escape_ascii());
        }
    }

    #[test]
    fn a_request_is_one_packet_with_something_in_it() {
        let frame = |payload| Some(Frame { id: 0x1234, payload });
        let rows: &[(&[u8], Option<Frame<'_>>)] = &[
            (b"\x12\x34\0\0\0\x01\0\0x", frame(b"x")),
            (b"\x12\x34\0\x07\0\x01\0\x09xy", frame(b"xy")),
            (b"\0\0\0\0\0\x01\0\0", None),
            (b"\0\0\0\0\0\x01\0", None),
            (b"", None),
            (b"\0\0\0\0\0\0\0\0x", None),
            (b"\0\0\0\0\0\x02\0\0x", None),
            (b"\0\0\0\0\x01\x01\0\0x", None),
        ];
        for (packet, expected) in rows {
            assert_eq!(decode(packet), *expected, "{packet:?}");
        }
    }

    #[test]
    fn an_answer_is_cut_at_1400_bytes() {
        let most = usize::from(u16::MAX) * PAYLOAD;
        for (len, packets) in
            [(0, 0), (1, 1), (PAYLOAD, 1), (PAYLOAD + 1, 2), (most, u16::MAX), (most + 1, 0)]
        {
            let answer: Vec<u8> = (0..len).map(|i| (i % 251) as u8).collect();
            let (mut heard, mut sequence) = (Vec::new(), 0);
            encode(0xabcd, &answer, |packet| {
                assert!(packet.len() <= UDP_PACKET_MAX);
                let words = [0xabcd, sequence, packets, 0].map(u16::to_be_bytes);
                assert_eq!(packet[..HEADER], words.concat());
                heard.extend_from_slice(&packet[HEADER..]);
                sequence += 1;
            });
            assert_eq!(sequence, packets, "{len} bytes");
            assert!(packets == 0 || heard == answer, "{len} bytes");
        }
    }
}

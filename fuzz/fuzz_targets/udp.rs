//! Datagrams: what is read out of one, what it is answered, and into what the answer is cut.
#![no_main]

#[allow(dead_code)] // each target uses its part
mod common;

use libfuzzer_sys::fuzz_target;
use mcache_base::limits::UDP_PACKET_MAX;
use mcache_conformance::memory_houses;
use mcache_protocol::datagram::{self, HEADER, PAYLOAD};

fuzz_target!(|packet: &[u8]| {
    let Some(frame) = datagram::decode(packet) else { return };
    let stranger = datagram::asks_one_thing(frame.payload);
    for house in memory_houses() {
        let mut started = common::start(&*house, &[]);
        let mut connection = started.connect().expect("there is room for a connection");
        let mut answer = Vec::new();
        common::hear(&mut *connection, frame.payload, &mut answer);
        if stranger {
            assert!(answer.len() < 1000, "one thing in an empty cache has a short answer");
        }
        let (mut put_together, mut packets) = (Vec::new(), 0);
        datagram::encode(frame.id, &answer, |packet| {
            assert!(packet.len() <= UDP_PACKET_MAX);
            put_together.extend_from_slice(&packet[HEADER..]);
            packets += 1;
        });
        if answer.len() <= PAYLOAD * usize::from(u16::MAX) {
            assert_eq!(put_together, answer);
            assert_eq!(packets, answer.len().div_ceil(PAYLOAD));
        }
    }
});

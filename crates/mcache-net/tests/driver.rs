//! The driver against real sockets: what is received, what is sent, and how it ends.

use std::io::{IoSlice, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use mcache_base::Outgoing;
use mcache_net::{ConnectionId, Driver, EpollDriver, Event, Received, Send, Wake};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Longer than anything here takes; reaching it fails the test.
const PATIENCE: Duration = Duration::from_secs(20);

/// A queue in many slices.
#[derive(Debug, Default)]
struct Queue {
    bytes: Vec<u8>,
    sent: usize,
}

impl Outgoing for Queue {
    fn gather<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let chunks = self.bytes[self.sent..].chunks(1000);
        slices.iter_mut().zip(chunks).map(|(slice, chunk)| *slice = IoSlice::new(chunk)).count()
    }

    fn advance(&mut self, n: usize) {
        self.sent += n;
    }

    fn is_empty(&self) -> bool {
        self.sent == self.bytes.len()
    }
}

type TestDriver = EpollDriver<Queue>;

fn queue(bytes: &[u8]) -> Queue {
    Queue { bytes: bytes.to_vec(), sent: 0 }
}

/// A driver, and the peers of the connections that it holds.
fn driver_with(connections: usize) -> (TestDriver, Vec<(ConnectionId, TcpStream)>) {
    let mut driver = TestDriver::new().unwrap();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let peers = (0..connections)
        .map(|_| {
            let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            peer.set_read_timeout(Some(PATIENCE)).unwrap();
            let (socket, _) = listener.accept().unwrap();
            socket.set_nonblocking(true).unwrap();
            (driver.add(socket.into()).unwrap(), peer)
        })
        .collect();
    (driver, peers)
}

fn driver_with_one() -> (TestDriver, ConnectionId, TcpStream) {
    let (driver, mut peers) = driver_with(1);
    let (id, peer) = peers.remove(0);
    (driver, id, peer)
}

/// Waits until `wanted` picks something out of an event.
fn wait_for<T>(driver: &mut TestDriver, wanted: impl Fn(&Event<Queue>) -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    let mut events = Vec::new();
    loop {
        driver.wait(Some(PATIENCE), &mut events).unwrap();
        if let Some(found) = events.drain(..).find_map(|event| wanted(&event)) {
            return found;
        }
        assert!(Instant::now() < deadline, "the event never came");
    }
}

fn wait_received(driver: &mut TestDriver, id: ConnectionId) {
    wait_for(driver, |event| matches!(event, Event::Received(at) if *at == id).then_some(()));
}

/// Receives until the peer has closed, through a buffer of `room` bytes.
fn receive_all(driver: &mut TestDriver, id: ConnectionId, room: usize) -> Vec<u8> {
    let mut buffer = vec![0; room];
    let mut all = Vec::new();
    loop {
        match driver.receive(id, &mut buffer) {
            Received::Bytes(count) => {
                all.extend_from_slice(&buffer[..count]);
                if count < room {
                    wait_received(driver, id);
                }
            }
            Received::Nothing => wait_received(driver, id),
            Received::Closed => return all,
        }
    }
}

#[test]
fn bytes_are_received_whatever_the_buffer_holds() {
    for room in [1, 7, 100, 4096] {
        let (mut driver, id, mut peer) = driver_with_one();
        let said: Vec<u8> = (0..1000u32).map(|n| n as u8).collect();
        peer.write_all(&said).unwrap();
        peer.shutdown(Shutdown::Write).unwrap();
        assert_eq!(receive_all(&mut driver, id, room), said, "a buffer of {room} bytes");
    }
}

#[test]
fn nothing_is_received_before_it_was_announced() {
    let (mut driver, id, mut peer) = driver_with_one();
    let mut buffer = [0; 16];
    assert_eq!(driver.receive(id, &mut buffer), Received::Nothing);
    for word in [b"one", b"two"] {
        peer.write_all(word).unwrap();
        wait_received(&mut driver, id);
        assert_eq!(driver.receive(id, &mut buffer), Received::Bytes(3));
        assert_eq!(&buffer[..3], word);
        assert_eq!(driver.receive(id, &mut buffer), Received::Nothing);
    }
}

#[test]
fn a_half_closed_peer_is_still_answered() {
    let (mut driver, id, mut peer) = driver_with_one();
    peer.write_all(b"question").unwrap();
    peer.shutdown(Shutdown::Write).unwrap();
    assert_eq!(receive_all(&mut driver, id, 64), b"question");
    assert!(matches!(driver.send(id, queue(b"answer")), Send::Done(_)));
    driver.close(id);
    let mut answer = Vec::new();
    peer.read_to_end(&mut answer).unwrap();
    assert_eq!(answer, b"answer");
}

#[test]
fn a_long_send_goes_on_by_itself() {
    let (mut driver, id, mut peer) = driver_with_one();
    let said: Vec<u8> = (0..20_000_000u32).map(|n| (n >> 3) as u8).collect();
    for round in 0..2 {
        assert!(matches!(driver.send(id, queue(&said)), Send::UnderWay), "round {round}");
        let mut reader = peer.try_clone().unwrap();
        let length = said.len();
        let heard = thread::spawn(move || {
            let mut heard = vec![0; length];
            reader.read_exact(&mut heard).map(|()| heard)
        });
        wait_for(&mut driver, |event| match event {
            Event::Sent(at, queue) => (*at == id && queue.is_empty()).then_some(()),
            _ => None,
        });
        assert!(heard.join().unwrap().unwrap() == said, "the bytes arrive whole and in order");
    }
    assert!(matches!(driver.send(id, queue(b"end")), Send::Done(_)));
    let mut end = [0; 3];
    peer.read_exact(&mut end).unwrap();
    assert_eq!(&end, b"end");
}

#[test]
fn bytes_can_be_received_while_a_send_is_under_way() {
    let (mut driver, id, mut peer) = driver_with_one();
    assert!(matches!(driver.send(id, queue(&vec![b'x'; 20_000_000])), Send::UnderWay));
    peer.write_all(b"more").unwrap();
    wait_received(&mut driver, id);
    assert_eq!(driver.receive(id, &mut [0; 16]), Received::Bytes(4));
}

#[test]
fn a_peer_that_leaves_fails_the_send() {
    let (mut driver, id, peer) = driver_with_one();
    assert!(matches!(driver.send(id, queue(&vec![b'x'; 20_000_000])), Send::UnderWay));
    drop(peer);
    wait_for(&mut driver, |event| matches!(event, Event::Failed(at) if *at == id).then_some(()));
    assert!(matches!(driver.send(id, queue(b"more")), Send::Failed));
}

#[test]
fn a_thousand_connections_are_served() {
    // Both ends are here, and the usual limit is 1024 descriptors.
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
    let (mut driver, mut peers) = driver_with(1000);
    for (id, peer) in &mut peers {
        peer.write_all(&id.0.to_le_bytes()).unwrap();
    }
    let mut events = Vec::new();
    let mut answered = 0;
    let mut buffer = [0; 64];
    while answered < peers.len() {
        driver.wait(Some(PATIENCE), &mut events).unwrap();
        assert!(!events.is_empty(), "only {answered} were heard");
        for event in events.drain(..) {
            let Event::Received(id) = event else { continue };
            if let Received::Bytes(count) = driver.receive(id, &mut buffer) {
                assert_eq!(buffer[..count], id.0.to_le_bytes(), "each says its own");
                assert!(matches!(driver.send(id, queue(&buffer[..count])), Send::Done(_)));
                answered += 1;
            }
        }
    }
    for (id, peer) in &mut peers {
        let mut answer = [0; size_of::<usize>()];
        peer.read_exact(&mut answer).unwrap();
        assert_eq!(usize::from_le_bytes(answer), id.0);
    }
}

#[test]
fn an_id_is_not_reused_before_the_next_wait() {
    let (mut driver, id, _peer) = driver_with_one();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let _peers = [(); 2].map(|()| TcpStream::connect(listener.local_addr().unwrap()).unwrap());
    driver.close(id);
    assert_eq!(driver.receive(id, &mut [0; 4]), Received::Closed);
    let second = driver.add(listener.accept().unwrap().0.into()).unwrap();
    assert_ne!(second, id);
    driver.wait(Some(Duration::ZERO), &mut Vec::new()).unwrap();
    let third = driver.add(listener.accept().unwrap().0.into()).unwrap();
    assert_eq!(third, id);
}

#[test]
fn another_thread_wakes_the_driver() {
    let mut driver = TestDriver::new().unwrap();
    let waker = driver.waker();
    let other = thread::spawn(move || waker.wake());
    wait_for(&mut driver, |event| matches!(event, Event::Woken).then_some(()));
    other.join().unwrap();
}

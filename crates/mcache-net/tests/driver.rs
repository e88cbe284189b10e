//! Every driver against real sockets: what is received, what is sent, and how it ends.

use std::io::{ErrorKind, IoSlice, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use mcache_base::Outgoing;
use mcache_base::limits::{LENT_BUFFERS_FIRST, RECEIVED_AHEAD_MAX, SLICES_PER_SEND};
use mcache_net::uring::Sizes;
use mcache_net::{ConnectionId, Driver, EpollDriver, Event, Received, Send, UringDriver, Wake};
use rustix::net::sockopt::set_socket_recv_buffer_size;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Longer than anything here takes; reaching it fails the test.
const PATIENCE: Duration = Duration::from_secs(20);

/// A queue in slices of so many bytes.
#[derive(Debug, Default)]
struct Queue {
    bytes: Vec<u8>,
    sent: usize,
    slice_len: usize,
}

impl Outgoing for Queue {
    fn gather<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let chunks = self.bytes[self.sent..].chunks(self.slice_len);
        slices.iter_mut().zip(chunks).map(|(slice, chunk)| *slice = IoSlice::new(chunk)).count()
    }

    fn advance(&mut self, n: usize) {
        self.sent += n;
    }

    fn is_empty(&self) -> bool {
        self.sent == self.bytes.len()
    }
}

/// Runs each test with every driver; those of io_uring only where the system allows it.
macro_rules! with_every_driver {
    ($($test:ident)+) => {
        mod epoll {
            $( #[test] fn $test() { super::$test(super::EpollDriver::new().unwrap()); } )+
        }
        mod uring {
            $( #[test] fn $test() {
                super::uring(super::Sizes::default()).into_iter().for_each(super::$test);
            } )+
        }
        /// Queues that overflow and buffers that run out.
        mod uring_without_room {
            $( #[test] fn $test() {
                let sizes =
                    super::Sizes { submissions: 2, completions: 4, buffers: 2, buffer_len: 16 };
                super::uring(sizes).into_iter().for_each(super::$test);
            } )+
        }
    };
}

with_every_driver! {
    bytes_are_received_whatever_the_buffer_holds
    nothing_is_received_before_it_was_announced
    a_half_closed_peer_is_still_answered
    a_long_send_goes_on_by_itself
    a_send_in_any_number_of_slices_needs_no_other_event
    a_reader_of_one_byte_at_a_time_is_sent_all
    bytes_can_be_received_while_a_send_is_under_way
    a_peer_that_leaves_fails_the_send
    what_is_not_taken_stops_its_sender_alone
    much_that_is_expected_arrives_in_order
    a_connection_closes_whatever_is_under_way
    a_thousand_connections_are_served
    an_id_is_not_reused_before_the_next_wait
    another_thread_wakes_the_driver
}

fn uring(sizes: Sizes) -> Option<UringDriver<Queue>> {
    let driver = UringDriver::with_sizes(sizes);
    driver.inspect_err(|error| eprintln!("io_uring is not to be had here: {error}")).ok()
}

#[test]
fn what_io_uring_received_ahead_is_counted_and_no_more_than_a_buffer_while_memory_is_short() {
    let Some(mut driver) = uring(Sizes { buffers: 4, buffer_len: 16, ..Sizes::default() }) else {
        return;
    };
    driver.save_memory(true);
    let (id, mut peer) = connect_one(&mut driver);
    let said: Vec<u8> = (0..1000).map(|n| (n >> 2) as u8).collect();
    peer.write_all(&said).unwrap();
    for taken in 0..3 {
        wait_received(&mut driver, id);
        (0..20).for_each(|_| driver.wait(Some(Duration::ZERO), &mut Vec::new()).unwrap());
        assert_eq!(driver.received_ahead(id), 16, "{taken}");
        assert_eq!(driver.receive(id, &mut [0; 10]), Received::Bytes(10));
        assert_eq!(driver.received_ahead(id), 6);
        driver.save_memory(taken < 2);
        assert_eq!(driver.receive(id, &mut [0; 10]), Received::Bytes(6));
    }
    let deadline = Instant::now() + PATIENCE;
    while driver.received_ahead(id) < 1000 - 3 * 16 {
        driver.wait(Some(Duration::ZERO), &mut Vec::new()).unwrap();
        assert!(Instant::now() < deadline, "the rest never came");
    }
    peer.shutdown(Shutdown::Write).unwrap();
    assert_eq!(receive_all(&mut driver, id, 100), said[3 * 16..]);
    assert_eq!(driver.received_ahead(id), 0);
}

#[test]
fn what_fills_several_buffers_again_and_again_stays_in_the_socket_until_it_is_little() {
    let Some(mut driver) = uring(Sizes { buffers: 8, buffer_len: 16, ..Sizes::default() }) else {
        return;
    };
    let (id, mut peer) = connect_one(&mut driver);
    let mut sent_ahead = |len: usize| {
        peer.write_all(&vec![b'x'; len]).unwrap();
        wait_received(&mut driver, id);
        let ahead = driver.received_ahead(id);
        assert_eq!(driver.receive(id, &mut [0; 100]), Received::Bytes(len));
        // What is changed by it is changed before more comes.
        (0..3).for_each(|_| driver.wait(Some(Duration::ZERO), &mut Vec::new()).unwrap());
        ahead
    };
    let ahead = [40, 40, 40, 10, 40, 40, 40, 40, 40, 33, 10, 10, 40].map(&mut sent_ahead);
    assert_eq!(ahead, [40, 40, 40, 10, 40, 40, 40, 40, 0, 0, 0, 10, 40]);
}

#[test]
fn what_io_uring_receives_of_a_flood_stays_in_bounds() {
    let sizes = Sizes::default();
    let once = usize::from(LENT_BUFFERS_FIRST) * sizes.buffer_len;
    let Some(mut driver) = uring(sizes) else { return };
    let (id, peer) = connect_one(&mut driver);
    let said: Vec<u8> = (0..8 << 20).map(|n| (n >> 10) as u8).collect();
    let sender = {
        let (mut peer, said) = (peer.try_clone().unwrap(), said.clone());
        thread::spawn(move || {
            peer.write_all(&said).unwrap();
            peer.shutdown(Shutdown::Write).unwrap();
        })
    };
    let (mut heard, mut buffer) = (Vec::new(), vec![0; 1000]);
    let deadline = Instant::now() + PATIENCE;
    while heard.len() < said.len() {
        driver.wait(Some(Duration::ZERO), &mut Vec::new()).unwrap();
        assert!(driver.received_ahead(id) <= RECEIVED_AHEAD_MAX + once);
        // A little at a time: so most of it waits.
        if let Received::Bytes(count) = driver.receive(id, &mut buffer) {
            heard.extend_from_slice(&buffer[..count]);
        }
        assert!(Instant::now() < deadline, "{} of {} bytes", heard.len(), said.len());
    }
    assert!(heard == said, "other bytes, or in another order");
    sender.join().unwrap();
}

fn queue(bytes: &[u8]) -> Queue {
    Queue { bytes: bytes.to_vec(), sent: 0, slice_len: 1000 }
}

/// Connects peers to a driver.
fn connect(driver: &mut impl Driver<Queue>, connections: usize) -> Vec<(ConnectionId, TcpStream)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    (0..connections)
        .map(|_| {
            let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            peer.set_read_timeout(Some(PATIENCE)).unwrap();
            let (socket, _) = listener.accept().unwrap();
            socket.set_nonblocking(true).unwrap();
            (driver.add(socket.into()).unwrap(), peer)
        })
        .collect()
}

fn connect_one(driver: &mut impl Driver<Queue>) -> (ConnectionId, TcpStream) {
    connect(driver, 1).remove(0)
}

/// Waits until `wanted` picks something out of an event; what is done at once may not be told in
/// a wait of its own.
fn wait_for<T>(driver: &mut impl Driver<Queue>, wanted: impl Fn(&Event<Queue>) -> Option<T>) -> T {
    wait_first_for(driver, Duration::ZERO, wanted)
}

/// Waits until `wanted` picks something out of an event, the first time for `timeout`.
fn wait_first_for<T>(
    driver: &mut impl Driver<Queue>,
    mut timeout: Duration,
    wanted: impl Fn(&Event<Queue>) -> Option<T>,
) -> T {
    let deadline = Instant::now() + PATIENCE;
    let mut events = Vec::new();
    loop {
        driver.wait(Some(timeout), &mut events).unwrap();
        if let Some(found) = events.drain(..).find_map(|event| wanted(&event)) {
            return found;
        }
        assert!(Instant::now() < deadline, "the event never came");
        timeout = PATIENCE;
    }
}

fn wait_received(driver: &mut impl Driver<Queue>, id: ConnectionId) {
    wait_for(driver, |event| matches!(event, Event::Received(at) if *at == id).then_some(()));
}

fn wait_sent(driver: &mut impl Driver<Queue>, id: ConnectionId) {
    wait_for(driver, |event| match event {
        Event::Sent(at, queue) => (*at == id && queue.is_empty()).then_some(()),
        _ => None,
    });
}

/// Sends what the socket has room for.
fn send(driver: &mut impl Driver<Queue>, id: ConnectionId, bytes: &[u8]) {
    match driver.send(id, queue(bytes)) {
        Send::Done(queue) => assert!(queue.is_empty()),
        Send::Begun | Send::UnderWay => wait_sent(driver, id),
        Send::Failed => panic!("the send failed"),
    }
}

/// Whether a send is left to the driver.
fn goes_on(send: &Send<Queue>) -> bool {
    matches!(send, Send::Begun | Send::UnderWay)
}

/// Receives until the peer has closed, through a buffer of `room` bytes.
fn receive_all(driver: &mut impl Driver<Queue>, id: ConnectionId, room: usize) -> Vec<u8> {
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

fn bytes_are_received_whatever_the_buffer_holds(mut driver: impl Driver<Queue>) {
    for room in [1, 7, 100, 4096] {
        let (id, mut peer) = connect_one(&mut driver);
        let said: Vec<u8> = (0..1000u32).map(|n| n as u8).collect();
        peer.write_all(&said).unwrap();
        peer.shutdown(Shutdown::Write).unwrap();
        assert_eq!(receive_all(&mut driver, id, room), said, "a buffer of {room} bytes");
    }
}

fn nothing_is_received_before_it_was_announced(mut driver: impl Driver<Queue>) {
    let (id, mut peer) = connect_one(&mut driver);
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

fn a_half_closed_peer_is_still_answered(mut driver: impl Driver<Queue>) {
    let (id, mut peer) = connect_one(&mut driver);
    peer.write_all(b"question").unwrap();
    peer.shutdown(Shutdown::Write).unwrap();
    assert_eq!(receive_all(&mut driver, id, 64), b"question");
    send(&mut driver, id, b"answer");
    driver.close(id);
    driver.wait(Some(Duration::ZERO), &mut Vec::new()).unwrap();
    let mut answer = Vec::new();
    peer.read_to_end(&mut answer).unwrap();
    assert_eq!(answer, b"answer");
}

fn a_long_send_goes_on_by_itself(mut driver: impl Driver<Queue>) {
    let (id, mut peer) = connect_one(&mut driver);
    let said: Vec<u8> = (0..20_000_000u32).map(|n| (n >> 3) as u8).collect();
    for round in 0..2 {
        assert!(goes_on(&driver.send(id, queue(&said))), "round {round}");
        let mut reader = peer.try_clone().unwrap();
        let length = said.len();
        let heard = thread::spawn(move || {
            let mut heard = vec![0; length];
            reader.read_exact(&mut heard).map(|()| heard)
        });
        wait_sent(&mut driver, id);
        assert!(heard.join().unwrap().unwrap() == said, "the bytes arrive whole and in order");
    }
    send(&mut driver, id, b"end");
    let mut end = [0; 3];
    peer.read_exact(&mut end).unwrap();
    assert_eq!(&end, b"end");
}

/// Bytes that are not the same wherever one looks.
fn noise(seed: usize, len: usize) -> Vec<u8> {
    (seed..seed + len).map(|n| (n ^ n >> 8 ^ n >> 16) as u8).collect()
}

fn a_send_in_any_number_of_slices_needs_no_other_event(mut driver: impl Driver<Queue>) {
    const MANY: usize = 3 * SLICES_PER_SEND + 1;
    let rows = [
        // slices, bytes of each, connections, bytes of the peers' receive buffers
        (1, 100, 2, None),
        (1, 6 << 20, 2, None),
        (2, 3 << 20, 1, None),
        (SLICES_PER_SEND - 1, 1000, 2, None),
        (SLICES_PER_SEND, 1000, 2, None),
        (SLICES_PER_SEND + 1, 1, 1, None),
        (SLICES_PER_SEND + 1, 1000, 2, None),
        (SLICES_PER_SEND + 1, 62_000, 2, None),
        (MANY, 10, 1, None),
        (MANY, 1000, 2, Some(4096)),
        (MANY, 32_000, 2, None),
        (30 * SLICES_PER_SEND, 16_000, 1, None),
    ];
    let mut quiet = Vec::new(); // a peer that left would be an event
    for (slices, slice_len, connections, receive_buffer) in rows {
        let peers = connect(&mut driver, connections);
        let said = noise(slices, slices * slice_len);
        let left = Arc::new(AtomicUsize::new(connections));
        let mut readers = Vec::new();
        for (id, mut peer) in peers {
            if let Some(size) = receive_buffer {
                set_socket_recv_buffer_size(&peer, size).unwrap();
            }
            let queue = Queue { bytes: said.clone(), sent: 0, slice_len };
            assert!(!matches!(driver.send(id, queue), Send::Failed));
            let (mut heard, waker, left) = (vec![0; said.len()], driver.waker(), left.clone());
            readers.push(thread::spawn(move || {
                let read = peer.read_exact(&mut heard);
                // Only now may anything but the sends themselves end the driver's wait.
                if left.fetch_sub(1, Ordering::Relaxed) == 1 {
                    waker.wake();
                }
                read.map(|()| (heard, peer))
            }));
        }
        wait_first_for(&mut driver, PATIENCE, |event| matches!(event, Event::Woken).then_some(()));
        for reader in readers {
            let (heard, peer) = reader.join().unwrap().unwrap();
            quiet.push(peer);
            assert!(heard == said, "{slices} slices of {slice_len} bytes");
        }
    }
}

fn a_reader_of_one_byte_at_a_time_is_sent_all(mut driver: impl Driver<Queue>) {
    let (id, mut peer) = connect_one(&mut driver);
    let said = vec![b'x'; 10_000_000];
    assert!(goes_on(&driver.send(id, queue(&said))));
    let mut events = Vec::new();
    for _ in 0..1000 {
        driver.wait(Some(Duration::ZERO), &mut events).unwrap();
        peer.read_exact(&mut [0]).unwrap();
    }
    let sent = events.iter().any(|event| matches!(event, Event::Sent(..)));
    assert!(!sent, "most of it cannot have gone out");
    let reader = thread::spawn(move || peer.read_exact(&mut vec![0; 9_999_000]).map(|()| peer));
    wait_sent(&mut driver, id);
    reader.join().unwrap().unwrap();
}

fn bytes_can_be_received_while_a_send_is_under_way(mut driver: impl Driver<Queue>) {
    let (id, mut peer) = connect_one(&mut driver);
    assert!(goes_on(&driver.send(id, queue(&vec![b'x'; 20_000_000]))));
    peer.write_all(b"more").unwrap();
    wait_received(&mut driver, id);
    assert_eq!(driver.receive(id, &mut [0; 16]), Received::Bytes(4));
}

fn a_peer_that_leaves_fails_the_send(mut driver: impl Driver<Queue>) {
    let (id, peer) = connect_one(&mut driver);
    assert!(goes_on(&driver.send(id, queue(&vec![b'x'; 20_000_000]))));
    // So that the send waits for room when the connection is reset.
    driver.wait(Some(Duration::ZERO), &mut Vec::new()).unwrap();
    drop(peer);
    wait_for(&mut driver, |event| matches!(event, Event::Failed(at) if *at == id).then_some(()));
    assert!(matches!(driver.send(id, queue(b"more")), Send::Failed));
}

fn what_is_not_taken_stops_its_sender_alone(mut driver: impl Driver<Queue>) {
    let mut peers = connect(&mut driver, 2);
    let (quiet, mut other) = peers.remove(1);
    let (id, mut peer) = peers.remove(0);
    peer.set_nonblocking(true).unwrap();
    let (mut said, mut events, mut blocked) = (0, Vec::new(), 0);
    // Sockets hold some megabytes of their own.
    while blocked < 100 {
        let chunk: Vec<u8> = (said..said + 10_000).map(|n| (n >> 4) as u8).collect();
        match peer.write(&chunk) {
            Ok(count) => (said, blocked) = (said + count, 0),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                blocked += 1;
            }
        }
        assert!(said < 100_000_000, "what nobody takes is received for ever");
        driver.wait(Some(Duration::ZERO), &mut events).unwrap();
    }
    other.write_all(b"hello").unwrap();
    wait_received(&mut driver, quiet);
    assert_eq!(driver.receive(quiet, &mut [0; 16]), Received::Bytes(5));
    peer.shutdown(Shutdown::Write).unwrap();
    let heard = receive_all(&mut driver, id, 5000);
    assert_eq!(heard.len(), said);
    assert!(heard.iter().enumerate().all(|(n, byte)| *byte == (n >> 4) as u8), "in order");
}

fn much_that_is_expected_arrives_in_order(mut driver: impl Driver<Queue>) {
    let said = noise(1, 600_000);
    for (from, to, room) in [(0, 1, 100), (0, 600_000, 65_536), (1, 500_000, 1000), (7, 8, 16)] {
        let (id, mut peer) = connect_one(&mut driver);
        let (text, mut heard) = (said.clone(), Vec::new());
        let writer = thread::spawn(move || {
            peer.write_all(&text)?;
            peer.shutdown(Shutdown::Write).map(|()| peer)
        });
        let mut buffer = vec![0; room];
        loop {
            driver.expect_much(id, (from..to).contains(&heard.len()));
            match driver.receive(id, &mut buffer) {
                Received::Bytes(count) => {
                    heard.extend_from_slice(&buffer[..count]);
                    if count < room {
                        wait_received(&mut driver, id);
                    }
                }
                Received::Nothing => wait_received(&mut driver, id),
                Received::Closed => break,
            }
        }
        assert!(heard == said, "expected from {from} to {to}, through {room} bytes");
        writer.join().unwrap().unwrap();
        driver.close(id);
    }
}

fn a_connection_closes_whatever_is_under_way(mut driver: impl Driver<Queue>) {
    for under_way in ["nothing", "much", "bytes to take", "a send begun", "a send that waits"] {
        let (id, mut peer) = connect_one(&mut driver);
        if under_way == "much" {
            driver.expect_much(id, true);
            driver.wait(Some(Duration::ZERO), &mut Vec::new()).unwrap();
        }
        if under_way == "bytes to take" {
            peer.write_all(b"not wanted").unwrap();
            wait_received(&mut driver, id);
        }
        if under_way.starts_with("a send") {
            assert!(goes_on(&driver.send(id, queue(&vec![b'x'; 20_000_000]))));
        }
        if under_way.ends_with("waits") {
            driver.wait(Some(Duration::ZERO), &mut Vec::new()).unwrap();
        }
        driver.close(id);
        assert_eq!(driver.receive(id, &mut [0; 4]), Received::Closed, "{under_way}");
        assert!(matches!(driver.send(id, queue(b"more")), Send::Failed), "{under_way}");
        let mut events = Vec::new();
        (0..3).for_each(|_| driver.wait(Some(Duration::ZERO), &mut events).unwrap());
        assert!(events.is_empty(), "{under_way}: {events:?}");
        let ended = peer.read_to_end(&mut Vec::new());
        let fine =
            ended.as_ref().is_ok_and(|heard| *heard < 20_000_000) || under_way == "bytes to take";
        assert!(fine, "{under_way}: the peer learns of it: {ended:?}");
    }
}

fn a_thousand_connections_are_served(mut driver: impl Driver<Queue>) {
    // Both ends are here, and the usual limit is 1024 descriptors.
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
    let mut peers = connect(&mut driver, 1000);
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
                let sent = driver.send(id, queue(&buffer[..count]));
                assert!(!matches!(sent, Send::Failed));
                answered += 1;
            }
        }
    }
    driver.wait(Some(Duration::ZERO), &mut events).unwrap();
    for (id, peer) in &mut peers {
        let mut answer = [0; size_of::<usize>()];
        peer.read_exact(&mut answer).unwrap();
        assert_eq!(usize::from_le_bytes(answer), id.0);
    }
}

fn an_id_is_not_reused_before_the_next_wait(mut driver: impl Driver<Queue>) {
    let (id, _peer) = connect_one(&mut driver);
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

fn another_thread_wakes_the_driver(mut driver: impl Driver<Queue>) {
    for _ in 0..3 {
        let waker = driver.waker();
        let other = thread::spawn(move || waker.wake());
        wait_for(&mut driver, |event| matches!(event, Event::Woken).then_some(()));
        other.join().unwrap();
    }
}

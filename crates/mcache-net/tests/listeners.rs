//! Listening sockets: several at once, and what becomes of socket files.

use std::fs;
use std::io::Read;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::time::Duration;

use mcache_net::{ListenAddress, Listeners, Wake, socket};

const BACKLOG: u32 = 16;

/// A path of this test's own, free when the test begins.
fn path(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("mcache-{}-{name}", std::process::id()));
    let _ = fs::remove_file(&path);
    path
}

fn unix(path: &std::path::Path, mode: u32) -> ListenAddress {
    ListenAddress::Unix { path: path.to_owned(), mode }
}

fn tcp(address: impl Into<SocketAddr>) -> ListenAddress {
    ListenAddress::Tcp(address.into())
}

/// Connects to `address` and returns what it says first.
fn hear(address: &ListenAddress) -> Vec<u8> {
    let mut heard = Vec::new();
    match address {
        ListenAddress::Tcp(address) => {
            TcpStream::connect(address).unwrap().read_to_end(&mut heard).unwrap()
        }
        ListenAddress::Udp(_) => panic!("{address} is not connected to"),
        ListenAddress::Unix { path, .. } => {
            UnixStream::connect(path).unwrap().read_to_end(&mut heard).unwrap()
        }
    };
    heard
}

#[test]
fn all_listeners_are_served_at_once() {
    let path = path("all");
    let wanted = [tcp((Ipv4Addr::LOCALHOST, 0)), tcp((Ipv6Addr::LOCALHOST, 0)), unix(&path, 0o700)];
    let mut listeners = Listeners::bind(&wanted, BACKLOG).unwrap();
    let addresses: Vec<_> = listeners.addresses().cloned().collect();
    for address in &addresses[..2] {
        assert!(matches!(address, ListenAddress::Tcp(address) if address.port() != 0));
    }
    let peers = std::thread::spawn(move || {
        addresses.iter().map(hear).collect::<Vec<_>>() // one after the other
    });
    let mut places = Vec::new();
    while places.len() < wanted.len() {
        match listeners.accept().unwrap() {
            Some(connection) => {
                places.push(connection.listener);
                socket::send_and_close(connection.socket, b"full\r\n");
            }
            None => listeners.wait(None).unwrap(),
        }
    }
    assert_eq!(peers.join().unwrap(), vec![b"full\r\n".to_vec(); 3]);
    places.sort_unstable(); // a peer may come before the one that came before it is accepted
    assert_eq!(places, [0, 1, 2]);
}

#[test]
fn one_port_serves_both_families() {
    let first = Listeners::bind(&[tcp((Ipv4Addr::UNSPECIFIED, 0))], BACKLOG).unwrap();
    let Some(ListenAddress::Tcp(bound)) = first.addresses().next() else {
        panic!("a TCP address was bound");
    };
    assert!(Listeners::bind(&[tcp((Ipv6Addr::UNSPECIFIED, bound.port()))], BACKLOG).is_ok());
}

#[test]
fn an_address_in_use_is_named() {
    let other = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = other.local_addr().unwrap();
    let error = Listeners::bind(&[tcp(address)], BACKLOG).err().unwrap();
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
    assert!(error.to_string().starts_with(&address.to_string()), "{error}");
}

#[test]
fn a_socket_file_has_its_mode_and_goes_with_its_listener() {
    for mode in [0o700, 0o770, 0o777, 0o666] {
        let path = path(&format!("mode-{mode:o}"));
        let listeners = Listeners::bind(&[unix(&path, mode)], BACKLOG).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, mode);
        drop(listeners);
        assert!(!path.exists());
    }
}

#[test]
fn a_socket_file_left_behind_is_replaced_and_another_file_is_not() {
    let path = path("stale");
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "std leaves the file behind, as a killed server does");
    let first = Listeners::bind(&[unix(&path, 0o700)], BACKLOG).unwrap();
    let error = Listeners::bind(&[unix(&path, 0o700)], BACKLOG).err().unwrap();
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse, "a server answers there");
    fs::remove_file(&path).unwrap();
    let second = Listeners::bind(&[unix(&path, 0o700)], BACKLOG).unwrap();
    drop(first);
    assert!(path.exists(), "the file is the second server's now");
    drop(second);

    fs::write(&path, b"precious").unwrap();
    assert!(Listeners::bind(&[unix(&path, 0o700)], BACKLOG).is_err());
    assert_eq!(fs::read(&path).unwrap(), b"precious");
    fs::remove_file(&path).unwrap();
}

#[test]
fn a_waker_ends_the_wait() {
    let mut listeners = Listeners::bind(&[tcp((Ipv4Addr::LOCALHOST, 0))], BACKLOG).unwrap();
    assert!(listeners.accept().unwrap().is_none());
    listeners.waker().wake();
    listeners.wait(Some(Duration::from_secs(20))).unwrap();
    assert!(listeners.accept().unwrap().is_none());
}

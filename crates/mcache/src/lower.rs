//! From what the user said to what the floors below are told: plain options, addresses resolved.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use mcache_base::limits::BUFFERED_MAX;
use mcache_net::ListenAddress;
use mcache_protocol::Protocols;
use mcache_store::eviction::policy;
use mcache_store::{EngineOptions, SEGMENT_CAPACITY_MIN};

use crate::failure::Failure;
use crate::logging;
use crate::options::ServerOptions;
use crate::settings::{Engine, Habits, ListenOn, MemoryFrom, Port, Settings};
use crate::tls::{Certificates, ClientCertificate};
use crate::users::Users;

/// Says in the log what is started, and which of the options change nothing.
pub fn report(settings: &Settings) {
    for (word, why) in settings.without_effect() {
        tracing::warn!("{word} has no effect here: {why}");
    }
    for (said, need) in settings.without_their_need() {
        tracing::warn!("{said} has no effect without {need}");
    }
    if settings.lets_nobody_in() {
        tracing::warn!(
            "clients have to show a certificate, and no -o ssl_ca_cert (tls-ca) says whose are \
             good: nobody gets in where it is demanded"
        );
    }
    if settings.memory_from == MemoryFrom::NoCgroup {
        tracing::warn!("--cap auto: nothing limits the memory of the cgroup; taking the default");
    }
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        memory = settings.memory,
        threads = settings.threads.count(),
        connections = settings.connections_max,
        engine = settings.engine.name(),
        eviction = settings.eviction,
        "starting"
    );
}

/// What the engine is told.
pub fn engine_options(settings: &Settings) -> Result<EngineOptions, Failure> {
    let policy = policy(settings.eviction).ok_or_else(|| Failure::usage("no such policy"))?;
    if settings.engine == Engine::Segment && settings.memory < SEGMENT_CAPACITY_MIN {
        let least = SEGMENT_CAPACITY_MIN >> 10;
        return Err(Failure::usage(format!(
            "--cap {}: should be at least {least}k",
            settings.memory
        )));
    }
    Ok(EngineOptions {
        capacity: settings.memory,
        item_size: settings.item_size,
        evict: settings.evictions,
        policy,
    })
}

/// What the server is told. Looks host names up, so it may wait for a name server.
pub fn server_options(settings: &Settings) -> Result<ServerOptions, Failure> {
    let spoken = listeners(settings)?;
    let own_protocols = spoken.iter().map(|(_, own)| own.protocols).collect();
    let client_certificates = spoken.iter().map(|(_, own)| own.asked).collect();
    let listeners = spoken.into_iter().map(|(address, _)| address).collect();
    Ok(ServerOptions {
        listeners,
        udp_allow: settings.udp_allow.clone(),
        protocols: settings.protocols,
        own_protocols,
        tls: tls(settings)?.map(Arc::new),
        client_certificates,
        authentication: settings.authentication(),
        users: Arc::new(users(settings)?),
        backlog: settings.backlog,
        io: settings.io,
        threads: settings.threads.count() as usize,
        pin_workers: settings.pin_workers,
        connections_max: settings.connections_max as usize,
        refuse_at_once: settings.maxconns_fast,
        buffered_max: match settings.read_buffers_max {
            0 => BUFFERED_MAX,
            bytes => bytes as usize,
        },
        requests_per_turn: settings.requests_per_turn as usize,
        idle: settings.idle,
        request_time: match settings.request_seconds {
            0 => None,
            seconds => Some(Duration::from_secs(seconds)),
        },
        strict_framing: settings.strict_framing,
        flush_allowed: settings.flush_enabled,
        watch_allowed: settings.watch_enabled,
        watch_log_bytes: settings.worker_watch_buffer as usize,
        watcher_buffer_bytes: settings.watcher_buffer as usize,
        settings_report: settings.each(),
        engine: settings.engine.name(),
        eviction: settings.eviction,
        prefix_delimiter: settings.stat_key_prefix,
        count_prefixes: settings.detail_enabled,
        for_tests: settings.relaxed_privileges,
        clock_origin_ms: None,
        handed_over: settings.takeover.is_some(),
        recovery_us: 0,
        set_verbosity: logging::set_verbosity,
    })
}

/// An address, and what is its own there.
type Spoken<A> = (A, Own);

/// What is a listener's own.
#[derive(Clone, Copy, Default)]
struct Own {
    /// The protocols spoken.
    protocols: Option<Protocols>,
    /// What its clients are asked for, if it has TLS.
    asked: Option<ClientCertificate>,
}

/// The certificates, as their files are now.
fn tls(settings: &Settings) -> Result<Option<Certificates>, Failure> {
    settings.tls_options().map(Certificates::read).transpose().map_err(Failure::usage)
}

/// Who may log in, as the files say now.
pub fn users(settings: &Settings) -> Result<Users, Failure> {
    let in_file = settings.users_file().map(Users::read).transpose().map_err(Failure::system)?;
    in_file.unwrap_or_default().with(&settings.users).map_err(Failure::usage)
}

/// Where to listen: the unix socket, and the ports unless the unix socket takes their place.
fn listeners(settings: &Settings) -> Result<Vec<Spoken<ListenAddress>>, Failure> {
    let mut addresses = Vec::new();
    // With a unix socket, a port is there only if it was asked for.
    let given = |names: &[&'static str]| match settings.unix_socket {
        None => true,
        Some(_) => {
            settings.habits == Habits::Mcache && names.iter().any(|name| settings.is_given(name))
        }
    };
    if let Some(path) = &settings.unix_socket {
        let path = std::path::absolute(path)
            .map_err(|error| Failure::system(format!("{}: {error}", path.display())))?;
        addresses.push((ListenAddress::Unix { path, mode: settings.unix_mask }, Own::default()));
    }
    if given(&["port", "listen"]) {
        let tcp = sockets(settings, settings.port)?;
        addresses.extend(tcp.into_iter().map(|(it, own)| (ListenAddress::Tcp(it), own)));
    }
    if given(&["udp_port"]) {
        let udp = sockets(settings, settings.udp_port)?;
        let without_tls = |own| Own { asked: None, ..own };
        addresses
            .extend(udp.into_iter().map(|(it, own)| (ListenAddress::Udp(it), without_tls(own))));
    }
    Ok(addresses)
}

/// The interfaces that `-l` names, with `port` where it names none; none if the port is off.
fn sockets(settings: &Settings, port: Port) -> Result<Vec<Spoken<SocketAddr>>, Failure> {
    let mut sockets = Vec::new();
    let Some(port) = port.to_bind() else { return Ok(sockets) };
    if settings.listen.is_empty() {
        let hosts = match settings.habits {
            Habits::Mcache => (Ipv4Addr::LOCALHOST, Ipv6Addr::LOCALHOST),
            Habits::Memcached => (Ipv4Addr::UNSPECIFIED, Ipv6Addr::UNSPECIFIED),
        };
        let own = Own { protocols: None, asked: settings.client_certificate(None) };
        push_both(hosts, port, own, &mut sockets);
    }
    for listener in &settings.listen {
        let asked = settings.client_certificate(listener.tls);
        let (port, own) =
            (listener.port.unwrap_or(port), Own { protocols: listener.protocols, asked });
        let all = (Ipv4Addr::UNSPECIFIED, Ipv6Addr::UNSPECIFIED);
        match &listener.host {
            None => push_both(all, port, own, &mut sockets),
            Some(host) => resolve(listener, host, (port, own), &mut sockets)?,
        }
    }
    Ok(sockets)
}

/// The same interface in both versions of IP; version 6 only where the system has it.
fn push_both(
    (v4, v6): (Ipv4Addr, Ipv6Addr),
    port: u16,
    own: Own,
    sockets: &mut Vec<Spoken<SocketAddr>>,
) {
    push(SocketAddr::from((v4, port)), own, sockets);
    if TcpListener::bind((v6, 0)).is_ok() {
        push(SocketAddr::from((v6, port)), own, sockets);
    }
}

fn resolve(
    listener: &ListenOn,
    host: &str,
    (port, own): (u16, Own),
    sockets: &mut Vec<Spoken<SocketAddr>>,
) -> Result<(), Failure> {
    if let Ok(address) = host.parse::<IpAddr>() {
        push(SocketAddr::from((address, port)), own, sockets);
        return Ok(());
    }
    let found = (host, port)
        .to_socket_addrs()
        .map_err(|error| Failure::system(format!("-l {listener}: {error}")))?;
    found.for_each(|address| push(address, own, sockets));
    Ok(())
}

fn push(address: SocketAddr, own: Own, sockets: &mut Vec<Spoken<SocketAddr>>) {
    if sockets.iter().all(|(other, _)| *other != address) {
        sockets.push((address, own));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Invocation;

    fn addresses(habits: Habits, line: &str) -> Vec<String> {
        let words = line.split_whitespace().map(Into::into);
        let Ok(Invocation::Serve(settings)) = Settings::from_command_line(habits, words) else {
            panic!("{line}");
        };
        let options = server_options(&settings).expect(line);
        // Whether version 6 is there depends on the machine.
        let shown = options.listeners.iter().enumerate().map(|(place, address)| {
            match options.protocols_at(place) {
                Protocols::Negotiated => address.to_string(),
                protocols => format!("{address} {protocols:?}"),
            }
        });
        shown.filter(|address| !address.contains('[')).collect()
    }

    #[test]
    fn listeners_have_tls_as_they_say() {
        use ClientCertificate::{Asked, NotAsked, Required};
        let certificate = concat!(env!("CARGO_MANIFEST_DIR"), "/../../conformance/tls/server.pem");
        let line = format!(
            "-Z -o ssl_chain_cert={certificate},ssl_verify_mode=1 -s /a/b -U 5 -p 1 \
             -l 127.0.0.1,notls:127.0.0.1:2,btls:127.0.0.1:3,mtls:127.0.0.1:4"
        );
        let words = line.split_whitespace().map(Into::into);
        let Ok(Invocation::Serve(settings)) = Settings::from_command_line(Habits::Mcache, words)
        else {
            panic!("{line}");
        };
        let options = server_options(&settings).expect(&line);
        let tcp = [Some(Asked), None, Some(NotAsked), Some(Required)];
        let all = [&[None], &tcp[..], &[None; 4]].concat();
        assert_eq!(options.client_certificates, all);
        for (place, asked) in all.into_iter().enumerate() {
            assert_eq!(options.tls_at(place).map(|(_, asked)| asked), asked);
        }
    }

    #[test]
    fn listeners_follow_the_habits() {
        use Habits::{Mcache, Memcached};
        let rows: &[(Habits, &str, &[&str])] = &[
            (Mcache, "", &["127.0.0.1:11211"]),
            (Memcached, "", &["0.0.0.0:11211"]),
            (Mcache, "-p 21400", &["127.0.0.1:21400"]),
            (Memcached, "-p -1", &["0.0.0.0:0"]),
            (Mcache, "-l *", &["0.0.0.0:11211"]),
            (Mcache, "-p 1 -l 127.0.0.1,127.0.0.2:2", &["127.0.0.1:1", "127.0.0.2:2"]),
            (Mcache, "-l 127.0.0.1:1,127.0.0.1 -p 1", &["127.0.0.1:1"]),
            (
                Mcache,
                "-B ascii -s /a/b -p 1 -l proto[binary]:127.0.0.1,tag_x_:127.0.0.2 -U 3",
                &[
                    "/a/b Ascii",
                    "127.0.0.1:1 Binary",
                    "127.0.0.2:1 Ascii",
                    "udp:127.0.0.1:3 Binary",
                    "udp:127.0.0.2:3 Ascii",
                ],
            ),
            (Mcache, "-s /a/b", &["/a/b"]),
            (Mcache, "-s /a/b -p 1", &["/a/b", "127.0.0.1:1"]),
            (Memcached, "-s /a/b -p 1", &["/a/b"]),
            (Mcache, "-s /a/b -p 0", &["/a/b"]),
            (Mcache, "-s /a/b -U 0", &["/a/b"]),
            (Mcache, "-s /a/b -U 2", &["/a/b", "udp:127.0.0.1:2"]),
            (Mcache, "-U 2", &["127.0.0.1:2", "udp:127.0.0.1:2"]),
            (Mcache, "-U -1", &["127.0.0.1:0", "udp:127.0.0.1:0"]),
            (Mcache, "-U 2 -p 1", &["127.0.0.1:1", "udp:127.0.0.1:2"]),
            (Mcache, "-U 2 -p 0", &["udp:127.0.0.1:2"]),
            (Memcached, "-U 2 -s /a/b", &["/a/b"]),
            (Memcached, "-p 0", &[]),
        ];
        for (habits, line, expected) in rows {
            assert_eq!(addresses(*habits, line), *expected, "{line}");
        }
    }
}

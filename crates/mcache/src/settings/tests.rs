//! Command lines and files to settings, or to the exact error.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mcache_protocol::Protocols;
use mcache_session::Authentication;
use mcache_store::SizeLimit;

use super::*;
use crate::failure::USAGE;
use crate::options::IdlePolicy;

fn invoke(habits: Habits, line: &str) -> Result<Invocation, Failure> {
    Settings::from_command_line(habits, line.split_whitespace().map(OsString::from))
}

fn settings(habits: Habits, line: &str) -> Settings {
    match invoke(habits, line) {
        Ok(Invocation::Serve(settings)) => *settings,
        other => panic!("{line}: {other:?}"),
    }
}

fn printed(habits: Habits, line: &str) -> String {
    match invoke(habits, line) {
        Ok(Invocation::Print(text)) => text,
        other => panic!("{line}: {other:?}"),
    }
}

/// One `name=value` per row: the setting's name and how it is shown.
fn shown(settings: &Settings, name: &str) -> String {
    let row = SETTINGS.iter().find(|row| row.name == name).expect(name);
    (row.show)(settings)
}

#[test]
fn command_lines_are_understood() {
    let rows = [
        ("-p 11300", "port=11300"),
        ("-p11300", "port=11300"),
        ("--port=11300", "port=11300"),
        ("--port 11300", "port=11300"),
        ("--por 11300", "port=11300"),
        ("-p -1", "port=-1"),
        ("-p 0 -s /tmp/socket", "port=0"),
        ("-U 0", "udp_port=0"),
        ("-m64", "memory=67108864"),
        ("-m 64m", "memory=67108864"),
        ("--cap 1048576", "memory=1048576"),
        ("--cap 3k", "memory=3072"),
        ("--cap auto -m 64", "memory=67108864"),
        ("--cap 2G", "memory=2147483648"),
        ("--cap 1g -m 64", "memory=67108864"),
        ("-m 64 --cap 1g", "memory=1073741824"),
        ("-I 2m", "item_size=2097152"),
        ("--max-val-size 1024", "item_size=1024"),
        ("--max_val_size 1024", "item_size=1024"),
        ("--max-val-size 0", "item_size=0"),
        ("-vvv", "verbosity=4"),
        ("-v -v", "verbosity=3"),
        ("--verbose", "verbosity=2"),
        ("--verbose=0", "verbosity=0"),
        ("-M", "evictions=off"),
        ("-F", "flush_enabled=no"),
        ("-dr", "daemon=yes"),
        ("-B binary", "protocols=binary"),
        ("-Y /a/b", "protocols=ascii"),
        ("-Y /a/b", "auth_file=/a/b"),
        ("-S --sasl-users /a/b", "protocols=binary"),
        ("-a 770", "unix_mask=770"),
        ("-l 127.0.0.1", "listen=127.0.0.1"),
        ("-l 127.0.0.1,[::1]:11300;localhost:1", "listen=127.0.0.1,[::1]:11300,localhost:1"),
        ("-l 127.0.0.1 -l ::1 -l 127.0.0.1", "listen=127.0.0.1,::1"),
        ("127.0.0.1:11300", "listen=127.0.0.1:11300"),
        ("--timeout 3", "idle=3"),
        ("-o idle_timeout=3", "idle=3"),
        ("-o slab_automove,idle_timeout=3,modern", "idle=3"),
        ("-o slab_automove=2 -o hashpower=20", "hashpower=20"),
        ("-o slab_automove=2", "slab_automove=2"),
        ("-o no_slab_automove", "slab_automove=0"),
        ("-o slab_chunk_max=16", "slab_chunk_max=16384"),
        ("-f 1.08", "growth_factor=1.08"),
        ("--eviction fifo", "eviction=fifo"),
        ("--engine simple", "engine=simple"),
        ("-u nobody", "user=nobody"),
        ("-P /tmp/pid", "pid_file=/tmp/pid"),
    ];
    for (line, expected) in rows {
        let (name, value) = expected.split_once('=').expect("name=value");
        assert_eq!(shown(&settings(Habits::Mcache, line), name), value, "{line}");
    }
}

#[test]
fn bad_command_lines_are_refused_in_one_clear_line() {
    let rows = [
        ("--bogus", USAGE, "unknown option --bogus: --help lists them"),
        ("-z", USAGE, "unknown option -z: --help lists them"),
        (
            "--disable-",
            USAGE,
            "--disable- could be --disable-evictions or --disable-cas or --disable-flush-all or \
                               --disable-dumping or --disable-watch",
        ),
        ("-p", USAGE, "-p: needs a value: PORT"),
        ("-p abc", USAGE, "-p abc: should be a port from 1 to 65535, 0 for none or -1 for any"),
        ("-p 65536", USAGE, "-p 65536: should be a port from 1 to 65535, 0 for none or -1 for any"),
        ("-p 0", USAGE, "nothing to listen on: port 0 and no unix socket"),
        ("-U x", USAGE, "-U x: should be a port from 1 to 65535, 0 for none or -1 for any"),
        ("--udp-allow 10", USAGE, "--udp-allow 10: should be addresses, or networks as 10.0.0.0/8"),
        ("-m 0", USAGE, "-m 0: should be a number from 1 to 1099511627776"),
        (
            "--cap 0",
            USAGE,
            "--cap 0: should be a number of bytes above 0, with k, m or g after it \
                            if so meant",
        ),
        (
            "--cap 99999999999999999999",
            USAGE,
            "--cap 99999999999999999999: should be a number of \
                            bytes above 0, with k, m or g after it if so meant",
        ),
        ("-c 0", USAGE, "-c 0: should be a number from 1 to 10000000"),
        ("-t -1", USAGE, "-t -1: should be a number from 1 to 1024, or auto"),
        ("-t +4", USAGE, "-t +4: should be a number from 1 to 1024, or auto"),
        ("-R 0", USAGE, "-R 0: should be a number from 1 to 1000000"),
        ("-a 888", USAGE, "-a 888: should be permissions in octal, from 0 to 777"),
        ("-B foo", USAGE, "-B foo: should be one of auto, binary, or ascii"),
        ("-I 1023", USAGE, "Item max size cannot be less than 1024 bytes."),
        ("-I 2g -m 8000", USAGE, "Cannot set item size limit higher than a gigabyte."),
        ("-I 2m -m 3", USAGE, "Cannot set item size limit higher than 1/2 of memory max."),
        ("-f 1", USAGE, "-f 1: should be a number above 1"),
        ("-f nan", USAGE, "-f nan: should be a number above 1"),
        (
            "--eviction best",
            USAGE,
            "--eviction best: should be one of heat, s3fifo, lru, mru, lfu, fifo, \
             sieve, random",
        ),
        ("--engine best", USAGE, "--engine best: should be one of simple, segment"),
        ("-l host:x", USAGE, "-l host:x: the port should be from 0 to 65535"),
        ("nonsense/", USAGE, "nonsense/: should be an option or ADDRESS:PORT"),
        ("-t 4 -N 8", USAGE, "Number of napi_ids(8) cannot be greater than number of threads(4)"),
        (
            "-o hot_lru_pct=50,warm_lru_pct=50",
            USAGE,
            "hot_lru_pct + warm_lru_pct cannot be more than 80% combined",
        ),
        ("-o idle_timeout", USAGE, "-o idle_timeout: needs a value"),
        ("-o idle_timeout=x", USAGE, "-o idle_timeout x: should be a number from 0 to 4294967295"),
        ("-o modern=1", USAGE, "-o modern: takes no value"),
        ("-o modern,bogus=1,more", 1, "Illegal suboption \"bogus=1\""),
        ("-o proxy_uring", USAGE, "-o proxy_uring is not supported yet"),
        ("-o ext_path=/tmp/file:1g", USAGE, "-o ext_path is not supported yet"),
        ("-d=x", USAGE, "unexpected argument for option '-d': \"x\""),
        ("--daemon=x", USAGE, "unexpected argument for option '--daemon': \"x\""),
    ];
    for (line, exit_code, message) in rows {
        let failure = invoke(Habits::Mcache, line).expect_err(line);
        assert_eq!((failure.exit_code, failure.message.as_str()), (exit_code, message), "{line}");
        assert!(!failure.message.contains('\n'), "{line}");
    }
}

#[test]
fn nobody_gets_in_past_a_login() {
    let rows = [
        ("-Y a -l proto[binary]:::1", USAGE, "-l proto[...]: nobody could log in there"),
        ("-Y a -U 1", USAGE, "Cannot enable UDP while peers have to log in."),
        ("-Y a -S", USAGE, "-S and -Y: peers log in by the binary or by the text protocol"),
        (
            "-S --sasl-users a -B auto",
            USAGE,
            "You cannot allow the ASCII protocol while using SASL.",
        ),
    ];
    for (line, exit_code, message) in rows {
        let failure = invoke(Habits::Mcache, line).expect_err(line);
        assert_eq!((failure.exit_code, failure.message.as_str()), (exit_code, message), "{line}");
    }
}

#[test]
fn tls_is_had_as_it_was_said_or_not_at_all() {
    let good = "-Z -o ssl_chain_cert=/a/b";
    let rows = [
        ("-o ssl_verify_mode=1", "tls_verify=1"),
        ("-o ssl_verify_mode=2", "tls_verify=3"),
        ("--tls-verify require", "tls_verify=3"),
        ("-o ssl_keyformat=2", "tls_key_format=2"),
        ("-o ssl_keyformat=PEM", "tls_key_format=1"),
        ("-o ssl_min_version=3", "tls_oldest=tlsv1.3"),
        ("-o ssl_ciphers=ECDHE-RSA-AES128-GCM-SHA256", "tls_ciphers=ECDHE-RSA-AES128-GCM-SHA256"),
        ("-o ssl_wbuf_size=64", "tls_write_buffer=65536"),
        ("-o ssl_key=/a/c,ssl_session_cache", "tls_key=/a/c"),
        ("-l notls:127.0.0.1,mtls:[::1]:1", "listen=notls:127.0.0.1,mtls:[::1]:1"),
        ("--tls-handshake-timeout 3600", "tls_handshake_seconds=3600"),
    ];
    for (line, expected) in rows {
        let settings = settings(Habits::Mcache, &format!("{good} {line}"));
        let (name, value) = expected.split_once('=').expect(line);
        assert_eq!(shown(&settings, name), value, "{line}");
    }
    let rows = [
        ("-Z", "-Z: no certificate: -o ssl_chain_cert=FILE names it"),
        ("-Z -s /a/b -p 0 -o ssl_chain_cert=/a", "You cannot enable SSL without a TCP port."),
        ("-l mtls:::1", "'mtls' option is valid only when SSL is enabled"),
        ("-l btls:::1", "'btls' option is valid only when SSL is enabled"),
        (
            "-o ssl_verify_mode=4",
            "-o ssl_verify_mode 4: should be 0 (none), 1 (request), 2 or 3 (require)",
        ),
        (
            "-o ssl_keyformat=ENGINE",
            "-o ssl_keyformat ENGINE: should be 1 (PEM) or 2 (DER); there are no engines",
        ),
        (
            "-o ssl_min_version=1",
            "-o ssl_min_version 1: should be 2 (TLS 1.2) or 3 (TLS 1.3): older ones are not spoken",
        ),
        (
            "--tls-handshake-timeout 0",
            "--tls-handshake-timeout 0: should be a number from 1 to 3600",
        ),
    ];
    for (line, message) in rows {
        let failure = invoke(Habits::Mcache, line).expect_err(line);
        assert_eq!((failure.exit_code, failure.message.as_str()), (USAGE, message), "{line}");
    }
    let failure = invoke(Habits::Mcache, "-o ssl_ciphers=HIGH").expect_err("a set of OpenSSL's");
    assert!(failure.message.starts_with("-o ssl_ciphers HIGH: HIGH is none of TLS_AES_256_GCM"));
}

#[test]
fn a_level_without_its_equals_sign_is_named_whole() {
    for (line, message) in [
        ("-v3", "-v3: should be -v, or --verbose=3"),
        ("-v0", "-v0: should be -v, or --verbose=0"),
        ("-vv12", "-v12: should be -v, or --verbose=12"),
        ("-M3", "unknown option -3: --help lists them"),
    ] {
        let failure = invoke(Habits::Mcache, line).expect_err(line);
        assert_eq!((failure.exit_code, failure.message.as_str()), (USAGE, message), "{line}");
    }
}

#[test]
fn gigabytes_are_not_taken_for_megabytes() {
    let failure = invoke(Habits::Mcache, "-m 2g").expect_err("a unit that -m does not have");
    assert_eq!(failure.message, "-m 2g: should be a number of megabytes; --cap takes 2g");
}

#[test]
fn the_name_decides_the_defaults() {
    for (program, habits) in [
        ("mcache", Habits::Mcache),
        ("/usr/bin/mcache", Habits::Mcache),
        ("/usr/bin/memcached", Habits::Memcached),
        ("./memcached-debug", Habits::Memcached),
        ("memcached/mcache", Habits::Mcache),
        ("", Habits::Mcache),
    ] {
        assert_eq!(Habits::of(Path::new(program)), habits, "{program}");
    }
    let mcache = settings(Habits::Mcache, "");
    assert_eq!(mcache.memory, 1 << 30);
    assert_eq!(mcache.item_size, SizeLimit::Value(u64::MAX));
    assert_eq!(mcache.idle, IdlePolicy::MakeRoom(Duration::from_secs(5)));
    let memcached = settings(Habits::Memcached, "");
    assert_eq!(memcached.memory, 64 << 20);
    assert_eq!(memcached.item_size, SizeLimit::Item(1 << 20));
    assert_eq!(memcached.idle, IdlePolicy::Keep);
    assert_eq!(memcached.protocols, Protocols::Negotiated);
    let idle = |line| settings(Habits::Mcache, line).idle;
    assert_eq!(idle("--timeout 5"), IdlePolicy::Close(Duration::from_secs(5)));
    assert_eq!(idle("--timeout 0"), IdlePolicy::Keep);
}

#[test]
fn texts_are_what_clients_parse() {
    for habits in [Habits::Mcache, Habits::Memcached] {
        assert_eq!(printed(habits, "-V"), "memcached 1.6.45\n");
        let help = printed(habits, "-h");
        assert_eq!(help, printed(habits, "--help"));
        assert!(help.starts_with(&printed(habits, "--version")));
        assert!(help.contains("\nusage: ") && help.contains("unix-socket"));
        for promise in ["ext_path", "proxy_config"] {
            assert!(!help.to_lowercase().contains(promise), "{promise}");
        }
        assert!(help.lines().all(|line| line.chars().count() <= 100), "{help}");
        assert!(printed(habits, "-i").contains("MIT License"));
    }
    assert_eq!(printed(Habits::Memcached, "--version"), "memcached 1.6.45\n");
    assert_eq!(printed(Habits::Memcached, "--enable-ssl --version"), "memcached 1.6.45\n");
    let version = format!("mcache {} (memcached 1.6.45)\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(printed(Habits::Mcache, "--version"), version);
}

#[test]
fn stats_settings_has_memcacheds_names_in_its_order() {
    let lines = settings(Habits::Memcached, "-p 11300 -M -o no_modern").each();
    let text: Vec<_> = lines.iter().map(|line| format!("{} {}", line.name, line.value)).collect();
    let expected = "maxbytes 67108864,maxconns 1024,tcpport 11300,udpport 0,inter NULL,\
        verbosity 0,oldest 0,evictions off,domain_socket NULL,umask 700,shutdown_command no,\
        growth_factor 1.25,chunk_size 48,num_threads 4,num_threads_per_udp 1,stat_key_prefix :,\
        detail_enabled no,reqs_per_event 20,cas_enabled yes,tcp_backlog 1024,\
        binding_protocol auto-negotiate,auth_enabled_sasl no,auth_enabled_ascii no,\
        item_size_max 1048576,maxconns_fast no,hashpower_init 0,slab_reassign no,\
        slab_automove 0,slab_automove_ratio 0.80,slab_automove_window 10,slab_chunk_max 1048576,\
        lru_crawler no,lru_crawler_sleep 100,lru_crawler_tocrawl 0,tail_repair_time 0,\
        flush_enabled yes,dump_enabled yes,hash_algorithm jenkins,lru_maintainer_thread no,\
        lru_segmented no,hot_lru_pct 20,warm_lru_pct 40,hot_max_factor 0.20,\
        warm_max_factor 2.00,temp_lru no,temporary_ttl 61,idle_timeout 0,\
        watcher_logbuf_size 262144,worker_logbuf_size 65536,read_buf_mem_limit 0,track_sizes no,\
        inline_ascii_response no,ext_item_size 512,ext_item_age 4294967295,ext_low_ttl 0,\
        ext_recache_rate 2000,ext_wbuf_size 4194304,ext_compact_under 0,ext_drop_under 0,\
        ext_max_sleep 1000000,ext_max_frag 0.80,slab_automove_freeratio 0.010,\
        ext_drop_unread no,ssl_enabled no,ssl_chain_cert (null),ssl_key (null),ssl_verify_mode 0,\
        ssl_keyformat 1,ssl_ciphers NULL,ssl_ca_cert NULL,ssl_wbuf_size 16384,\
        ssl_session_cache no,ssl_kernel_tls no,ssl_min_version tlsv1.2,num_napi_ids 0,\
        memory_file (null),client_flags_size 4";
    assert_eq!(text.join(","), expected);
}

#[test]
fn options_without_effect_are_named_as_they_were_said() {
    let file = File::new("no-effect", "\nslab-growth-factor = 1.08\n");
    let line = "-n 64 -o hashpower=20,no_lru_crawler -p 1 --config";
    let settings = settings(Habits::Mcache, &format!("{line} {}", file.0.display()));
    let words: Vec<_> = settings.without_effect().map(|(word, _)| word.to_owned()).collect();
    let in_file = format!("{}:2: slab-growth-factor", file.0.display());
    assert_eq!(words, [&in_file, "-n", "-o hashpower", "-o no_lru_crawler"]);
}

#[test]
fn options_that_lack_another_are_named() {
    let lacking: [(&str, &[_]); 6] = [
        ("-o ssl_chain_cert=/a --tls-verify 1", &["-o ssl_chain_cert", "--tls-verify"]),
        ("-Z -o ssl_chain_cert=/a --tls-verify 1", &[]),
        ("--sasl-users /a --after-reboot cold -a 770", &["--sasl-users", "--after-reboot", "-a"]),
        ("-S --sasl-users /a", &[]),
        ("-e /a --after-reboot cold", &[]),
        ("-s /a -a 770", &[]),
    ];
    for (line, words) in lacking {
        let settings = settings(Habits::Mcache, line);
        let named: Vec<_> = settings.without_their_need().map(|(word, _)| word).collect();
        assert_eq!(named, words, "{line}");
    }
}

#[test]
fn listeners_that_let_nobody_in_are_known() {
    for (line, expected) in [
        ("", false),
        ("-o ssl_verify_mode=2", true),
        ("-o ssl_verify_mode=1", false),
        ("-o ssl_verify_mode=2,ssl_ca_cert=/b", false),
        ("-o ssl_verify_mode=2 -l notls:::1", false),
        ("-l mtls:::1", true),
        ("-l mtls:::1 -o ssl_ca_cert=/b", false),
    ] {
        let line = format!("-Z -o ssl_chain_cert=/a {line}");
        assert_eq!(settings(Habits::Mcache, &line).lets_nobody_in(), expected, "{line}");
    }
}

#[test]
fn what_only_a_restart_changes_is_known() {
    let running = settings(Habits::Mcache, "-m 64 -t 2 -p 1");
    for (line, changed) in [
        ("-m 64 -t 2 -p 1", &[][..]),
        ("-m 128 -t 2 -p 1", &[]),
        ("-m 64 -t 3 -p 2", &["port", "threads"]),
        ("-m 64 -t 2 -p 1 -o track_sizes -F", &["disable-flush-all", "-o track_sizes"]),
    ] {
        let now = settings(Habits::Mcache, line);
        assert_eq!(running.fixed_and_changed(&now), changed, "{line}");
    }
}

/// The settings of the sample of a file in a document.
fn sample(page: &str) -> Settings {
    let sample = page.split_once("```toml\n").and_then(|(_, rest)| rest.split_once("```"));
    let sample = sample.expect("a sample").0;
    let file = File::new(&format!("sample{}", sample.len()), sample);
    settings(Habits::Mcache, &format!("--config {}", file.0.display()))
}

#[test]
fn the_documents_samples_of_a_file_are_understood() {
    let settings = sample(include_str!("../../../../docs/operating.md"));
    assert_eq!(shown(&settings, "memory"), "268435456");
    assert_eq!(shown(&settings, "track_sizes"), "yes");
    let settings = sample(include_str!("../../../../docs/security.md"));
    let names: Vec<_> = settings.users.iter().map(|user| user.name.as_str()).collect();
    assert_eq!(names, ["app", "ops"]);
}

#[test]
fn defaults_are_said_as_they_could_be_said() {
    let rows = [
        ("memory", "1024", "64"),
        ("item_size", "--max-val-size 0", "1048576"),
        ("idle", "", "0"),
        ("watcher_buffer", "256", "256"),
        ("evictions", "off", "off"),
        ("listen", "", ""),
    ];
    for (name, mcache, memcached) in rows {
        let row = SETTINGS.iter().find(|row| row.name == name).expect(name);
        let said = |habits| row.default_said(habits).unwrap_or_default();
        assert_eq!([said(Habits::Mcache), said(Habits::Memcached)], [mcache, memcached], "{name}");
    }
}

#[test]
fn the_table_is_sound() {
    let mut words = HashSet::new();
    let mut stats = HashSet::new();
    for row in SETTINGS {
        assert!(row.about.trim().ends_with('.'), "{}", row.name);
        assert!(row.stat.is_none_or(|stat| stats.insert(stat)), "{}", row.name);
        assert!(row.no_effect.is_none() || !row.spellings.is_empty(), "{}", row.name);
        for habits in [Habits::Mcache, Habits::Memcached] {
            assert!(!(row.show)(&Settings::defaults(habits)).is_empty(), "{}", row.name);
        }
    }
    let spelled = SETTINGS.iter().flat_map(|row| row.spellings).flat_map(|it| it.words);
    let not_yet = NOT_YET.iter().flat_map(|it| it.words);
    for word in spelled.chain(not_yet).chain(&["-h", "--help", "-V", "--version", "-i", "-o"]) {
        assert!(words.insert(word), "{word} is declared twice");
        let shape = word.strip_prefix("-o ").or(word.strip_prefix("--")).unwrap_or(&word[1..]);
        assert!(shape.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c)), "{word}");
        assert!(word.len() == 2 || word.starts_with("--") || word.starts_with("-o "), "{word}");
    }
    for habits in [Habits::Mcache, Habits::Memcached] {
        assert_eq!(Settings::defaults(habits).check(), Ok(()));
    }
}

/// A file that is removed when the test ends.
struct File(PathBuf);

impl File {
    fn new(name: &str, text: &str) -> Self {
        let name = format!("mcache-settings-{}-{name}.toml", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).expect("a temporary file");
        Self(path)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn files_are_read_and_the_command_line_wins() {
    let file = File::new(
        "good",
        "# a comment\nport = 11300\ncap = \"2m\"\nlisten = [\"127.0.0.1\", \"[::1]:11301\"]\n\
         verbose = 2\ndisable-evictions = true\ndaemon = false\nmax_val_size = 100\n\
         slab-growth-factor = 1.08\nextended = \"idle_timeout=7,no_modern\"\n",
    );
    let line = format!("-p 11400 -v --config {} -l ::1", file.0.display());
    let settings = settings(Habits::Mcache, &line);
    for (name, value) in [
        ("port", "11400"),
        ("memory", "2097152"),
        ("listen", "::1"),
        ("verbosity", "2"), // -v over the default, not over the file
        ("evictions", "off"),
        ("daemon", "no"),
        ("item_size", "100"),
        ("growth_factor", "1.08"),
        ("idle", "7"),
    ] {
        assert_eq!(shown(&settings, name), value, "{name}");
    }
}

#[test]
fn bad_files_are_refused_with_the_line() {
    let rows = [
        ("port = 1\nbogus = 1\n", USAGE, "2: bogus: unknown setting"),
        ("config = \"other\"\n", USAGE, "1: config: unknown setting"),
        ("p = 1\n", USAGE, "1: p: unknown setting"),
        (
            "port = \"x\"\n",
            USAGE,
            "1: port x: should be a port from 1 to 65535, 0 for none or -1 for any",
        ),
        ("port = true\n", USAGE, "1: port: should be a text or a number"),
        ("daemon = 1\n", USAGE, "1: daemon: should be true or false"),
        ("[server]\nport = 1\n", USAGE, "1: server: should not be a table"),
        ("extended = \"bogus\"\n", 1, "1: extended: Illegal suboption \"bogus\""),
        ("\nport 1\n", USAGE, "2: key with no value, expected `=`"),
    ];
    for (index, (text, exit_code, message)) in rows.into_iter().enumerate() {
        let file = File::new(&format!("bad{index}"), text);
        let path = file.0.display();
        let failure = invoke(Habits::Mcache, &format!("--config {path}")).expect_err(text);
        assert_eq!(failure.message, format!("{path}:{message}"), "{text}");
        assert_eq!(failure.exit_code, exit_code, "{text}");
    }
    let file = File::new("overruled", "port = 70000\n");
    let line = format!("-p 1 --config {}", file.0.display());
    assert!(invoke(Habits::Mcache, &line).is_err(), "what is overruled has to be right too");
    let failure = invoke(Habits::Mcache, "--config /nowhere/at/all").expect_err("no such file");
    assert_eq!(failure.exit_code, USAGE);
    assert_eq!(failure.message, "/nowhere/at/all: No such file or directory (os error 2)");
}

const HASH: &str = "$argon2id$v=19$m=64,t=1,p=1$MDEyMzQ1Njc4OWFiY2RlZg$\
                    OWJiYjYyYmJhOGM1YmE5ZGE2OGUyZDQ1ZjE4YjI";

#[test]
fn users_with_rights_stand_in_the_file() {
    let text = format!(
        "port = 5\n[[user]]\nname = \"app\"\npassword = \"{HASH}\"\nkeys = [\"a:\", \"b\"]\n\
         rights = [\"read\", \"admin\"]\n[[user]]\nname = \"ops\"\npassword = \"{HASH}\"\n\
         certificate = \"URI:x:y\"\n"
    );
    let file = File::new("users", &text);
    let tls = "-Z -o ssl_chain_cert=/a,ssl_ca_cert=/b -l 127.0.0.1,mtls:127.0.0.1:3";
    let settings = settings(Habits::Mcache, &format!("{tls} --config {}", file.0.display()));
    let [app, ops] = &settings.users[..] else { panic!("{:?}", settings.users) };
    let keys = app.keys.as_ref().map(|keys| keys.join(" "));
    assert_eq!((app.name.as_str(), keys.as_deref()), ("app", Some("a: b")));
    assert_eq!(app.rights.names().collect::<Vec<_>>(), ["read", "admin"]);
    assert_eq!(ops.rights.names().collect::<Vec<_>>(), ["read", "write"]);
    assert_eq!(ops.certificate.as_ref().map(ToString::to_string).as_deref(), Some("URI:x:y"));
    assert_eq!(ops.keys, None);
    assert_eq!(settings.authentication(), Authentication::Either);
    assert!(!format!("{settings:?}").contains("argon2"), "a hash is not shown");
}

#[test]
fn mistakes_about_users_are_refused_with_the_line() {
    let named = format!("[[user]]\nname = \"app\"\npassword = \"{HASH}\"\n");
    let more = |text: &str| format!("{named}{text}\n");
    let certified = |name: &str| format!("[[user]]\nname = \"{name}\"\ncertificate = \"x\"\n");
    let no_name = "should have no colon, no space and no control characters";
    let rows = [
        ("[user]\nname = \"a\"\n".to_owned(), "1: user: should be tables, each begun by [[user]]"),
        (
            "user = \"nobody\"\n".to_owned(),
            "1: user: should be tables of users: whom to become is said by -u",
        ),
        ("user = [1]\n".to_owned(), "1: user: should be a table, begun by [[user]]"),
        ("\n[[user]]\nrights = []\n".to_owned(), "2: user: should have a name"),
        ("[[user]]\nname = \"a\"\n".to_owned(), "1: user: should have a password or a certificate"),
        (named.clone() + &named, "4: user: stands twice"),
        (certified("a") + &certified("b"), "4: user: has the certificate of another"),
        ("[[user]]\nname = \"a:b\"\n".to_owned(), &format!("2: user.name: {no_name}")),
        ("[[user]]\nname = \"\"\n".to_owned(), &format!("2: user.name: {no_name}")),
        ("[[user]]\nname = [\"a\"]\n".to_owned(), "2: user.name: should be a text"),
        (
            "[[user]]\npassword = \"secret\"\n".to_owned(),
            "2: user.password: should be a hash as `mcache passwd` writes it",
        ),
        (
            more("certificate = \"DNS:\""),
            "4: user.certificate: should be a name, DNS:NAME or URI:NAME",
        ),
        (more("keys = []"), "4: user.keys: should be 1 to 64 texts of 1 to 250 bytes"),
        (more("keys = [\"\"]"), "4: user.keys: should be 1 to 64 texts of 1 to 250 bytes"),
        (more("keys = [1]"), "4: user.keys: should be texts"),
        (more("rights = [\"reed\"]"), "4: user.rights: should be some of read, write and admin"),
        (more("right = []"), "4: user.right: unknown setting"),
    ];
    for (index, (text, message)) in rows.iter().enumerate() {
        let file = File::new(&format!("users{index}"), text);
        let path = file.0.display();
        let failure = invoke(Habits::Mcache, &format!("--config {path}")).expect_err(text);
        assert_eq!(failure.message, format!("{path}:{message}"), "{text}");
        assert_eq!(failure.exit_code, USAGE, "{text}");
    }

    let file = File::new("certified", &certified("app"));
    let nobody = "[[user]] certificate: no client is asked for one: it takes enable-ssl, tls-ca, \
                  and tls-verify or a listener mtls:";
    for (line, message) in [
        ("", Some(nobody)),
        ("-Z -o ssl_chain_cert=/a,ssl_ca_cert=/b", Some(nobody)),
        ("-Z -o ssl_chain_cert=/a,ssl_verify_mode=1", Some(nobody)),
        ("-Z -o ssl_chain_cert=/a,ssl_ca_cert=/b,ssl_verify_mode=1 -l notls:::1", Some(nobody)),
        ("-Z -o ssl_chain_cert=/a,ssl_ca_cert=/b,ssl_verify_mode=1", None),
        ("-Z -o ssl_chain_cert=/a,ssl_ca_cert=/b -l mtls:::1", None),
        (
            "-Z -o ssl_chain_cert=/a,ssl_ca_cert=/b -l mtls:::1 -U 1",
            Some("Cannot enable UDP while peers have to log in."),
        ),
    ] {
        let line = format!("--config {} {line}", file.0.display());
        let failure = invoke(Habits::Mcache, &line).err();
        assert_eq!(failure.as_ref().map(|it| it.message.as_str()), message, "{line}");
    }
}

//! What users may ask: every command of the table under every set of rights, in every spelling.

use std::sync::Arc;

use mcache_base::limits::{OUTPUT_HIGH_WATER, REQUEST_BUFFERED_MAX};
use mcache_base::operation::StoreMode;
use mcache_base::{ClassCounters, Counters, Now};
use mcache_conformance::Quiet;
use mcache_conformance::frame::frame;
use mcache_protocol::verbs::{Operation, Shape, VERBS, Verb};
use mcache_protocol::{Output, Protocols, Rights};
use mcache_session::{Authentication, Context, Events, Grant, Next, Prefixes, Session};
use mcache_store::eviction::POLICIES;
use mcache_store::{EngineOptions, SimpleStorageEngine, SizeLimit, StorageEngine};

const REFUSED: &str = "CLIENT_ERROR unauthorized\r\n";

/// Status 0x20 of the binary protocol, and its words.
const REFUSED_STATUS: u8 = 0x20;

/// A cache with one item, `a:k`, whose value is a number.
struct Cache {
    engine: Arc<SimpleStorageEngine>,
    counters: Counters,
    classes: ClassCounters,
    prefixes: Prefixes,
    host: Quiet,
}

struct Peer<'c> {
    cache: &'c Cache,
    session: Session<SimpleStorageEngine>,
    pending: Vec<u8>,
}

impl Cache {
    fn new() -> Self {
        let options = EngineOptions {
            capacity: 8 << 20,
            item_size: SizeLimit::Item(1 << 20),
            evict: true,
            policy: &POLICIES[0],
        };
        let cache = Self {
            engine: Arc::new(SimpleStorageEngine::new(&options)),
            counters: Counters::default(),
            classes: ClassCounters::default(),
            prefixes: Prefixes::new(b':', false),
            host: Quiet::new(),
        };
        cache.anybody().ask(b"ms a:k 1 E9\r\n5\r\n");
        cache
    }

    /// A peer that may ask anything.
    fn anybody(&self) -> Peer<'_> {
        let session = Session::new(Protocols::Negotiated, Authentication::None);
        Peer { cache: self, session, pending: Vec::new() }
    }

    fn user(&self, grant: &Arc<Grant>) -> Peer<'_> {
        let mut session = Session::new(Protocols::Negotiated, Authentication::Either);
        session.admit(Some(grant.clone()));
        Peer { cache: self, session, pending: Vec::new() }
    }

    /// What the item is, and what the cache is otherwise.
    fn state(&self) -> String {
        self.anybody().tells("mg a:k v c t f\r\nget c:k\r\n")
    }
}

impl Peer<'_> {
    /// The answer to bytes; empty if what comes next is awaited before that.
    fn ask(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.pending.extend_from_slice(bytes);
        let (mut access, cache) = (self.cache.engine.access(), self.cache);
        let mut context = Context {
            engine: &*cache.engine,
            access: &mut access,
            now: Now { clock_ms: 100_000, unix: 1_800_000_000 },
            counters: &cache.counters,
            classes: &cache.classes,
            prefixes: &cache.prefixes,
            host: &cache.host,
            events: Events::NOBODY,
            requests_per_turn: 20,
            output_high_water: OUTPUT_HIGH_WATER,
        };
        let mut out = Output::default();
        loop {
            let served = self.session.serve(&self.pending, &mut out, &mut context);
            self.pending.drain(..served.consumed);
            match served.next {
                Next::Turn => {}
                Next::Discard => self.session.go_on(None),
                Next::Watch(_) => out.push(b"OK\r\n"),
                Next::Receive(_) | Next::Send => break,
                Next::Close | Next::Abort | Next::Login => break,
            }
            if matches!(served.next, Next::Watch(_)) {
                break;
            }
        }
        out.bytes().clone()
    }

    fn tells(&mut self, text: &str) -> String {
        String::from_utf8(self.ask(text.as_bytes())).unwrap()
    }

    /// The same, byte by byte.
    fn tells_slowly(&mut self, text: &str) -> String {
        text.bytes().map(|byte| String::from_utf8(self.ask(&[byte])).unwrap()).collect()
    }
}

fn grant(rights: Rights, prefixes: &[&str]) -> Arc<Grant> {
    let prefixes = prefixes.iter().map(|prefix| prefix.as_bytes().to_vec()).collect::<Vec<_>>();
    Arc::new(Grant::new(rights, Some(prefixes).filter(|all| !all.is_empty())))
}

/// Every set of rights.
fn all_rights() -> Vec<Rights> {
    let mut sets = vec![Rights::NONE];
    for (_, right) in Rights::NAMES {
        sets.extend(sets.clone().iter().map(|set| set.with(*right)));
    }
    sets
}

/// A command about `key`, and how it looks if no answer is wanted. A new shape needs a line here.
fn text(verb: &Verb, key: &str) -> (String, Option<String>) {
    let word = verb.word;
    let line = |rest: &str, noreply: bool| {
        let said = if noreply { " noreply" } else { "" };
        format!("{word}{rest}{said}\r\n")
    };
    let both = |rest: &str| (line(rest, false), Some(line(rest, true)));
    match verb.shape {
        Shape::Keys { .. } | Shape::Meta => (line(&format!(" {key}"), false), None),
        Shape::ExptimeKeys { .. } => (line(&format!(" 0 {key}"), false), None),
        Shape::Storage { compare } => {
            let cas = if compare { " 9" } else { "" };
            let (loud, quiet) = both(&format!(" {key} 0 0 1{cas}"));
            (loud + "7\r\n", quiet.map(|line| line + "7\r\n"))
        }
        Shape::MetaStorage => (line(&format!(" {key} 1"), false) + "7\r\n", None),
        Shape::Key => both(&format!(" {key}")),
        Shape::KeyDelta | Shape::KeyExptime => both(&format!(" {key} 1")),
        Shape::Prefix => both(" a:"),
        Shape::Level => both(" 1"),
        Shape::Exptime | Shape::WordsNoreply => both(""),
        Shape::MetaBare | Shape::Bare | Shape::Words => (line("", false), None),
    }
}

/// The command in binary. A new operation needs a line here.
fn binary(verb: &Verb, opcode: u8, key: &str) -> Vec<u8> {
    let (extras, key, value): (&[u8], &[u8], &[u8]) = match verb.operation {
        Operation::Fetch | Operation::Delete => (b"", key.as_bytes(), b""),
        Operation::FetchAndTouch | Operation::Touch => (&[0; 4], key.as_bytes(), b""),
        Operation::Store(StoreMode::Append | StoreMode::Prepend) => (b"", key.as_bytes(), b"7"),
        Operation::Store(_) => (&[0; 8], key.as_bytes(), b"7"),
        Operation::Count { .. } => (&[0; 20], key.as_bytes(), b""),
        Operation::FlushAll
        | Operation::Version
        | Operation::Stats
        | Operation::Noop
        | Operation::Quit
        | Operation::Sasl(_) => (b"", b"", b""),
        Operation::Inspect
        | Operation::FlushGroup
        | Operation::Verbosity
        | Operation::Watch
        | Operation::Admin(_) => panic!("{} has no opcode yet", verb.word),
    };
    frame(opcode, extras, key, value)
}

/// Answers to frames: their opcodes and statuses.
fn statuses(mut answers: &[u8]) -> Vec<(u8, u8)> {
    let mut all = Vec::new();
    while let Some((header, rest)) = answers.split_first_chunk::<24>() {
        all.push((header[1], header[7]));
        answers =
            &rest[u32::from_be_bytes([header[8], header[9], header[10], header[11]]) as usize..];
    }
    all
}

#[test]
fn every_command_needs_what_the_table_says_in_text() {
    for verb in VERBS.iter().filter(|verb| !verb.word.is_empty()) {
        for rights in all_rights() {
            let (loud, quiet) = text(verb, "a:k");
            for (request, refusal) in [(Some(loud), REFUSED), (quiet, "")] {
                let Some(request) = request else { continue };
                let (cache, what) = (Cache::new(), format!("{request:?} {rights:?}"));
                let before = cache.state();
                let answer = cache.user(&grant(rights, &[])).tells(&format!("{request}mn\r\n"));
                if rights.contain(verb.rights) {
                    assert!(!answer.contains(REFUSED), "{what}: {answer}");
                } else {
                    assert_eq!(answer, format!("{refusal}MN\r\n"), "{what}");
                    assert_eq!(cache.state(), before, "{what}");
                }
            }
        }
    }
}

#[test]
fn every_command_needs_what_the_table_says_in_binary() {
    const NOOP: u8 = 0x0a;
    for verb in VERBS {
        for (rights, opcode) in
            all_rights().into_iter().flat_map(|it| verb.opcodes.iter().map(move |code| (it, code)))
        {
            let (cache, what) = (Cache::new(), format!("{opcode:?} {rights:?}"));
            let before = cache.state();
            let both = [binary(verb, opcode.code, "a:k"), frame(NOOP, b"", b"", b"")].concat();
            let answers = statuses(&cache.user(&grant(rights, &[])).ask(&both));
            let refusal = (opcode.code, REFUSED_STATUS);
            if rights.contain(verb.rights) {
                // SASL is spoken, so its steps have answers of their own.
                let is_sasl = matches!(verb.operation, Operation::Sasl(_));
                assert!(is_sasl || !answers.contains(&refusal), "{what}: {answers:?}");
            } else {
                assert_eq!(answers, [refusal, (NOOP, 0)], "{what}: refused, however quiet");
                assert_eq!(cache.state(), before, "{what}");
            }
        }
    }
}

#[test]
fn rights_to_read_and_write_end_where_the_keys_do() {
    let everything = Rights::NAMES.iter().fold(Rights::NONE, |all, (_, right)| all.with(*right));
    let keyed = [Rights::READ, Rights::WRITE, Rights::READ.with(Rights::WRITE)];
    for (key, is) in [("a:k", true), ("ab", true), ("a", false), ("A:k", false), ("c:k", false)] {
        let cache = Cache::new();
        let user = grant(everything, &["b", "a:", "ab"]);
        for verb in VERBS.iter().filter(|verb| keyed.contains(&verb.rights)) {
            let answer = cache.user(&user).tells(&text(verb, key).0);
            assert_eq!(answer == REFUSED, !is, "{} {key}: {answer}", verb.word);
            for opcode in verb.opcodes {
                let answers = statuses(&cache.user(&user).ask(&binary(verb, opcode.code, key)));
                let refusal = [(opcode.code, REFUSED_STATUS)];
                assert_eq!(answers == refusal, !is, "{opcode:?} {key}: {answers:?}");
            }
        }
        // In base64: what counts is what they stand for.
        let encoded = [("a:k", "YTpr"), ("ab", "YWI="), ("a", "YQ=="), ("A:k", "QTpr")];
        let Some((_, base64)) = encoded.iter().find(|(plain, _)| *plain == key) else { continue };
        for request in ["mg {} b", "md {} b", "ma {} b", "me {} b", "ms {} 1 b\r\n7"] {
            let request = format!("{}\r\n", request.replace("{}", base64));
            assert_eq!(cache.user(&user).tells(&request) == REFUSED, !is, "{request:?}");
        }
        assert_eq!(cache.user(&user).tells("mg YTpr\r\n"), REFUSED, "no key of that name");
    }
}

#[test]
fn whoever_may_only_read_changes_nothing() {
    let cache = Cache::new();
    let (reader, writer) = (grant(Rights::READ, &[]), grant(Rights::READ.with(Rights::WRITE), &[]));
    for (flags, is) in [
        ("v k c f s t h l O1 q", true),
        ("v T30", false),
        ("N30", false),
        ("v R30", false),
        ("v E5", true), // of an item that N creates
    ] {
        let request = format!("mg a:k {flags}\r\n");
        assert_eq!(cache.user(&reader).tells(&request) != REFUSED, is, "{request:?}");
        assert_ne!(cache.user(&writer).tells(&request), REFUSED, "{request:?}");
    }
    let cache = Cache::new();
    assert_eq!(cache.anybody().tells("md a:k I\r\n"), "HD\r\n");
    let stale = "mg a:k v\r\n";
    assert_eq!(cache.user(&reader).tells(stale), "VA 1 X\r\n5\r\n");
    assert_eq!(cache.user(&writer).tells(stale), "VA 1 X W\r\n5\r\n");
    assert_eq!(cache.user(&reader).tells(stale), "VA 1 Z X\r\n5\r\n");
}

#[test]
fn a_list_with_a_key_that_may_not_be_read_is_refused_whole() {
    let hit = "VALUE a:k 0 1\r\n5\r\n";
    let many = "a:k ".repeat(30);
    for (request, answer) in [
        ("get a:k a:k\r\n".to_owned(), format!("{hit}{hit}END\r\n")),
        ("get a:k c:k\r\n".to_owned(), REFUSED.to_owned()),
        ("get c:k a:k\r\n".to_owned(), REFUSED.to_owned()),
        ("get c:k\r\nget a:k\r\n".to_owned(), format!("{REFUSED}{hit}END\r\n")),
        (format!("get {many}c:k {many}\r\nget a:k\r\n"), format!("{REFUSED}{hit}END\r\n")),
        (format!("gets {many}c:k\r\nget a:k\r\n"), format!("{REFUSED}{hit}END\r\n")),
        (
            "gat 0 c:k a:k\r\nset a:k 0 0 1\r\n5\r\nget a:k\r\n".to_owned(),
            format!("{REFUSED}STORED\r\n{hit}END\r\n"),
        ),
    ] {
        let (cache, user) = (Cache::new(), grant(Rights::READ.with(Rights::WRITE), &["a:"]));
        assert_eq!(cache.user(&user).tells(&request), answer, "{request:?}");
        assert_eq!(cache.user(&user).tells_slowly(&request), answer, "{request:?} slowly");
    }
    // Longer than a line may be, so that it is served as it comes: what was said cannot be taken
    // back, but what follows is not said, and the next command is the next line.
    let (cache, user) = (Cache::new(), grant(Rights::READ, &["a:"]));
    let request = format!("get {}c:k {}\r\nmn\r\n", "a:k ".repeat(2000), "a:k ".repeat(2000));
    let answer = cache.user(&user).tells_slowly(&request);
    assert!(answer.ends_with(&format!("{REFUSED}MN\r\n")), "{}", &answer[answer.len() - 80..]);
    assert_eq!(answer.matches(REFUSED).count(), 1);
}

#[test]
fn the_value_of_a_store_that_is_refused_is_no_command() {
    let value = "flush_all\r\n".repeat(REQUEST_BUFFERED_MAX / 5);
    for request in [
        format!("set c:k 0 0 {}\r\n{value}\r\n", value.len()),
        format!("ms c:k {} q\r\n{value}\r\n", value.len()),
        "set c:k 0 0 9\r\nflush_all\r\n".to_owned(),
    ] {
        let (cache, user) = (Cache::new(), grant(Rights::WRITE.with(Rights::ADMIN), &["a:"]));
        let both = format!("{request}mn\r\n");
        assert_eq!(cache.user(&user).tells(&both), format!("{REFUSED}MN\r\n"));
        assert_eq!(cache.user(&user).tells_slowly(&both), format!("{REFUSED}MN\r\n"));
        assert_eq!(cache.state(), Cache::new().state());
    }
}

#[test]
fn reports_that_tell_of_keys_or_peers_need_admin() {
    for (report, is_open) in [
        ("", true),
        (" settings", true),
        (" items", true),
        (" slabs", true),
        ("  sizes", true),
        (" extstore", true),
        (" mcache", true),
        (" reset", false),
        (" conns", false),
        (" detail dump", false),
        (" detail on", false),
        (" cachedump 1 1", false),
        (" nonsense", false),
    ] {
        let cache = Cache::new();
        let request = format!("stats{report}\r\n");
        let readers = grant(Rights::READ.with(Rights::WRITE), &[]);
        assert_eq!(cache.user(&readers).tells(&request) != REFUSED, is_open, "{request:?}");
        assert_ne!(cache.user(&grant(Rights::ADMIN, &[])).tells(&request), REFUSED, "{request:?}");
    }
}

#[test]
fn what_is_granted_can_change_between_two_requests() {
    const HIT: &str = "VALUE a:k 0 1\r\n5\r\nEND\r\n";
    let cache = Cache::new();
    let [first, second, third] =
        [Rights::READ, Rights::WRITE, Rights::READ].map(|rights| grant(rights, &[]));
    let [mut user, mut idle, mut lister] = [&first; 3].map(|grant| cache.user(grant));
    let list = format!("get {}", "a:k ".repeat(1000));
    assert!(lister.tells(&list).starts_with("VALUE a:k"));
    assert_eq!(user.tells("get a:k\r\n"), HIT);
    assert_eq!(user.tells("ge"), "");
    first.replace(Some(second.clone()));
    assert_eq!(user.tells("t a:k\r\n"), REFUSED);
    second.replace(Some(third.clone()));
    assert_eq!(user.tells("get a:k\r\n"), HIT);
    assert_eq!(idle.tells("get a:k\r\n"), HIT);
    third.replace(None);
    assert_eq!(user.tells("get a:k\r\n"), "CLIENT_ERROR unauthenticated\r\n");
    assert!(!user.session.is_admitted());
    // In the midst of a request that one is refused first.
    assert_eq!(lister.tells("a:k a:k\r\n"), REFUSED);
    assert_eq!(lister.tells("get a:k\r\n"), "CLIENT_ERROR unauthenticated\r\n");
}

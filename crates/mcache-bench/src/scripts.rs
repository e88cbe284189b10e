//! What is counted: conversations of one connection, each turn's input as a client would send it.

use std::fmt::Write as _;
use std::hint::black_box;
use std::sync::Arc;

use mcache_base::limits::OUTPUT_HIGH_WATER;
use mcache_base::{ClassCounters, Counters, Now};
use mcache_conformance::Quiet;
use mcache_protocol::{Output, Protocols};
use mcache_session::{Authentication, Context, Events, Prefixes, Session};
use mcache_store::eviction::POLICIES;
use mcache_store::{
    AfterReboot, Boot, EngineOptions, MemoryFile, SegmentStorageEngine, SizeLimit, StorageEngine,
};

/// The function inside which instructions are counted.
pub const MEASURED: &str = "serve_measured";

/// Turns that are counted.
const TURNS: usize = 1000;

/// Keys that there are; each is 24 bytes long and its value 100.
const KEYS: usize = 10_000;

/// A script.
pub struct Script {
    /// Its name in the file of figures.
    pub name: &'static str,
    /// Requests of a turn; for a multiget, its keys.
    requests: usize,
    /// The items are in a memory file.
    in_file: bool,
    /// Writes the turn's input about the keys from `first` on.
    input: fn(input: &mut Vec<u8>, first: usize, requests: usize),
}

/// Every script.
pub const SCRIPTS: &[Script] = &[
    Script { name: "get", requests: 1, in_file: false, input: gets },
    Script { name: "get-p16", requests: 16, in_file: false, input: gets },
    Script { name: "get-p128", requests: 128, in_file: false, input: gets },
    Script { name: "multiget-50", requests: 50, in_file: false, input: multiget },
    Script { name: "mg", requests: 1, in_file: false, input: meta_gets },
    Script { name: "set", requests: 1, in_file: false, input: sets },
    Script { name: "set-p128", requests: 128, in_file: false, input: sets },
    Script { name: "binary-get", requests: 1, in_file: false, input: binary_gets },
    Script { name: "binary-p16", requests: 16, in_file: false, input: binary_gets },
    Script { name: "get-file", requests: 1, in_file: true, input: gets },
    Script { name: "get-p128-file", requests: 128, in_file: true, input: gets },
    Script { name: "set-file", requests: 1, in_file: true, input: sets },
    Script { name: "set-p128-file", requests: 128, in_file: true, input: sets },
];

/// Serves a script; returns how many requests were counted. `None` if there is no such script.
pub fn serve(name: &str) -> Option<usize> {
    let script = SCRIPTS.iter().find(|script| script.name == name)?;
    let options = EngineOptions {
        capacity: 64 << 20,
        item_size: SizeLimit::Item(1 << 20),
        evict: true,
        policy: &POLICIES[0],
    };
    let engine = match script.in_file {
        false => SegmentStorageEngine::new(&options).ok()?,
        true => {
            let (file, boot) =
                (MemoryFile::anonymous().ok()?, Boot { id: [1; 16], since_ms: 0, unix: 0 });
            SegmentStorageEngine::on_file(&options, file, boot, AfterReboot::Cold).ok()?
        }
    };
    let engine = Arc::new(engine);
    let mut access = engine.access();
    let mut context = Context {
        engine: &*engine,
        access: &mut access,
        now: Now { clock_ms: 100_000, unix: 1_800_000_000 },
        counters: &Counters::default(),
        classes: &ClassCounters::default(),
        prefixes: &Prefixes::new(b':', false),
        host: &Quiet::new(),
        events: Events::NOBODY,
        requests_per_turn: usize::MAX,
        output_high_water: OUTPUT_HIGH_WATER,
    };
    let mut out = Output::default();
    let mut fill = Vec::new();
    sets(&mut fill, 0, KEYS);
    Session::new(Protocols::Negotiated, Authentication::None).serve(&fill, &mut out, &mut context);
    out.clear();
    let inputs: Vec<Vec<u8>> = (0..TURNS)
        .map(|turn| {
            let mut input = Vec::new();
            (script.input)(&mut input, turn * script.requests, script.requests);
            input
        })
        .collect();
    let mut session = Session::new(Protocols::Negotiated, Authentication::None);
    // A connection's first turn looks which protocol it speaks.
    session.serve(&inputs[0], &mut out, &mut context);
    out.clear();
    serve_measured(&mut session, &inputs, &mut out, &mut context);
    Some(TURNS * script.requests)
}

/// The turns of a connection, one after the other.
#[inline(never)]
fn serve_measured(
    session: &mut Session<SegmentStorageEngine>,
    inputs: &[Vec<u8>],
    out: &mut Output<<SegmentStorageEngine as StorageEngine>::Pin>,
    context: &mut Context<'_, SegmentStorageEngine>,
) {
    for input in inputs {
        black_box(session.serve(input, out, context));
        out.clear();
    }
}

fn key(number: usize) -> String {
    format!("key-{:020}", number % KEYS)
}

fn each(first: usize, requests: usize) -> impl Iterator<Item = String> {
    (first..first + requests).map(key)
}

fn gets(input: &mut Vec<u8>, first: usize, requests: usize) {
    for key in each(first, requests) {
        input.extend_from_slice(format!("get {key}\r\n").as_bytes());
    }
}

fn meta_gets(input: &mut Vec<u8>, first: usize, requests: usize) {
    for key in each(first, requests) {
        input.extend_from_slice(format!("mg {key} v f t\r\n").as_bytes());
    }
}

fn multiget(input: &mut Vec<u8>, first: usize, requests: usize) {
    let mut line = "get".to_owned();
    each(first, requests).for_each(|key| {
        let _ = write!(line, " {key}");
    });
    input.extend_from_slice(line.as_bytes());
    input.extend_from_slice(b"\r\n");
}

fn sets(input: &mut Vec<u8>, first: usize, requests: usize) {
    for key in each(first, requests) {
        input.extend_from_slice(format!("set {key} 0 0 100\r\n{:0100}\r\n", 7).as_bytes());
    }
}

fn binary_gets(input: &mut Vec<u8>, first: usize, requests: usize) {
    for key in each(first, requests) {
        let len = key.len() as u8;
        let mut header = [0; 24];
        (header[0], header[3], header[11]) = (0x80, len, len);
        input.extend_from_slice(&header);
        input.extend_from_slice(key.as_bytes());
    }
}

//! `conformance`: plays transcripts, against mcache in all its houses or a server of your choice.

use std::path::Path;

use mcache_conformance::{
    DATAGRAM_TOPICS, House, Program, Report, TOPICS, Transcript, Transport, memory_houses,
    play_all, transcripts,
};

use crate::shell;

/// The houses that are programs: name, transport, options. Only mcache has a choice of drivers.
const PROGRAMS: &[(&str, Transport, &[&str])] = &[
    ("tcp", Transport::Tcp, &[]),
    ("unix", Transport::Unix, &[]),
    ("tcp-epoll", Transport::Tcp, EPOLL),
    ("unix-epoll", Transport::Unix, EPOLL),
    ("udp", Transport::Udp, &[]),
];

const EPOLL: &[&str] = &["--io", "epoll"];

/// What the command line asks for.
#[derive(Default)]
struct Arguments {
    /// The server program; mcache, built now, if there is none.
    against: Option<String>,
    /// `session` or one of [`PROGRAMS`]; all that there are if there is none.
    house: Option<String>,
    transcripts: Vec<Transcript>,
}

/// Runs the command.
pub fn run(words: &[String]) -> Result<(), String> {
    let arguments = Arguments::parse(words)?;
    let (mut failed, mut played) = (0, 0);
    for house in arguments.houses()? {
        let topics = house.topics();
        let mut here = arguments.transcripts.clone();
        here.retain(|transcript| topics.contains(&transcript.topic()));
        played += here.len();
        if here.is_empty() {
            continue;
        }
        let report = play_all(&*house, &here);
        print(&*house, &report);
        failed += report.failed;
    }
    match (failed, played) {
        (0, 0) => Err("none of the transcripts is for any of the houses".to_owned()),
        (0, _) => Ok(()),
        _ => Err(format!("{failed} failed")),
    }
}

impl Arguments {
    fn parse(words: &[String]) -> Result<Self, String> {
        let mut parsed = Self::default();
        let mut words = words.iter().cloned();
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or(format!("{word} needs a value"));
            match word.as_str() {
                "--against" => parsed.against = Some(value()?),
                "--house" => parsed.house = Some(value()?),
                "--topic" => parsed.transcripts.extend(transcripts(&value()?)?),
                option if option.starts_with('-') => return Err(format!("no option `{option}`")),
                file => parsed.transcripts.push(Transcript::read(Path::new(file))?),
            }
        }
        if parsed.transcripts.is_empty() {
            for topic in TOPICS.iter().chain(DATAGRAM_TOPICS) {
                parsed.transcripts.extend(transcripts(topic)?);
            }
        }
        Ok(parsed)
    }

    fn houses(&self) -> Result<Vec<Box<dyn House>>, String> {
        let house = self.house.as_deref();
        let known = |house| house == "session" || PROGRAMS.iter().any(|it| it.0 == house);
        if house.is_some_and(|house| !known(house)) {
            let names: Vec<_> = PROGRAMS.iter().map(|program| program.0).collect();
            return Err(format!("there are the houses session, {}", names.join(", ")));
        }
        let mut houses = Vec::new();
        if self.against.is_none() && house.is_none_or(|house| house == "session") {
            houses = memory_houses();
        }
        for &(name, transport, options) in PROGRAMS {
            let possible = self.against.is_none() || options.is_empty();
            if possible && house.is_none_or(|house| house == name) {
                houses.push(Box::new(self.program(transport)?.with(options)));
            }
        }
        Ok(houses)
    }

    fn program(&self, transport: Transport) -> Result<Program, String> {
        match &self.against {
            Some(program) => Program::new(Path::new(program), transport),
            None => Program::new(&shell::build_server()?, transport),
        }
    }
}

fn print(house: &dyn House, report: &Report) {
    for (word, list) in [("known", &report.known), ("skipped", &report.skipped)] {
        list.iter().for_each(|line| println!("{word}  {line}"));
    }
    report.failures.iter().for_each(|failure| println!("FAILED  {failure}"));
    println!("{}: {}", house.name(), report.summary());
}

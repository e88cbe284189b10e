//! `cargo xtask conformance`: plays transcripts against servers and reports.

use std::path::Path;
use std::process::ExitCode;

use mcache_conformance::{
    House, Program, Report, TOPICS, Transcript, Transport, memory_houses, play_all, transcripts,
};

const HELP: &str = "\
usage: conformance [--house session] [--topic TOPIC]... [FILE]...
       conformance --against PROGRAM [--house tcp|unix] [--topic TOPIC]... [FILE]...
  --against PROGRAM  a server program, by path or found in PATH
  --house            what the transcripts are played in: a server over TCP or a unix socket,
                     or, without a server, sessions in memory
  --topic TOPIC      a directory of conformance/; every one if neither topic nor file is given
  FILE               a single transcript";

fn main() -> ExitCode {
    match run(std::env::args().skip(1)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("conformance: {error}\n{HELP}");
            ExitCode::from(64)
        }
    }
}

/// What the command line asks for.
#[derive(Default)]
struct Arguments {
    against: Option<String>,
    house: Option<String>,
    transcripts: Vec<Transcript>,
}

impl Arguments {
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut parsed = Self::default();
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
            for topic in TOPICS {
                parsed.transcripts.extend(transcripts(topic)?);
            }
        }
        Ok(parsed)
    }

    fn houses(&self) -> Result<Vec<Box<dyn House>>, String> {
        let transport = match (&self.against, self.house.as_deref()) {
            (None, None | Some("session")) => return Ok(memory_houses()),
            (Some(_), None | Some("tcp")) => Transport::Tcp,
            (Some(_), Some("unix")) => Transport::Unix,
            (None, Some(_)) => return Err("that house needs --against".to_owned()),
            (Some(_), Some(house)) => return Err(format!("no house `{house}` for a server")),
        };
        let program = self.against.as_deref().unwrap_or_default();
        Ok(vec![Box::new(Program::new(Path::new(program), transport)?)])
    }
}

fn run(words: impl Iterator<Item = String>) -> Result<bool, String> {
    let arguments = Arguments::parse(words)?;
    let mut good = true;
    for house in arguments.houses()? {
        let report = play_all(&*house, &arguments.transcripts);
        print(&*house, &report);
        good &= report.failed == 0;
    }
    Ok(good)
}

fn print(house: &dyn House, report: &Report) {
    let lists = [("known", &report.known), ("skipped", &report.skipped)];
    for (word, list) in lists {
        list.iter().for_each(|line| println!("{word}  {line}"));
    }
    report.failures.iter().for_each(|failure| println!("FAILED  {failure}"));
    println!("{}: {}", house.name(), report.summary());
}

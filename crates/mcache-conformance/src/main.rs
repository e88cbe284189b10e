//! `cargo xtask conformance`: plays transcripts against servers and reports.

use std::path::Path;
use std::process::ExitCode;

use mcache_conformance::{House, Program, Report, Transcript, Transport, play_all, transcripts};

const HELP: &str = "\
usage: conformance --against PROGRAM [--house tcp|unix] [--topic TOPIC]... [FILE]...
  --against PROGRAM  a server program, by path or found in PATH; may be given several times
  --house tcp|unix   how to connect to it (tcp)
  --topic TOPIC      a directory of conformance/ (text, meta, binary); all if none is given
  FILE               single transcripts instead";

const TOPICS: [&str; 3] = ["text", "meta", "binary"];

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

fn run(mut arguments: impl Iterator<Item = String>) -> Result<bool, String> {
    let mut programs = Vec::new();
    let mut transport = Transport::Tcp;
    let mut topics = Vec::new();
    let mut played = Vec::new();
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
        match argument.as_str() {
            "--against" => programs.push(value()?),
            "--topic" => topics.push(value()?),
            "--house" => {
                transport = match value()?.as_str() {
                    "tcp" => Transport::Tcp,
                    "unix" => Transport::Unix,
                    other => return Err(format!("no house `{other}`")),
                }
            }
            option if option.starts_with('-') => return Err(format!("no option `{option}`")),
            file => played.push(Transcript::read(Path::new(file))?),
        }
    }
    if programs.is_empty() {
        return Err("no --against".to_owned());
    }
    if topics.is_empty() && played.is_empty() {
        topics.extend(TOPICS.map(str::to_owned));
    }
    for topic in &topics {
        played.extend(transcripts(topic)?);
    }
    let mut good = true;
    for program in &programs {
        let house = Program::new(Path::new(program), transport)?;
        let report = play_all(&house, &played);
        print(&house, &report);
        good &= report.failures.is_empty();
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

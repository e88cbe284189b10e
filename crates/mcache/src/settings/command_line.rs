//! The command line: memcached's grammar (`-m64`, `-vvv`, `-o a=1,b`, `-p -1`) over the table.

use std::ffi::{OsStr, OsString};

use lexopt::{Arg, Parser};

use super::{Assignment, Habits, NOT_YET, NotYet, SETTINGS, Setting, Spelling, help};
use crate::failure::{Failure, SUBOPTION};

/// What a command line says.
pub enum Said {
    /// Settings, in the order in which they were said.
    Assignments(Vec<Assignment>),
    /// Print this and end.
    Print(String),
}

/// A word of the command line that is known.
enum Known {
    Setting(&'static Setting, &'static Spelling),
    NotYet(&'static NotYet),
    Text(Text),
    Extended,
}

/// Makes a text to print.
type Text = fn(Habits) -> String;

/// Options that print something and end: no settings.
const TEXTS: &[(&[&str], Text)] = &[
    (&["-h", "--help"], help::text),
    (&["-V"], |_| help::memcached_version()),
    (&["--version"], help::version),
    (&["-i", "--license"], |_| help::license()),
];

/// The words of the option that takes a list of further options.
const EXTENDED: [&str; 2] = ["-o", "--extended"];

/// The setting that a word without dashes belongs to.
const POSITIONAL: &str = "--listen";

/// Reads a command line without its program name.
pub fn read(
    habits: Habits,
    arguments: impl IntoIterator<Item = OsString>,
) -> Result<Said, Failure> {
    let mut parser = Parser::from_args(arguments);
    let mut said = Vec::new();
    let mut not_yet = None;
    while let Some(argument) = parser.next().map_err(usage)? {
        let word = match argument {
            Arg::Short(digit @ '0'..='9') => {
                let rest = parser.optional_value().unwrap_or_default();
                return Err(joined_digits(&said, digit, &rest));
            }
            Arg::Short(letter) => format!("-{letter}"),
            Arg::Long(name) => format!("--{}", name.replace('_', "-")),
            Arg::Value(value) => {
                let value = utf8(POSITIONAL, value)?;
                is_address(&value)?;
                let (setting, spelling) =
                    find_setting(POSITIONAL).ok_or_else(|| unknown(POSITIONAL))?;
                said.push(Assignment { setting, spelling, said: String::new(), value });
                continue;
            }
        };
        let (word, known) = find(word)?;
        let mut value = |takes| match parser.value() {
            Ok(value) => utf8(&word, value),
            Err(_) => Err(Failure::usage(format!("{word}: needs a value: {takes}"))),
        };
        match known {
            Known::Text(print) => return Ok(Said::Print(print(habits))),
            Known::Extended => {
                read_extended(&value("a list of options")?, &mut said, &mut not_yet)?;
            }
            Known::NotYet(option) => {
                if option.takes_value {
                    value("")?;
                }
                not_yet.get_or_insert(word);
            }
            Known::Setting(setting, spelling) => {
                let value = if spelling.needs_value() {
                    value(spelling.takes.unwrap_or_default())?
                } else if spelling.takes.is_some() && word.starts_with("--") {
                    utf8(&word, parser.optional_value().unwrap_or_default())?
                } else {
                    String::new()
                };
                said.push(Assignment { setting, spelling, said: word, value });
            }
        }
    }
    match not_yet {
        Some(word) => Err(not_supported(&word)),
        None => Ok(Said::Assignments(said)),
    }
}

/// Reads the list of `-o`. The first word that is known but not supported goes into `not_yet`.
pub fn read_extended(
    list: &str,
    said: &mut Vec<Assignment>,
    not_yet: &mut Option<String>,
) -> Result<(), Failure> {
    for part in list.split(',').filter(|part| !part.is_empty()) {
        let (name, value) = match part.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (part, None),
        };
        let word = format!("-o {name}");
        if let Some((setting, spelling)) = find_setting(&word) {
            match value {
                None if spelling.needs_value() => {
                    return Err(Failure::usage(format!("{word}: needs a value")));
                }
                Some(_) if spelling.takes.is_none() => {
                    return Err(Failure::usage(format!("{word}: takes no value")));
                }
                _ => {}
            }
            let value = value.unwrap_or_default().to_owned();
            said.push(Assignment { setting, spelling, said: word, value });
        } else if find_not_yet(&word).is_some() {
            not_yet.get_or_insert(word);
        } else {
            return Err(Failure::new(SUBOPTION, format!("Illegal suboption \"{part}\"")));
        }
    }
    Ok(())
}

/// The error of an option that is known and not supported.
pub fn not_supported(word: &str) -> Failure {
    Failure::usage(format!("{word} is not supported yet"))
}

/// Whether a word without dashes is an address with a port: a typing error should not make the
/// server listen elsewhere.
fn is_address(word: &str) -> Result<(), Failure> {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit());
    let hint = match word.rsplit_once(':') {
        Some((_, port)) if is_number(port) => return Ok(()),
        _ if is_number(word) => format!("; a port alone is -p {word}"),
        _ => String::new(),
    };
    Err(Failure::usage(format!("{word}: should be an option or ADDRESS:PORT{hint}")))
}

/// The setting and the spelling that `word` belongs to.
pub fn find_setting(word: &str) -> Option<(&'static Setting, &'static Spelling)> {
    SETTINGS.iter().find_map(|setting| {
        let spelling = setting.spellings.iter().find(|it| it.words.contains(&word))?;
        Some((setting, spelling))
    })
}

/// The option that is not supported yet and has this spelling.
pub fn find_not_yet(word: &str) -> Option<&'static NotYet> {
    NOT_YET.iter().find(|option| option.words.contains(&word))
}

/// What `word` is, and its whole name. A long name may be cut short as long as only one begins so,
/// as getopt has it.
fn find(word: String) -> Result<(String, Known), Failure> {
    if let Some(known) = find_exact(&word) {
        return Ok((word, known));
    }
    if !word.starts_with("--") {
        return Err(unknown(&word));
    }
    let mut begun: Vec<&str> = long_names().filter(|name| name.starts_with(&word)).collect();
    begun.dedup();
    match begun[..] {
        [only] => match find_exact(only) {
            Some(known) => Ok((only.to_owned(), known)),
            None => Err(unknown(&word)),
        },
        [] => Err(unknown(&word)),
        _ => Err(Failure::usage(format!("{word} could be {}", begun.join(" or ")))),
    }
}

fn find_exact(word: &str) -> Option<Known> {
    if EXTENDED.contains(&word) {
        return Some(Known::Extended);
    }
    if let Some((_, print)) = TEXTS.iter().find(|(words, _)| words.contains(&word)) {
        return Some(Known::Text(*print));
    }
    if let Some((setting, spelling)) = find_setting(word) {
        return Some(Known::Setting(setting, spelling));
    }
    find_not_yet(word).map(Known::NotYet)
}

fn long_names() -> impl Iterator<Item = &'static str> {
    let settings = SETTINGS.iter().flat_map(|setting| setting.spellings).flat_map(|it| it.words);
    let not_yet = NOT_YET.iter().flat_map(|option| option.words);
    let texts = TEXTS.iter().flat_map(|(words, _)| *words);
    settings.chain(not_yet).chain(texts).chain(&EXTENDED).copied().filter(|it| it.starts_with("--"))
}

fn unknown(word: &str) -> Failure {
    Failure::usage(format!("unknown option {word}: --help lists them"))
}

/// The error of digits behind an option that takes a value only behind a `=`, as in `-v3`.
fn joined_digits(said: &[Assignment], digit: char, rest: &OsStr) -> Failure {
    let digits = format!("{digit}{}", rest.display());
    let takes = |last: &&Assignment| last.spelling.takes.is_some() && !last.spelling.needs_value();
    let Some(last) = said.last().filter(takes) else { return unknown(&format!("-{digits}")) };
    let (word, long) = (&last.said, last.spelling.words.last().unwrap_or(&""));
    Failure::usage(format!("{word}{digits}: should be {word}, or {long}={digits}"))
}

fn utf8(word: &str, value: OsString) -> Result<String, Failure> {
    let value = value
        .into_string()
        .map_err(|value| Failure::usage(format!("{word}: not UTF-8: {}", value.display())))?;
    Ok(value.trim_start().to_owned()) // as memcached: `-l " 127.0.0.1"` in scripts
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn usage(error: lexopt::Error) -> Failure {
    Failure::usage(error.to_string())
}

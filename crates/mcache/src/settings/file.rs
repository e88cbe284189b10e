//! The file of `--config`: TOML, with the long options' names as keys, and users with rights.

use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::{Assignment, command_line, users};
use crate::failure::Failure;
use crate::users::UserOptions;

/// The key of the tables of users.
const USERS: &str = "user";

/// What a file says.
#[derive(Default)]
pub struct InFile {
    /// Of settings.
    pub said: Vec<Assignment>,
    /// Of users.
    pub users: Vec<UserOptions>,
}

/// Reads the settings in a file.
pub fn read(path: &Path) -> Result<InFile, Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?;
    parse(&path.display().to_string(), &text)
}

/// Reads the settings in a text that came from the file `name`.
pub(super) fn parse(name: &str, text: &str) -> Result<InFile, Failure> {
    let table = DeTable::parse(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        Failure::usage(format!("{name}:{}: {}", line(text, at), error.message()))
    })?;
    let mut file = InFile::default();
    let line_of = |offset: usize| format!("{name}:{}", line(text, offset));
    for (key, value) in table.get_ref() {
        let place = format!("{}: {}", line_of(key.span().start), key.get_ref());
        if key.get_ref() == USERS {
            file.users = users::read(value.get_ref(), &place, line_of)?;
            continue;
        }
        let key = key.get_ref().replace('_', "-");
        for value in flatten(value.get_ref(), &place)? {
            read_one(&key, value, &place, &mut file.said)?;
        }
    }
    Ok(file)
}

fn read_one(
    key: &str,
    value: &DeValue<'_>,
    place: &str,
    said: &mut Vec<Assignment>,
) -> Result<(), Failure> {
    let mistake = |should: &str| Failure::usage(format!("{place}: {should}"));
    if key == "extended" {
        let list = value.as_str().ok_or_else(|| mistake("should be a text"))?;
        let mut not_yet = None;
        command_line::read_extended(list, said, &mut not_yet)
            .map_err(|failure| Failure { message: mistake(&failure.message).message, ..failure })?;
        return not_yet.map_or(Ok(()), |word| Err(command_line::not_supported(&word)));
    }
    let word = format!("--{key}");
    if command_line::find_not_yet(&word).is_some() {
        return Err(mistake("is not supported yet"));
    }
    let (setting, spelling) = command_line::find_setting(&word)
        .filter(|(setting, _)| setting.name != "config")
        .ok_or_else(|| mistake("unknown setting"))?;
    let value = match (value, spelling.takes) {
        (DeValue::Boolean(true), None) => String::new(),
        (DeValue::Boolean(false), None) => return Ok(()),
        (_, None) => return Err(mistake("should be true or false")),
        (DeValue::String(text), Some(_)) => text.clone().into_owned(),
        (DeValue::Integer(number), Some(_)) if number.radix() == 10 => number.to_string(),
        (DeValue::Float(number), Some(_)) => number.to_string(),
        (_, Some(_)) => return Err(mistake("should be a text or a number")),
    };
    said.push(Assignment { setting, spelling, said: place.to_owned(), value });
    Ok(())
}

/// The values of a list, or the one value.
fn flatten<'v>(value: &'v DeValue<'_>, place: &str) -> Result<Vec<&'v DeValue<'v>>, Failure> {
    match value {
        DeValue::Array(values) => Ok(values.iter().map(|value| value.get_ref()).collect()),
        DeValue::Table(_) => Err(Failure::usage(format!("{place}: should not be a table"))),
        value => Ok(vec![value]),
    }
}

/// The number of the line in which the byte at `offset` stands.
fn line(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

//! The words of a command line: `--name value`, in any order.

use std::fmt::Display;
use std::str::FromStr;

/// What the command line says.
pub struct Arguments(Vec<(String, String)>);

impl Arguments {
    /// Takes the words apart. Every name has to be one of `known`.
    pub fn parse(words: &[String], known: &[&str]) -> Result<Self, String> {
        let mut pairs = Vec::new();
        let mut words = words.iter();
        while let Some(name) = words.next() {
            if !known.contains(&name.as_str()) {
                return Err(format!("no option `{name}`; there are {}", known.join(" ")));
            }
            let value = words.next().ok_or(format!("{name} needs a value"))?;
            pairs.push((name.clone(), value.clone()));
        }
        Ok(Self(pairs))
    }

    /// The value of a name; the last one counts.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.0.iter().rev().find(|pair| pair.0 == name).map(|pair| pair.1.as_str())
    }

    /// The value of a name as a number, or another number if it is not there.
    pub fn number<T: FromStr<Err: Display>>(&self, name: &str, otherwise: T) -> Result<T, String> {
        let parse = |text: &str| text.parse().map_err(|error| format!("{name} {text}: {error}"));
        self.value(name).map_or(Ok(otherwise), parse)
    }

    /// The parts of a value between its commas; none if it is not there.
    pub fn list(&self, name: &str) -> Vec<String> {
        let parts = self.value(name).map(|value| value.split(',').map(str::to_owned));
        parts.into_iter().flatten().collect()
    }
}

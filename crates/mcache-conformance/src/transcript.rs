//! A transcript: what a client sends and what the server must answer, read from its text.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use crate::frame::{self, Magic};
use crate::pattern::Pattern;

/// A conversation with a server, or with several connections of one.
#[derive(Clone, Debug)]
pub struct Transcript {
    /// The file's name and its directory's, for reports.
    pub name: String,
    /// Options the server is started with, in memcached's spelling.
    pub requires: Vec<String>,
    /// Servers that the whole transcript does not fit.
    pub skips: Vec<Difference<()>>,
    /// What happens, in order.
    pub steps: Vec<Step>,
}

/// One step, and the line of the file it begins on.
#[derive(Clone, Debug)]
pub struct Step {
    /// Line number, from 1.
    pub line: usize,
    /// The number of the connection, from 1. 1 for steps that concern none.
    pub connection: u32,
    /// What happens.
    pub action: Action,
}

/// What happens in a step.
#[derive(Clone, Debug)]
pub enum Action {
    /// The client sends this, in one piece.
    Send(Pattern),
    /// The client closes.
    Hangup,
    /// The server answers this, or what it is known to say instead.
    Expect(Answer, Vec<Difference<Answer>>),
    /// So much time passes.
    Advance(Duration),
}

/// What the server has to answer.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// These bytes,
    pub bytes: Pattern,
    /// and then the end of the connection.
    pub closes: bool,
}

/// A known difference between mcache and another server.
#[derive(Clone, Debug)]
pub struct Difference<T> {
    /// Which server: a name, and the beginning of its version.
    pub server: Server,
    /// Why.
    pub reason: String,
    /// What that server does instead.
    pub instead: T,
}

/// A server program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Server {
    /// `mcache` or `memcached`.
    pub name: String,
    /// Its version; empty for any.
    pub version: String,
}

impl Server {
    /// Whether `server` is what this one names.
    pub fn covers(&self, server: &Self) -> bool {
        let after = server.version.strip_prefix(&self.version);
        let whole = after.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
        self.name == server.name && (self.version.is_empty() || whole)
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(format!("{} {}", self.name, self.version).trim_end())
    }
}

impl<T> Difference<T> {
    /// The difference that fits `server` best: one with a version before one without.
    pub fn find<'d>(differences: &'d [Self], server: &Server) -> Option<&'d Self> {
        let fitting = differences.iter().filter(|known| known.server.covers(server));
        fitting.max_by_key(|known| known.server.version.len())
    }
}

impl Transcript {
    /// The directory that it stands in.
    pub fn topic(&self) -> &str {
        self.name.split('/').next().unwrap_or_default()
    }

    /// Reads a file. An error names the file and the line.
    pub fn read(path: &Path) -> Result<Self, String> {
        let topic = path.parent().and_then(Path::file_name).unwrap_or_default();
        let name = Path::new(topic).join(path.file_stem().unwrap_or_default());
        let name = name.to_string_lossy();
        let text = std::fs::read_to_string(path);
        let text = text.map_err(|error| format!("{}: {error}", path.display()))?;
        Self::parse(&name, &text).map_err(|error| format!("{}:{error}", path.display()))
    }

    /// Reads a transcript's text. An error begins with the line's number.
    pub fn parse(name: &str, text: &str) -> Result<Self, String> {
        let mut transcript = Self {
            name: name.to_owned(),
            requires: Vec::new(),
            skips: Vec::new(),
            steps: Vec::new(),
        };
        let mut joins = false;
        for (index, line) in text.lines().enumerate() {
            let at = index + 1;
            joins = transcript.line(at, line, joins).map_err(|error| format!("{at}: {error}"))?;
        }
        Ok(transcript)
    }

    /// Takes one line in; `joins` tells whether the line before may be continued by this one.
    fn line(&mut self, at: usize, line: &str, joins: bool) -> Result<bool, String> {
        if line.is_empty() || line.starts_with('#') {
            return Ok(joins && !line.is_empty());
        }
        if let Some(options) = line.strip_prefix("requires: ") {
            self.requires = options.split_whitespace().map(str::to_owned).collect();
            return Ok(false);
        }
        if let Some(rest) = line.strip_prefix("skip ") {
            self.skips.push(difference(rest, ())?);
            return Ok(false);
        }
        if let Some(rest) = line.strip_prefix("differs ") {
            self.known()?.push(difference(rest, Answer::default())?);
            return Ok(false);
        }
        if let Some(time) = line.strip_prefix("~ advance ") {
            let seconds = time.strip_suffix('s').and_then(|seconds| seconds.parse().ok());
            let time = Duration::from_secs(seconds.ok_or(format!("`{time}` is no time"))?);
            self.steps.push(Step { line: at, connection: 1, action: Action::Advance(time) });
            return Ok(false);
        }
        let (connection, line) = connection(line)?;
        let (sign, text) = line.split_once(' ').ok_or(format!("what is `{line}`?"))?;
        let said = match sign {
            ">" | "<" | "|" if text == "EOF" => Said::End,
            ">" | "<" | "|" => Said::Bytes(Pattern::parse(text)?),
            ">b" => Said::Bytes(frame::parse(text, Magic::Request)?),
            "<b" | "|b" => Said::Bytes(frame::parse(text, Magic::Response)?),
            _ => return Err(format!("what is `{line}`?")),
        };
        match (&sign[..1], said) {
            (">", Said::End) => self.push(at, connection, Action::Hangup),
            (">", Said::Bytes(bytes)) => self.send(at, connection, bytes, joins),
            ("<", said) => self.expect(at, connection, said, joins)?,
            (_, said) => {
                let known = self.known()?.last_mut().ok_or("`|` without `differs`")?;
                known.instead.say(said)?;
            }
        }
        Ok(true)
    }

    fn push(&mut self, line: usize, connection: u32, action: Action) {
        self.steps.push(Step { line, connection, action });
    }

    fn send(&mut self, line: usize, connection: u32, bytes: Pattern, joins: bool) {
        match self.steps.last_mut() {
            Some(Step { connection: same, action: Action::Send(sent), .. })
                if joins && *same == connection =>
            {
                sent.append(bytes);
            }
            _ => self.push(line, connection, Action::Send(bytes)),
        }
    }

    fn expect(
        &mut self,
        line: usize,
        connection: u32,
        said: Said,
        joins: bool,
    ) -> Result<(), String> {
        match self.steps.last_mut() {
            Some(Step { connection: same, action: Action::Expect(answer, known), .. })
                if joins && *same == connection && known.is_empty() =>
            {
                answer.say(said)
            }
            _ => {
                let mut answer = Answer::default();
                answer.say(said)?;
                self.push(line, connection, Action::Expect(answer, Vec::new()));
                Ok(())
            }
        }
    }

    /// The known differences of the last answer.
    fn known(&mut self) -> Result<&mut Vec<Difference<Answer>>, String> {
        match self.steps.last_mut() {
            Some(Step { action: Action::Expect(_, known), .. }) => Ok(known),
            _ => Err("no answer that could differ".to_owned()),
        }
    }
}

impl Answer {
    /// Adds what a line says to the answer.
    fn say(&mut self, said: Said) -> Result<(), String> {
        match said {
            _ if self.closes => return Err("nothing can follow EOF".to_owned()),
            Said::End => self.closes = true,
            Said::Bytes(bytes) => self.bytes.append(bytes),
        }
        Ok(())
    }
}

/// What stands on a line of one side.
enum Said {
    Bytes(Pattern),
    End,
}

/// Reads `@2 > ...`; without `@` the connection is 1.
fn connection(line: &str) -> Result<(u32, &str), String> {
    let Some(rest) = line.strip_prefix('@') else { return Ok((1, line)) };
    let (number, rest) = rest.split_once(' ').ok_or("`@` without a line behind it")?;
    Ok((number.parse().map_err(|_| format!("`{number}` is no connection"))?, rest))
}

/// Reads `memcached 1.6.18: reason`.
fn difference<T>(text: &str, instead: T) -> Result<Difference<T>, String> {
    let (server, reason) = text.split_once(": ").ok_or("a difference needs `: reason`")?;
    let (name, version) = server.split_once(' ').unwrap_or((server, ""));
    let server = Server { name: name.to_owned(), version: version.to_owned() };
    Ok(Difference { server, reason: reason.to_owned(), instead })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_one_side_are_one_step() {
        let text = "requires: -m 64 -I 1m\n\n# why\n> a\\r\\n\n> b\n< c\n# why not\n< d\n< EOF\n\
                    differs memcached 1.6.18: old\n| e\n@2 > f\n~ advance 5s\n> EOF\n";
        let transcript = Transcript::parse("t", text).unwrap();
        assert_eq!(transcript.requires, ["-m", "64", "-I", "1m"]);
        let lines: Vec<_> = transcript.steps.iter().map(|s| (s.line, s.connection)).collect();
        assert_eq!(lines, [(4, 1), (6, 1), (12, 2), (13, 1), (14, 1)]);
        let Action::Expect(answer, known) = &transcript.steps[1].action else { panic!("expect") };
        assert!(answer.closes);
        assert_eq!(answer.bytes.bytes(&Default::default()).unwrap(), b"cd");
        let server = |version: &str| Server { name: "memcached".into(), version: version.into() };
        assert!(Difference::find(known, &server("1.6.18")).is_some());
        assert!(Difference::find(known, &server("1.6.180")).is_none());
    }

    #[test]
    fn a_mistake_is_told_with_its_line() {
        for (text, line) in [
            ("> a\nget", "2: "),
            ("| a", "1: "),
            ("~ advance soon", "1: "),
            ("< EOF\n< a", "2: "),
            ("differs memcached: x", "1: "),
            ("@x > a", "1: "),
        ] {
            let error = Transcript::parse("t", text).unwrap_err();
            assert!(error.starts_with(line), "{text}: {error}");
        }
    }
}

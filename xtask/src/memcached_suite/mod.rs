//! `memcached-suite`: memcached's own tests, with mcache in memcached's place.
//!
//! Its files start `memcached-debug` of the working directory, and nothing else; and they ask
//! `-h` what the server has, so what mcache's help says decides which of them run.

mod source;

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::Instant;

use crate::compatibility::{Outcome, Table, Verdict};
use crate::shell;
use source::Source;

/// Seconds that a file may take.
const TIME_LIMIT: &str = "60";

/// Files that run at once: they sleep more than they compute.
const AT_ONCE: usize = 3;

/// The suite of Debian whose package is taken.
const SUITE: &str = "unstable";

/// memcached's unit tests, most of which ask a server: a program rather than a file.
const UNIT_TESTS: &str = "testapp";

/// What the names of the files begin with that want TLS; they skip themselves unless told to run.
const TLS_FILES: &str = "ssl_";

/// What the command line asks for.
#[derive(Default)]
struct Arguments {
    /// memcached's source, unpacked; fetched from Debian if there is none.
    source: Option<PathBuf>,
    /// A suite of Debian, such as `bookworm`.
    suite: Option<String>,
    /// The server program; mcache, built now, if there is none.
    against: Option<PathBuf>,
    /// Only the files that are expected to pass.
    passing: bool,
    /// Write down what got better.
    write: bool,
    files: Vec<String>,
}

/// Runs the command.
pub fn run(words: &[String]) -> Result<(), String> {
    let arguments = Arguments::parse(words)?;
    let source = match &arguments.source {
        Some(directory) => Source::at(directory)?,
        None => Source::fetch(arguments.suite.as_deref().unwrap_or(SUITE))?,
    };
    let server = match &arguments.against {
        Some(server) => server.canonicalize().map_err(|error| format!("{server:?}: {error}"))?,
        None => shell::build_server()?,
    };
    let mut table = Table::read("file")?;
    let column = table.column(&source.version)?;
    let files = arguments.files(&table, column);
    let place = furnish(&source, &server)?;
    let mut outcomes = play_all(&place, &files);
    // On a busy machine some leave servers running, with memcached too: a second try, alone.
    for outcome in outcomes.iter_mut().filter(|outcome| outcome.verdict == Verdict::Fail) {
        if table.expects(column, &outcome.name, Verdict::Pass) {
            *outcome = outcome_of(&place, &outcome.name);
        }
    }
    let count = |verdict| outcomes.iter().filter(|outcome| outcome.verdict == verdict).count();
    let judged = table.judge(column, &outcomes, arguments.write);
    println!(
        "memcached {}: {} passed, {} skipped, {} failed; what they said is in {}",
        source.version,
        count(Verdict::Pass),
        count(Verdict::Skip),
        count(Verdict::Fail),
        place.display(),
    );
    judged
}

impl Arguments {
    fn parse(words: &[String]) -> Result<Self, String> {
        let mut parsed = Self::default();
        let mut words = words.iter().cloned();
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or(format!("{word} needs a value"));
            match word.as_str() {
                "--source" => parsed.source = Some(value()?.into()),
                "--suite" => parsed.suite = Some(value()?),
                "--against" => parsed.against = Some(value()?.into()),
                "--passing" => parsed.passing = true,
                "--write" => parsed.write = true,
                option if option.starts_with('-') => return Err(format!("no option `{option}`")),
                file => parsed.files.push(row_of(file)),
            }
        }
        Ok(parsed)
    }

    /// The files named, or those of the table.
    fn files(&self, table: &Table, column: usize) -> Vec<String> {
        if !self.files.is_empty() {
            return self.files.clone();
        }
        let wanted = |verdict: Verdict| !self.passing || verdict == Verdict::Pass;
        let rows = table.expected(column);
        rows.filter(|(_, verdict)| verdict.is_some_and(wanted)).map(|it| it.0.to_owned()).collect()
    }
}

/// How the table calls a file: `t/cas.t`, `cas.t` and `cas` are one.
fn row_of(file: &str) -> String {
    let name = file.rsplit('/').next().unwrap_or(file);
    if name == UNIT_TESTS || name.ends_with(".t") { name.to_owned() } else { format!("{name}.t") }
}

/// Where all of this is kept.
fn home() -> PathBuf {
    shell::target().join("memcached-suite")
}

/// Makes the directory that the files run in.
fn furnish(source: &Source, server: &Path) -> Result<PathBuf, String> {
    let place = home().join(format!("run-{}", source.version));
    source::make_directory(&place)?;
    let links = [
        ("t", source.directory.join("t")),
        ("timedrun", source.directory.join("timedrun")),
        (UNIT_TESTS, source.directory.join(UNIT_TESTS)),
        ("memcached-debug", server.to_owned()),
    ];
    for (name, target) in links {
        let link = place.join(name);
        if fs::read_link(&link).is_ok() {
            fs::remove_file(&link).map_err(|error| format!("{link:?}: {error}"))?;
        }
        symlink(target, &link).map_err(|error| format!("{link:?}: {error}"))?;
    }
    Ok(place)
}

/// Runs files, some at once; the outcomes are in their order.
fn play_all(place: &Path, files: &[String]) -> Vec<Outcome> {
    let queue = Mutex::new(files.iter().enumerate());
    let done = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().ok().and_then(|mut queue| queue.next());
                    let Some((index, file)) = next else { break };
                    let outcome = outcome_of(place, file);
                    if let Ok(mut done) = done.lock() {
                        done.push((index, outcome));
                    }
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_default();
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, outcome)| outcome).collect()
}

fn outcome_of(place: &Path, file: &str) -> Outcome {
    let started = Instant::now();
    let (verdict, detail) = play(place, file).unwrap_or_else(|error| (Verdict::Fail, error));
    let seconds = started.elapsed().as_secs_f64();
    Outcome { name: file.to_owned(), verdict, detail, seconds }
}

/// Runs a file; what it says is kept next to it.
fn play(place: &Path, file: &str) -> Result<(Verdict, String), String> {
    let log = place.join(format!("{file}.log"));
    let output = File::create(&log).map_err(|error| format!("{log:?}: {error}"))?;
    let errors = output.try_clone().map_err(|error| error.to_string())?;
    let mut command = Command::new("timeout");
    command.args(["--kill-after", "5", TIME_LIMIT]).current_dir(place);
    if file.starts_with(TLS_FILES) {
        command.env("SSL_TEST", "1");
    }
    match file {
        UNIT_TESTS => command.arg("./testapp"),
        file => command.args(["prove", "--verbose"]).arg(format!("t/{file}")),
    };
    let status = command.stdin(Stdio::null()).stdout(output).stderr(errors).status();
    let ended_well = status.map_err(|error| format!("{command:?}: {error}"))?.success();
    let said = fs::read(&log).map_err(|error| format!("{log:?}: {error}"))?;
    Ok(verdict(ended_well, &String::from_utf8_lossy(&said)))
}

/// Reads what a file said: TAP, and prove's own last line.
fn verdict(ended_well: bool, said: &str) -> (Verdict, String) {
    let passed = said.lines().filter(|line| line.starts_with("ok ")).count();
    let failed: Vec<_> = said.lines().filter_map(|line| line.strip_prefix("not ok ")).collect();
    if ended_well && said.contains("\nResult: NOTESTS") {
        return (Verdict::Skip, String::new());
    }
    if ended_well && failed.is_empty() && passed > 0 {
        return (Verdict::Pass, format!("{passed} cases"));
    }
    let cases = match failed.as_slice() {
        [] => "ended before its time".to_owned(),
        [first, ..] => format!("{} failed, the first: {first}", failed.len()),
    };
    (Verdict::Fail, format!("{passed} passed, {cases}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_file_says_is_understood() {
        let rows = [
            (true, "1..2\nok 1 - a\nok 2\nok\nResult: PASS\n", Verdict::Pass),
            (true, "1..0 # SKIP\nskipped\nResult: NOTESTS\n", Verdict::Skip),
            (false, "1..2\nok 1 - a\nnot ok 2 - b\nResult: FAIL\n", Verdict::Fail),
            (false, "ok 1\n", Verdict::Fail),
            (true, "1..1\nnot ok 1\n", Verdict::Fail),
            (true, "", Verdict::Fail),
        ];
        for (ended_well, said, expected) in rows {
            assert_eq!(verdict(ended_well, said).0, expected, "{said}");
        }
    }

    #[test]
    fn a_file_has_one_name() {
        for file in ["t/cas.t", "cas.t", "cas", "./t/cas.t"] {
            assert_eq!(row_of(file), "cas.t");
        }
        assert_eq!(row_of("testapp"), "testapp");
    }
}

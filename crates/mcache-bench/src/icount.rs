//! Instructions per request, counted by callgrind: fixed scripts served by a session over the
//! segment store, in this process. They repeat to a fraction of a percent where times do not.
//!
//! `icount [--write] [NAME...]` compares with icount.txt beside the crate's manifest, and fails
//! if a figure has grown by more than 3 %; with `--write` the file gets the new figures. A line
//! that grows is to say why behind a `#`. Figures of another compiler are printed, not compared.

mod scripts;

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use scripts::SCRIPTS;

/// How much more than it was a figure may be, in hundredths.
const GROWTH_MAX: u64 = 3;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let [word, name] = words.as_slice()
        && word == "--serve"
    {
        return match scripts::serve(name) {
            Some(requests) => {
                println!("{requests}");
                ExitCode::SUCCESS
            }
            None => ExitCode::FAILURE,
        };
    }
    match run(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("icount: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(words: &[String]) -> Result<(), String> {
    let write = words.iter().any(|word| word == "--write");
    let wanted: Vec<_> = words.iter().filter(|word| *word != "--write").collect();
    if let Some(unknown) = wanted.iter().find(|name| !SCRIPTS.iter().any(|it| it.name == **name)) {
        return Err(format!("no script `{unknown}`"));
    }
    let compiler = compiler()?;
    let known = Known::read()?;
    let comparable = known.compiler == compiler;
    let mut grown = Vec::new();
    let mut page = format!("{compiler}\n");
    for script in SCRIPTS {
        let before = known.figure(script.name);
        let asked = wanted.is_empty() || wanted.iter().any(|name| *name == script.name);
        let figure = if asked { measure(script.name)? } else { before.unwrap_or_default() };
        let _ = writeln!(page, "{} {figure}{}", script.name, known.note(script.name));
        if !asked {
            continue;
        }
        let was = before.map_or("new".to_owned(), |before| format!("was {before}"));
        println!("{:14} {figure:6}  {was}", script.name);
        if before.is_some_and(|before| figure * 100 > before * (100 + GROWTH_MAX)) {
            grown.push(script.name);
        }
    }
    if write {
        return std::fs::write(path(), page).map_err(|error| error.to_string());
    }
    if !comparable {
        println!("not compared: the figures in the file are of {}", known.compiler);
    } else if !grown.is_empty() {
        let names = grown.join(", ");
        return Err(format!("more than {GROWTH_MAX} % over what was noted: {names}"));
    }
    Ok(())
}

/// Instructions per request of a script.
fn measure(name: &str) -> Result<u64, String> {
    let this = std::env::current_exe().map_err(|error| error.to_string())?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(format!("--toggle-collect=*{}*", scripts::MEASURED))
        .arg(this)
        .args(["--serve", name])
        .output()
        .map_err(|error| format!("valgrind: {error}"))?;
    let (said, counted) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let instructions = counted
        .lines()
        .find_map(|line| line.split("Collected :").nth(1))
        .and_then(|number| number.trim().parse::<u64>().ok());
    match (said.trim().parse::<u64>(), instructions) {
        (Ok(requests), Some(instructions)) if requests > 0 && instructions > 0 => {
            Ok(instructions / requests)
        }
        _ => Err(format!("{name}: valgrind counted nothing: {counted}")),
    }
}

/// What the file says.
struct Known {
    compiler: String,
    lines: Vec<String>,
}

impl Known {
    /// An absent file says nothing.
    fn read() -> Result<Self, String> {
        let text = match std::fs::read_to_string(path()) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(format!("icount.txt: {error}")),
        };
        let mut lines = text.lines().map(str::to_owned);
        Ok(Self { compiler: lines.next().unwrap_or_default(), lines: lines.collect() })
    }

    fn line(&self, name: &str) -> Option<&str> {
        let mut lines = self.lines.iter();
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
    }

    fn figure(&self, name: &str) -> Option<u64> {
        self.line(name)?.split_whitespace().next()?.parse().ok()
    }

    /// Why the figure is what it is, with the sign before it.
    fn note(&self, name: &str) -> String {
        let note = self.line(name).and_then(|line| line.split_once('#'));
        note.map_or_else(String::new, |(_, note)| format!(" #{note}"))
    }
}

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("icount.txt")
}

/// The compiler's version: another one makes other instructions.
fn compiler() -> Result<String, String> {
    let output = Command::new("rustc").arg("-V").output();
    let output = output.map_err(|error| format!("rustc: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.split_whitespace().take(2).collect::<Vec<_>>().join(" "))
}

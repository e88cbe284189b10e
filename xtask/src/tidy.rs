//! `tidy`: the rules of the house that no compiler holds. Each names the place that breaks it.

use std::fs;
use std::path::Path;

use crate::shell;

/// Lines of a source file, its tests aside.
const LINES_MAX: usize = 600;

/// Columns of a source line.
const COLUMNS_MAX: usize = 100;

/// Files that are longer, and how long they may be at most. These numbers only shrink.
const LONGER: &[(&str, usize)] = &[];

/// Files in which `unsafe` may stand.
const UNSAFE: &[&str] = &[
    "crates/mcache-net/src/uring/buffers.rs",
    "crates/mcache-net/src/uring/ring.rs",
    "crates/mcache-net/src/uring/sends.rs",
    "crates/mcache-store/src/segment/ages.rs",
    "crates/mcache-store/src/segment/arena.rs",
    "crates/mcache-store/src/segment/arriving.rs",
    "crates/mcache-store/src/segment/asan.rs",
    "crates/mcache-store/src/segment/checksum.rs",
    "crates/mcache-store/src/segment/draft.rs",
    "crates/mcache-store/src/segment/fragments.rs",
    "crates/mcache-store/src/segment/index/bucket.rs",
    "crates/mcache-store/src/segment/memory.rs",
    "crates/mcache-store/src/segment/mod.rs",
    "crates/mcache-store/src/segment/pool.rs",
    "crates/mcache-store/src/segment/publish.rs",
    "crates/mcache-store/src/segment/reclaim.rs",
    "crates/mcache-store/src/segment/reclaim/fragments.rs",
    "crates/mcache-store/src/segment/record.rs",
    "crates/mcache-store/src/segment/recycle.rs",
    "crates/mcache-store/src/segment/upkeep.rs",
    "crates/mcache-store/src/segment/warm/attach.rs",
    "crates/mcache-store/src/segment/warm/recover.rs",
    "crates/mcache-store/src/segment/warm/scan.rs",
    "crates/mcache-store/tests/loom.rs",
];

/// What is left behind by unfinished work. Spelled so that this file does not contain it.
const UNFINISHED: &[&str] = &[
    concat!("FIX", "ME"),
    concat!("to", "do!("),
    concat!("db", "g!("),
    concat!("#[ig", "nore"),
    concat!("#[should", "_panic"),
];

/// Places of the machine on which somebody works.
const MACHINE: &[&str] = &[concat!("/wo", "rk/"), concat!("/ho", "me/"), concat!("/ro", "ot/")];

/// Crates whose sources must not know how the wire says things; only mcache-protocol does.
const SPEECHLESS: &[&str] =
    &["mcache-base/src", "mcache-net/src", "mcache-store/src", "mcache-session/src", "mcache/src"];

/// Words of the wire.
const WIRE_WORDS: &[&str] = &[
    "STORED",
    "NOT_STORED",
    "EXISTS",
    "NOT_FOUND",
    "DELETED",
    "TOUCHED",
    "CLIENT_ERROR",
    "SERVER_ERROR",
];

/// Runs the command.
pub fn run(_: &[String]) -> Result<(), String> {
    let mut mistakes = Vec::new();
    for name in files()? {
        let path = shell::root().join(&name);
        let Ok(text) = fs::read_to_string(&path) else { continue }; // not text, or just deleted
        everywhere(&name, &text, &mut mistakes);
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("rs") => source(&name, &text, &mut mistakes),
            Some("md") => page(&name, &text, &mut mistakes),
            _ => {}
        }
    }
    if mistakes.is_empty() { Ok(()) } else { Err(format!("\n  {}", mistakes.join("\n  "))) }
}

/// The project's own files, by their path from the root.
fn files() -> Result<Vec<String>, String> {
    let list = ["ls-files", "--cached", "--others", "--exclude-standard"];
    let output = shell::command("git").args(list).output().map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(format!("git ls-files: {}", String::from_utf8_lossy(&output.stderr).trim()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
}

fn everywhere(name: &str, text: &str, mistakes: &mut Vec<String>) {
    for (number, line) in numbered(text) {
        if let Some(place) = MACHINE.iter().find(|place| line.contains(**place)) {
            mistakes.push(format!("{name}:{number}: {place} is a place on somebody's machine"));
        }
    }
}

fn source(name: &str, text: &str, mistakes: &mut Vec<String>) {
    if !text.starts_with("//!") {
        mistakes.push(format!("{name}:1: begins without //! and what the file is for"));
    }
    let product = product(name, text);
    let lines = product.lines().count();
    let ceiling = LONGER.iter().find(|(file, _)| *file == name).map_or(LINES_MAX, |it| it.1);
    if lines > ceiling {
        mistakes.push(format!("{name}: {lines} lines without tests, {ceiling} at most"));
    }
    for (number, line) in numbered(text) {
        if line.chars().count() > COLUMNS_MAX {
            mistakes.push(format!("{name}:{number}: longer than {COLUMNS_MAX} columns"));
        }
        if let Some(word) = UNFINISHED.iter().find(|word| line.contains(**word)) {
            mistakes.push(format!("{name}:{number}: {word} is unfinished work"));
        }
        if is_unsafe(line) && !UNSAFE.contains(&name) {
            mistakes.push(format!("{name}:{number}: unsafe outside the files listed for it"));
        }
    }
    if SPEECHLESS.iter().any(|house| name.starts_with(&format!("crates/{house}/"))) {
        for (number, line) in numbered(product) {
            let code = line.split("//").next().unwrap_or_default();
            let said = |word: &&&str| {
                code.split('"').skip(1).step_by(2).any(|literal| {
                    literal
                        .split(|c: char| !c.is_ascii_uppercase() && c != '_')
                        .any(|w| w == **word)
                })
            };
            if let Some(word) = WIRE_WORDS.iter().find(said) {
                mistakes.push(format!("{name}:{number}: {word} belongs into mcache-protocol"));
            }
        }
    }
}

/// The file without its tests: nothing of a file of tests, all up to the test module otherwise.
fn product<'t>(name: &str, text: &'t str) -> &'t str {
    if name.contains("/tests/") || name.ends_with("/tests.rs") {
        return "";
    }
    let Some(at) = text.find("\n#[cfg(test)]\nmod ") else { return text };
    &text[..at]
}

fn is_unsafe(line: &str) -> bool {
    let code = line.split("//").next().unwrap_or_default();
    let follows = ["{", "fn ", "impl ", "trait ", "extern "];
    code.split("unsafe ").skip(1).any(|rest| follows.iter().any(|it| rest.starts_with(it)))
}

/// Every path of the project that a page names has to exist.
fn page(name: &str, text: &str, mistakes: &mut Vec<String>) {
    let here = Path::new(name).parent().unwrap_or(Path::new(""));
    for (number, line) in numbered(text) {
        let links = line.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for link in links.filter(|link| !link.contains("://") && !link.starts_with('#')) {
            let link = link.split('#').next().unwrap_or_default();
            if !shell::root().join(here).join(link).exists() {
                mistakes.push(format!("{name}:{number}: {link} does not exist"));
            }
        }
        for word in line.split(|c: char| c.is_whitespace() || "`()[]\"',;|".contains(c)) {
            let path = word.trim_end_matches(['.', ':', '?', '!']);
            if is_project_path(path) && !shell::root().join(path).exists() {
                mistakes.push(format!("{name}:{number}: {path} does not exist"));
            }
        }
    }
}

/// Whether a word is meant as one path from the root.
fn is_project_path(word: &str) -> bool {
    let houses = ["crates/", "docs/", "xtask/", "conformance/", "clients/", "fuzz/", ".ci/"];
    houses.iter().any(|house| word.starts_with(house) && word.len() > house.len())
        && !word.contains(['*', '{', '}', '<', '>', '$', '…'])
}

fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(index, line)| (index + 1, line))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mistakes(check: fn(&str, &str, &mut Vec<String>), name: &str, text: &str) -> usize {
        let mut mistakes = Vec::new();
        check(name, text, &mut mistakes);
        mistakes.len()
    }

    #[test]
    fn each_rule_finds_its_mistake_and_nothing_else() {
        let unsafe_block = concat!("//! x\nlet x = uns", "afe { 1 };\n");
        let lines = format!("//! x\n{}", "\n".repeat(LINES_MAX));
        let tests = format!("//! x\n\n#[cfg(test)]\nmod tests {{{}}}\n", "\n".repeat(LINES_MAX));
        let store = "crates/mcache-store/src/x.rs";
        let rows = [
            (store, "//! x\n", 0),
            (store, "fn main() {}\n", 1),
            (store, concat!("//! x\n// FIX", "ME later\n"), 1),
            (store, unsafe_block, 1),
            (store, "//! x\n//! nothing unsafe { here }\n", 0),
            (store, &lines, 1),
            (store, &tests, 0),
            (store, &format!("//! {}\n", "x".repeat(COLUMNS_MAX)), 1),
            (store, "//! x\nlet x = \"STORED\\r\\n\";\n", 1),
            (store, "//! x\nlet x = \"RESTORED\"; // STORED\n", 0),
            ("crates/mcache-protocol/src/x.rs", "//! x\nlet x = \"STORED\";\n", 0),
        ];
        for (name, text, expected) in rows {
            assert_eq!(mistakes(source, name, text), expected, "{name}: {text}");
        }
        let rows = [
            ("see [the table](../ARCHITECTURE.md#top) and docs/decisions.", 0),
            ("see [the table](nowhere.md)", 1),
            ("see `docs/nowhere.md`, crates/*/src and https://example.com/docs/x", 1),
        ];
        for (text, expected) in rows {
            assert_eq!(mistakes(page, "docs/x.md", text), expected, "{text}");
        }
        assert_eq!(mistakes(everywhere, "x", concat!("cd /ho", "me/me/x")), 1);
    }

    #[test]
    fn the_house_is_tidy() {
        assert_eq!(run(&[]), Ok(()));
    }
}

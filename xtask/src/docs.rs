//! `docs`: writes the pages of docs/ that come from the tables; with `--check` only compares.

use std::fmt::Write;
use std::fs;

use mcache::failure::EXIT_CODES;
use mcache::settings::{Habits, NOT_YET, SETTINGS, Setting, Spelling, USER_KEYS};
use mcache_base::figures::FIGURES;
use mcache_base::stats::{Kind, Source};
use mcache_base::{ClassStat, Stat};
use mcache_protocol::verbs::{Opcode, VERBS};
use mcache_store::eviction::POLICIES;

use crate::shell;

/// Makes a page.
type Page = fn() -> String;

/// The pages: their paths from the root, and what makes them.
const PAGES: &[(&str, Page)] =
    &[("docs/settings.md", settings), ("docs/stats.md", stats), ("docs/commands.md", commands)];

const PROTOCOL_TXT: &str = "https://github.com/memcached/memcached/blob/1.6.45/doc/protocol.txt";

const GENERATED: &str = "<!-- Written by `cargo xtask docs` from the table: edit that instead. -->";

/// Runs the command.
pub fn run(arguments: &[String]) -> Result<(), String> {
    let check = match arguments {
        [] => false,
        [only] if only == "--check" => true,
        _ => return Err("takes --check or nothing".to_owned()),
    };
    for (path, page) in PAGES {
        let (file, text) = (shell::root().join(path), page());
        if fs::read_to_string(&file).is_ok_and(|there| there == text) {
            continue;
        }
        if check {
            return Err(format!("{path} is stale: run cargo xtask docs"));
        }
        fs::write(&file, text).map_err(|error| format!("{path}: {error}"))?;
    }
    Ok(())
}

fn settings() -> String {
    let mut out = format!(
        "# Settings\n\n{GENERATED}\n\n\
         Each can be said on the command line, most also in the TOML file of `--config`, under\n\
         the long option's name without its dashes (`port = 11211`, `listen = [\"127.0.0.1\"]`,\n\
         `disable-evictions = true`, `extended = \"idle_timeout=30\"`). The command line wins.\n\
         Not in the file: `-u`, as `user` begins the tables of users there, and `--config`.\n\
         Started under a name that begins with `memcached`, the program has memcached's\n\
         defaults. A default stands as the option says it; a switch is `off` until it is said.\n\n\
         ## Exit codes\n\n\
         Whatever keeps the server from starting is one line on stderr and an exit code.\n\n\
         | code | why |\n|---|---|\n",
    );
    for (code, why) in EXIT_CODES {
        line(&mut out, &[code.to_string(), (*why).to_owned()]);
    }
    out.push_str(
        "\n## Options\n\n\
         | option | as mcache | as memcached | in `stats settings` | what it is |\n\
         |---|---|---|---|---|\n",
    );
    let said = |setting: &&Setting| !setting.spellings.is_empty();
    for row in SETTINGS.iter().filter(said).filter(|row| row.no_effect.is_none()) {
        let stat = row.stat.map(code).unwrap_or_default();
        let (mcache, memcached) = defaults(row);
        let about = about(row.about);
        line(&mut out, &[options(row), mcache, memcached, stat, about]);
    }
    out.push_str(
        "\n## Users with rights\n\n\
         Only the file can name them, each by a table that `[[user]]` begins; SIGHUP has them\n\
         read again. [security.md](security.md#logins-and-rights) says what the rights are for.\n\n\
         | key | takes | what it is |\n|---|---|---|\n",
    );
    for key in USER_KEYS {
        let takes = if key.is_list { "texts" } else { "a text" };
        line(&mut out, &[code(key.name), takes.to_owned(), about(key.about)]);
    }
    out.push_str("\n## Policies of `--eviction`\n\n| policy | what it does |\n|---|---|\n");
    for policy in POLICIES {
        line(&mut out, &[code(policy.name), policy.about.to_owned()]);
    }
    out.push_str(
        "\n## Without effect\n\nRead, checked, shown in `stats settings`, and named in the log \
         when given.\n\n| option | default | in `stats settings` | what it is in memcached | why \
         it changes nothing |\n|---|---|---|---|---|\n",
    );
    for row in SETTINGS.iter().filter(said) {
        let Some(why) = row.no_effect else { continue };
        let stat = row.stat.map(code).unwrap_or_default();
        line(&mut out, &[options(row), defaults(row).1, stat, about(row.about), why.to_owned()]);
    }
    out.push_str("\n## Not supported yet\n\nAn error, with exit code 64.\n\n");
    let words: Vec<_> = NOT_YET.iter().map(|option| code(&option.words.join(", "))).collect();
    out.push_str(&words.join(" · "));
    out.push_str("\n\n## Only reported\n\nLines of `stats settings` that no option changes.\n\n");
    let rows = SETTINGS.iter().filter(|row| !said(row));
    let lines = rows.filter_map(|row| Some(format!("{} {}", row.stat?, defaults(row).1)));
    out.push_str(&lines.map(|line| code(&line)).collect::<Vec<_>>().join(" · "));
    out.push('\n');
    out
}

const STATS_HEAD: &str = "| name | kind | what it is |\n|---|---|---|\n";

fn stats() -> String {
    let mut out = format!(
        "# Statistics\n\n{GENERATED}\n\n\
         The lines of `stats`, in their order. A counter only rises, and `stats reset` sets it\n\
         to 0; a gauge rises and falls. After a flush `curr_items` and `bytes` fall as upkeep,\n\
         once a second, takes out what was flushed: see protocol.md. The lines that begin with\n\
         `ssl_`, and `time_since_server_cert_refresh`, are there only with `-Z`.\n\n{STATS_HEAD}"
    );
    for stat in Stat::ALL {
        let row = stat.info();
        let kind = match row.source {
            Source::Absent => "always 0",
            _ => kind(row.kind),
        };
        line(&mut out, &[code(row.name), kind.to_owned(), about(row.about)]);
    }
    out.push_str(
        "\n## Of size classes\n\n\
         mcache has no slabs. `stats items` and `stats slabs` name the class that memcached would\n\
         put an item into, and tell of each class what follows. The sum of `mem_requested`\n\
         is `bytes`; `total_pages` are the pages of 1 MiB that these fill together, at least one\n\
         each, and `total_chunks` and `used_chunks` its items, whatever `chunk_size` says;\n\
         `total_malloced` is the memory in use for items and the index. After `stats reset` a\n\
         counter is 0, and so is `evicted_time`. An item has only one place to be in, the one\n\
         that memcached calls cold, so what tells of hot and warm ones is 0. Idle times over 18\n\
         hours are told modulo 65,536 seconds. `stats items` shows a class that has items or has\n\
         evicted some, so that the classes' `evicted` add up to `evictions`.\n\n",
    );
    out.push_str(STATS_HEAD);
    for stat in ClassStat::ALL {
        line(&mut out, &[code(stat.name()), kind(stat.kind()).to_owned(), about(stat.about())]);
    }
    out.push_str(
        "\n## mcache's own: `stats mcache`\n\n\
         memcached answers `ERROR` to it. `stats reset` sets only `idle_kicks` to 0; the other\n\
         counters count from the start. `--engine simple` has only the rows of the server.\n\n\
         | name | kind | unit | of | what it is |\n|---|---|---|---|---|\n",
    );
    for figure in FIGURES {
        let of = if figure.source == Source::Engine { "`segment`" } else { "server" };
        let cells = [&code(figure.name), kind(figure.kind), figure.unit, of, figure.about];
        line(&mut out, &cells.map(str::to_owned));
    }
    out.push_str("\n## The other reports\n\n| report | what it tells |\n|---|---|\n");
    for (report, tells) in REPORTS {
        line(&mut out, &[code(report), (*tells).to_owned()]);
    }
    out
}

/// The reports that have no table of their own.
const REPORTS: &[(&str, &str)] = &[
    (
        "stats settings",
        "The settings in force, under memcached's names; settings.md says which option each is.",
    ),
    (
        "stats sizes",
        "How many items there are of each size, in steps of 32 bytes, size as memcached would \
         have it; `sizes_status disabled` unless started with `-o track_sizes`. It walks over all \
         items, which takes its time in a large cache.",
    ),
    (
        "stats conns",
        "Of each connection and listener its address, `state`, and the seconds since its last \
         command; text protocol only.",
    ),
    (
        "stats detail on|off|dump",
        "Counts gets, hits, sets and deletes by prefix of keys (up to `-D`'s delimiter) from `on` \
         until `off`; `dump` prints a line for each prefix. Refused with `-X`.",
    ),
    (
        "stats cachedump CLASS LIMIT",
        "At most so many keys of a size class, each with its value's length and the Unix time at \
         which it expires; text protocol only, refused with `-X`.",
    ),
    ("stats extstore", "Nothing: there is no flash tier."),
    ("stats reset", "Sets the counters to 0, answers `RESET`; gauges and items stay."),
];

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Text => "text",
    }
}

fn commands() -> String {
    let mut out = format!(
        "# Commands\n\n{GENERATED}\n\n\
         The words of the text protocols, and the opcodes that mean the same in the binary\n\
         protocol (`q`: quiet, `k`: the answer carries the key), with the rights that a user with\n\
         rights needs for it. `mg` with `T`, `N` or `R` needs `write` too, and the reports\n\
         `reset`, `conns`, `detail` and `cachedump` of `stats` need `admin`. memcached's\n\
         [protocol.txt]({PROTOCOL_TXT}) describes the answers, [operating.md](operating.md) what\n\
         follows the words that tune the server.\n\n\
         | command | opcodes | rights | what it does |\n|---|---|---|---|\n"
    );
    for verb in VERBS {
        let word = if verb.word.is_empty() { "(binary only)" } else { verb.word };
        let command = format!("{word} {}", verb.shape.syntax());
        let opcodes: Vec<_> = verb.opcodes.iter().map(opcode).collect();
        let rights: Vec<_> = verb.rights.names().collect();
        let (opcodes, rights) = (opcodes.join(" "), rights.join(", "));
        line(&mut out, &[code(command.trim()), opcodes, rights, about(verb.about)]);
    }
    out
}

fn opcode(opcode: &Opcode) -> String {
    let quiet = if opcode.quiet { "q" } else { "" };
    let with_key = if opcode.with_key { "k" } else { "" };
    format!("0x{:02x}{quiet}{with_key}", opcode.code)
}

fn options(row: &Setting) -> String {
    let spell = |spelling: &Spelling| {
        let words: Vec<_> = spelling.words.iter().map(|word| code(word)).collect();
        match spelling.takes {
            // What may stay away is joined to the word.
            Some(takes) if !spelling.needs_value() => {
                let (last, words) = spelling.words.split_last().unwrap_or((&"", &[]));
                let words = words.iter().map(|word| code(word)).chain([format!("`{last}{takes}`")]);
                words.collect::<Vec<_>>().join(", ")
            }
            Some(takes) => format!("{} {takes}", words.join(", ")),
            None => words.join(", "),
        }
    };
    row.spellings.iter().map(spell).collect::<Vec<_>>().join("<br>")
}

/// As mcache and as memcached.
fn defaults(row: &Setting) -> (String, String) {
    let show = |habits| row.default_said(habits).unwrap_or_default();
    (show(Habits::Mcache), show(Habits::Memcached))
}

fn about(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn code(text: &str) -> String {
    format!("`{text}`")
}

fn line(out: &mut String, cells: &[String]) {
    let cells: Vec<_> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
    let _ = writeln!(out, "| {} |", cells.join(" | "));
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_pages_are_fresh() {
        assert_eq!(super::run(&["--check".to_owned()]), Ok(()));
    }
}

//! Texts for people: the help, the versions, the licence.

use std::fmt::Write;

use mcache_base::MEMCACHED_LEVEL;
use mcache_store::eviction::POLICIES;

use crate::passwd;

use super::{Habits, SETTINGS, Setting, Spelling};

const WIDTH: usize = 80;
const INDENT: usize = 34;

const LICENCES: [&str; 2] =
    [include_str!("../../../../LICENSE-MIT"), include_str!("../../../../LICENSE-APACHE")];

/// `memcached 1.6.45`, which clients and memcached's own test-suite look for.
pub fn memcached_version() -> String {
    format!("memcached {MEMCACHED_LEVEL}\n")
}

/// The version of what the program was started as.
pub fn version(habits: Habits) -> String {
    match habits {
        Habits::Memcached => memcached_version(),
        Habits::Mcache => {
            format!("mcache {} (memcached {MEMCACHED_LEVEL})\n", env!("CARGO_PKG_VERSION"))
        }
    }
}

/// The licence.
pub fn license() -> String {
    let intro = "mcache may be used under either of these two licences.";
    format!("{}\n{intro}\n\n{}", memcached_version(), LICENCES.join("\n"))
}

/// The help. Started as memcached it begins with the line that memcached's begins with.
pub fn text(habits: Habits) -> String {
    let program = match habits {
        Habits::Mcache => "mcache",
        Habits::Memcached => "memcached",
    };
    let mut out = version(habits);
    let _ = writeln!(out, "usage: {program} [OPTION]... [ADDRESS:PORT]...");
    if habits == Habits::Mcache {
        let _ = writeln!(out, "       {program} {}", passwd::USAGE);
    }
    out.push('\n');
    for setting in SETTINGS.iter().filter(|setting| setting.no_effect.is_none()) {
        describe(setting, habits, &mut out);
    }
    for (words, about) in [
        ("-o, --extended=<list>", "comma separated list of the options shown with -o"),
        ("-h, --help", "print this and end"),
        ("-i, --license", "print the licence and end"),
        ("-V", "print the memcached level that is spoken and end"),
        ("--version", "print the version and end"),
    ] {
        push_entry(words, about, &mut out);
    }
    out.push_str("\nPolicies of --eviction:\n");
    for policy in POLICIES {
        push_entry(policy.name, policy.about, &mut out);
    }
    out.push_str(
        "\nADDRESS:PORT without an option is a listener, as with -l. memcached's other options\n\
         are known: those that tune its slabs, LRU and hash table have no effect here and say\n\
         so in the log; those that are not supported yet are an error.\n",
    );
    out
}

fn describe(setting: &Setting, habits: Habits, out: &mut String) {
    for (index, spelling) in setting.spellings.iter().enumerate() {
        let spelled = spell(spelling);
        if index > 0 {
            push_entry(&spelled, &format!("see {}", setting.spellings[0].words[0]), out);
            continue;
        }
        let about = setting.about.trim();
        match setting.default_said(habits) {
            Some(default) if spelling.takes.is_some() => {
                push_entry(&spelled, &format!("{about} (default: {default})"), out);
            }
            _ => push_entry(&spelled, about, out),
        }
    }
}

/// `-m, --memory-limit=<MEGABYTES>`
fn spell(spelling: &Spelling) -> String {
    let words = spelling.words.join(", ");
    match spelling.takes {
        None => words,
        Some(takes) if spelling.needs_value() => format!("{words}=<{takes}>"),
        Some(takes) => format!("{words}{takes}"),
    }
}

/// Words on the left, text on the right, wrapped.
fn push_entry(words: &str, about: &str, out: &mut String) {
    let mut column = words.chars().count();
    out.push_str(words);
    if column >= INDENT {
        out.push('\n');
        column = 0;
    }
    for word in about.split_whitespace() {
        let width = word.chars().count();
        if column + 1 + width > WIDTH {
            out.push('\n');
            column = 0;
        }
        if column < INDENT {
            let _ = write!(out, "{:1$}", "", INDENT - column);
            column = INDENT;
        } else {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += width;
    }
    out.push('\n');
}

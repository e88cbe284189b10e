//! What the user said: the table of settings, the command line and the file that fill it in.
//!
//! Every row of [`table`] makes a field of [`Settings`], its defaults, its options on the command
//! line, its key in the file, its lines in the help, in `stats settings` and in docs/settings.md.
//! Nothing below this crate sees a setting: [`crate::lower`] turns them into plain options.

mod cgroup;
mod command_line;
mod declare;
mod file;
mod help;
mod listen;
mod login;
mod needs;
mod not_yet;
mod read;
mod show;
mod table;
mod tls;
mod users;

use std::ffi::OsString;
use std::fmt;
use std::num::NonZero;
use std::path::Path;

use mcache_base::limits::ITEM_SIZE_CEILING;
use mcache_protocol::StatLine;
use mcache_store::SizeLimit;

use crate::failure::Failure;

pub use listen::{ListenOn, OwnTls, Port};
pub use not_yet::{NOT_YET, NotYet};
pub use table::{SETTINGS, Settings};
pub use users::{USER_KEYS, UserKey};

/// The smallest item size limit (`-I`), in bytes, as memcached.
const ITEM_SIZE_MIN: u64 = 1024;

/// Whose defaults and habits the program has: decided by the name it is started under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Habits {
    /// mcache's own: loopback only, 1 GB, warns about root.
    Mcache,
    /// memcached's: all interfaces, 64 MB, refuses to be root without `-u`.
    Memcached,
}

impl Habits {
    /// The habits of a program started as `program`: a path whose last part is the name.
    pub fn of(program: &Path) -> Self {
        let name = program.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with("memcached") { Self::Memcached } else { Self::Mcache }
    }
}

/// Where the size of the memory is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryFrom {
    /// The user, or the defaults.
    Here,
    /// A share of what the cgroup may have is asked for.
    Cgroup,
    /// It was asked for, and nothing limits the cgroup: the default.
    NoCgroup,
}

/// Of the cgroup's memory, so many percent are for items; the rest is for connections and the
/// program.
const CGROUP_PERCENT: u64 = 75;

/// Most worker threads.
const THREADS_MAX: u64 = 1024;

/// How many worker threads there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Threads {
    /// One for each processor; a number once all that was said is known.
    Auto,
    /// So many.
    Number(u32),
}

impl Threads {
    /// How many that is, here.
    pub fn count(self) -> u32 {
        match self {
            Self::Auto => {
                let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
                processors.min(THREADS_MAX as usize) as u32
            }
            Self::Number(count) => count,
        }
    }
}

impl fmt::Display for Threads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str(read::AUTO),
            Self::Number(count) => count.fmt(f),
        }
    }
}

/// Where items live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// One lock over everything: slow, and obviously right.
    Simple,
    /// Segments of one arena and a compact index.
    Segment,
}

impl Engine {
    /// Every engine.
    pub const ALL: [Self; 2] = [Self::Simple, Self::Segment];

    /// The name that `--engine` takes.
    pub fn name(self) -> &'static str {
        match self {
            Self::Simple => "simple",
            Self::Segment => "segment",
        }
    }
}

/// What a command line asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Invocation {
    /// To serve with these settings.
    Serve(Box<Settings>),
    /// To print this text and end.
    Print(String),
}

/// A setting that the user said something about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// The setting's name.
    pub name: &'static str,
    /// Where it was said first: `-m`, or `file:line: key`.
    pub said: String,
}

/// A row of the table: one setting.
#[derive(Debug)]
pub struct Setting {
    /// The field's name.
    pub name: &'static str,
    /// One sentence or two.
    pub about: &'static str,
    /// How it can be said. None: the row only stands in `stats settings`.
    pub spellings: &'static [Spelling],
    /// The name in `stats settings`, if memcached has one.
    pub stat: Option<&'static str>,
    /// Why the setting changes nothing here, if so: it tunes what mcache does not have.
    pub no_effect: Option<&'static str>,
    /// The value as a person and `stats settings` read it.
    pub show: fn(&Settings) -> String,
}

/// One way to say a setting.
#[derive(Debug)]
pub struct Spelling {
    /// `-m`, `--memory-limit` or `-o idle_timeout`.
    pub words: &'static [&'static str],
    /// What the value is called in the help; `[NAME]` if it may be left out. A switch has none.
    pub takes: Option<&'static str>,
    /// Reads the value (empty if there is none) into its field, or says what it should have been.
    pub set: fn(&mut Settings, &str) -> Result<(), String>,
}

impl Setting {
    /// The default as a spelling would say it, with that spelling's word if it is not the first;
    /// `None` if none can say it or nothing is set. A switch is `on` or `off`: whether saying it
    /// changes nothing.
    pub fn default_said(&self, habits: Habits) -> Option<String> {
        let settings = Settings::defaults(habits);
        let shown = (self.show)(&settings);
        let Some(spelling) = self.spellings.first() else { return Some(shown) };
        if spelling.takes.is_none() {
            let mut said = settings;
            let _ = (spelling.set)(&mut said, "");
            let changes_nothing = (self.show)(&said) == shown;
            return Some(if changes_nothing { "on" } else { "off" }.to_owned());
        }
        if shown == show::UNSET {
            return None;
        }
        let mut said = self.spellings.iter().filter(|spelling| spelling.takes.is_some());
        said.find_map(|other| {
            let text = match shown.parse::<u64>() {
                Ok(number) => (number / other.unit()).to_string(),
                Err(_) => shown.clone(),
            };
            let mut read = settings.clone();
            (other.set)(&mut read, &text).ok().filter(|()| read == settings)?;
            let is_first = std::ptr::eq(other, spelling);
            Some(if is_first { text } else { format!("{} {text}", other.words[0]) })
        })
    }
}

impl Spelling {
    /// Whether a value has to follow.
    pub fn needs_value(&self) -> bool {
        self.takes.is_some_and(|takes| !takes.starts_with('['))
    }

    /// Bytes of what the value counts, or 1.
    fn unit(&self) -> u64 {
        match self.takes {
            Some("MEGABYTES") => 1 << 20,
            Some("KILOBYTES") => 1 << 10,
            _ => 1,
        }
    }

    /// The key in the file: the first long name without its dashes.
    pub fn key(&self) -> Option<&'static str> {
        self.words.iter().find_map(|word| word.strip_prefix("--"))
    }
}

/// A setting that was said, not yet read.
struct Assignment {
    setting: &'static Setting,
    spelling: &'static Spelling,
    /// Where it was said, for the error line: `-m`, or `file:line: key`.
    said: String,
    /// Empty for a switch.
    value: String,
}

impl Settings {
    /// Reads a command line without its program name, and the file that it names.
    pub fn from_command_line(
        habits: Habits,
        arguments: impl IntoIterator<Item = OsString>,
    ) -> Result<Invocation, Failure> {
        Self::with_file(habits, arguments, None)
    }

    /// Reads the same command line again, and the file from where it was found: the process may
    /// have left the directory that its path began in.
    pub fn again(
        &self,
        arguments: impl IntoIterator<Item = OsString>,
    ) -> Result<Invocation, Failure> {
        Self::with_file(self.habits, arguments, self.config.as_deref())
    }

    fn with_file(
        habits: Habits,
        arguments: impl IntoIterator<Item = OsString>,
        found_at: Option<&Path>,
    ) -> Result<Invocation, Failure> {
        let said = match command_line::read(habits, arguments)? {
            command_line::Said::Assignments(said) => said,
            command_line::Said::Print(text) => return Ok(Invocation::Print(text)),
        };
        let mut settings = Self::defaults(habits);
        let (config, said): (Vec<_>, Vec<_>) =
            said.into_iter().partition(|it| it.setting.name == "config");
        settings.apply(config.iter())?;
        if let Some(path) = settings.config.take() {
            let path = found_at.map_or(path, Path::to_owned);
            let in_file = file::read(&path)?;
            settings.users = in_file.users;
            let in_file = in_file.said;
            Self::defaults(habits).apply(in_file.iter())?; // what is overruled has to be right too
            let overruled =
                |it: &&Assignment| said.iter().any(|by| by.setting.name == it.setting.name);
            settings.apply(in_file.iter().filter(|it| !overruled(it)))?;
            settings.config = std::path::absolute(&path).ok();
        }
        settings.apply(said.iter())?;
        settings.settle();
        settings.check()?;
        settings.detail_enabled = settings.is_given("stat_key_prefix");
        Ok(Invocation::Serve(Box::new(settings)))
    }

    /// Whether the user said anything about the setting called `name`.
    pub fn is_given(&self, name: &str) -> bool {
        self.given.iter().any(|given| given.name == name)
    }

    /// The files that SIGHUP, or a command, has read again.
    pub fn files_read_again(&self) -> impl Iterator<Item = &Path> {
        let tls = [&self.tls_chain, &self.tls_key, &self.tls_authorities];
        let tls = tls.into_iter().filter(|_| self.tls);
        tls.chain([&self.config]).filter_map(|file| file.as_deref()).chain(self.users_file())
    }

    /// The settings that are read at the start only and that `now` has otherwise, as the file would
    /// say them.
    pub fn fixed_and_changed(&self, now: &Self) -> Vec<&'static str> {
        let is_changed =
            |row: &&Setting| row.name != "memory" && (row.show)(self) != (row.show)(now);
        let word = |row: &Setting| {
            let spelling = row.spellings.first()?;
            Some(spelling.key().unwrap_or(spelling.words[0]))
        };
        SETTINGS.iter().filter(is_changed).filter_map(word).collect()
    }

    /// The settings that were given and change nothing here, as they were said, each with the
    /// reason.
    pub fn without_effect(&self) -> impl Iterator<Item = (&str, &'static str)> {
        SETTINGS.iter().filter_map(|setting| {
            let given = self.given.iter().find(|given| given.name == setting.name)?;
            Some((given.said.as_str(), setting.no_effect?))
        })
    }

    /// The lines of `stats settings`, in memcached's order.
    pub fn each(&self) -> Vec<StatLine> {
        SETTINGS
            .iter()
            .filter_map(|setting| {
                let name = setting.stat?.to_owned();
                Some(StatLine { name, value: (setting.show)(self) })
            })
            .collect()
    }

    fn apply<'a>(
        &mut self,
        assignments: impl Iterator<Item = &'a Assignment>,
    ) -> Result<(), Failure> {
        for Assignment { setting, spelling, said, value } in assignments {
            (spelling.set)(self, value).map_err(|should| {
                let at = [said.as_str(), value].join(" ");
                Failure::usage(format!("{}: {should}", at.trim()))
            })?;
            if !self.is_given(setting.name) {
                self.given.push(Given { name: setting.name, said: said.clone() });
            }
            if setting.name == "memory" {
                let is_auto = value == read::AUTO;
                self.memory_from = if is_auto { MemoryFrom::Cgroup } else { MemoryFrom::Here };
            }
        }
        Ok(())
    }

    /// Fills in what follows from other settings.
    fn settle(&mut self) {
        if self.udp_port != Port::Off && !self.is_given("port") {
            self.port = self.udp_port;
        }
        self.threads = Threads::Number(self.threads.count());
        if self.memory_from == MemoryFrom::Cgroup {
            self.settle_memory();
        }
        if !self.modern {
            self.settle_old_defaults();
        }
        self.settle_login();
        self.settle_tls();
    }

    /// Takes the cgroup's share, or the default if nothing limits the cgroup.
    fn settle_memory(&mut self) {
        match cgroup::memory_limit(Path::new("/")) {
            Some(limit) => self.memory = limit / 100 * CGROUP_PERCENT,
            None => {
                self.memory = Self::defaults(self.habits).memory;
                self.memory_from = MemoryFrom::NoCgroup;
            }
        }
    }

    /// Gives what was not said the defaults that memcached had before 1.5: `-o no_modern`.
    fn settle_old_defaults(&mut self) {
        let given = &self.given;
        let said = |name: &str| given.iter().any(|given| given.name == name);
        self.maxconns_fast &= said("maxconns_fast");
        self.slab_reassign &= said("slab_reassign");
        self.lru_crawler &= said("lru_crawler");
        self.lru_maintainer &= said("lru_maintainer");
        self.lru_segmented = false;
        if !said("slab_automove") {
            self.slab_automove = 0;
        }
        if !said("slab_chunk_max") {
            self.slab_chunk_max = 1 << 20;
        }
        if !said("hash_algorithm") {
            self.hash_algorithm = "jenkins";
        }
    }

    /// Checks what only shows when all settings are known.
    fn check(&self) -> Result<(), Failure> {
        if let SizeLimit::Item(limit) = self.item_size {
            let mistake = if limit < ITEM_SIZE_MIN {
                Some("Item max size cannot be less than 1024 bytes.")
            } else if limit > ITEM_SIZE_CEILING {
                Some("Cannot set item size limit higher than a gigabyte.")
            } else if limit > self.memory / 2 {
                Some("Cannot set item size limit higher than 1/2 of memory max.")
            } else {
                None
            };
            if let Some(mistake) = mistake {
                return Err(Failure::usage(mistake));
            }
        }
        if self.hot_lru_percent + self.warm_lru_percent > 80 {
            let mistake = "hot_lru_pct + warm_lru_pct cannot be more than 80% combined";
            return Err(Failure::usage(mistake));
        }
        if self.napi_ids > self.threads.count() {
            return Err(Failure::usage(format!(
                "Number of napi_ids({}) cannot be greater than number of threads({})",
                self.napi_ids, self.threads
            )));
        }
        self.check_login()?;
        if self.memory_file.is_some() && self.engine != Engine::Segment {
            return Err(Failure::usage("-e: only --engine segment has its items in a file"));
        }
        if self.takeover.is_some() && self.engine != Engine::Segment {
            return Err(Failure::usage("--takeover: only --engine segment hands its items over"));
        }
        if self.takeover.is_some() && self.drop_privileges {
            return Err(Failure::usage(
                "--takeover: not with -o drop_privileges, as the server could not go on by itself",
            ));
        }
        self.check_tls()?;
        let nowhere = [self.port, self.udp_port] == [Port::Off; 2] && self.unix_socket.is_none();
        if nowhere && self.habits == Habits::Mcache {
            return Err(Failure::usage("nothing to listen on: port 0 and no unix socket"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;

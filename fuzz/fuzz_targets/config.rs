//! Settings: a file and a command line of any words are understood, or refused with a word.
#![no_main]

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;

use libfuzzer_sys::fuzz_target;
use mcache::{Habits, Settings};

fuzz_target!(|input: (bool, Vec<Vec<u8>>, &str)| {
    let (memcached, words, file) = input;
    let habits = if memcached { Habits::Memcached } else { Habits::Mcache };
    let path = std::env::temp_dir().join(format!("mcache-fuzz-config-{}", std::process::id()));
    fs::write(&path, file).expect("there is room for a file");
    let from_file = [OsString::from("--config"), path.into()];
    let words = words.into_iter().map(OsString::from_vec);
    for failure in [
        Settings::from_command_line(habits, from_file).err(),
        Settings::from_command_line(habits, words).err(),
    ] {
        assert!(failure.is_none_or(|failure| !failure.message.is_empty() && failure.exit_code > 0));
    }
});

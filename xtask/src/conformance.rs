//! `conformance`: plays transcripts, against mcache in all its houses or a server of your choice.

use crate::shell;

/// Runs the command.
pub fn run(arguments: &[String]) -> Result<(), String> {
    let given = |option: &str| arguments.iter().any(|argument| argument == option);
    if given("--against") {
        return play(arguments);
    }
    let mut failed = Vec::new();
    for house in ["session", "tcp", "unix"] {
        let chosen = arguments.windows(2).find(|pair| pair[0] == "--house");
        if chosen.is_some_and(|pair| pair[1] != house) {
            continue;
        }
        let mut all = arguments.to_vec();
        if chosen.is_none() {
            all.extend(["--house".to_owned(), house.to_owned()]);
        }
        if house != "session" {
            let server = shell::build_server()?;
            all.extend(["--against".to_owned(), server.to_string_lossy().into_owned()]);
        }
        if let Err(error) = play(&all) {
            failed.push(error);
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(failed.join("\n")) }
}

fn play(arguments: &[String]) -> Result<(), String> {
    let mut cargo = shell::cargo();
    cargo.args(["run", "--quiet", "--package", "mcache-conformance", "--"]);
    // Files are given as seen from where the user is.
    cargo.current_dir(std::env::current_dir().map_err(|error| error.to_string())?);
    shell::run(cargo.args(arguments))
}

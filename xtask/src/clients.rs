//! `clients`: real clients, installed from their registries, each against a fresh server.

use std::path::PathBuf;

use mcache_conformance::{Program, TOPICS, Transport};

use crate::shell;
use crate::tools::{LIBMEMCACHED, Need, PYTHON, Tools, ZLIB};

/// A client, or a tool that reads statistics, and the script in clients/ that puts it to use.
struct Client {
    name: &'static str,
    /// A topic of conformance/: the client is left out until the server speaks it.
    protocol: &'static str,
    needs: &'static [Need],
    script: &'static str,
    /// Told to the script behind the server's address.
    argument: &'static str,
    /// What the server is started with.
    options: &'static [&'static str],
}

const CLIENTS: &[Client] = &[
    Client {
        name: "pymemcache",
        protocol: "text",
        needs: &[PYTHON, Need::Pip("pymemcache==4.0.0")],
        script: "pymemcache.test.py",
        argument: "",
        options: &[],
    },
    Client {
        name: "pylibmc",
        protocol: "text",
        needs: &[PYTHON, LIBMEMCACHED, ZLIB, Need::Pip("pylibmc==1.6.3")],
        script: "pylibmc.test.py",
        argument: "",
        options: &[],
    },
    Client {
        name: "pylibmc-binary",
        protocol: "binary",
        needs: &[PYTHON, LIBMEMCACHED, ZLIB, Need::Pip("pylibmc==1.6.3")],
        script: "pylibmc.test.py",
        argument: "binary",
        options: &[],
    },
    Client {
        name: "python-memcached",
        protocol: "text",
        needs: &[PYTHON, Need::Pip("python-memcached==1.62")],
        script: "python-memcached.test.py",
        argument: "",
        options: &[],
    },
    Client {
        name: "python-binary-memcached",
        protocol: "binary",
        needs: &[PYTHON, Need::Pip("python-binary-memcached==0.33.0")],
        script: "python-binary-memcached.test.py",
        argument: "",
        options: &[],
    },
    Client {
        name: "node-memcached",
        protocol: "text",
        needs: &[Need::Npm("memcached@2.2.2")],
        script: "memcached.test.js",
        argument: "",
        options: &[],
    },
    Client {
        name: "node-memjs",
        protocol: "binary",
        needs: &[Need::Npm("memjs@1.3.2")],
        script: "memjs.test.js",
        argument: "",
        options: &[],
    },
    Client {
        name: "libmemcached-tools",
        protocol: "text",
        needs: &[Need::Debian("libmemcached-tools")],
        script: "libmemcached-tools.test.sh",
        argument: "",
        options: &[],
    },
    Client {
        name: "libmemcached-tools-binary",
        protocol: "binary",
        needs: &[Need::Debian("libmemcached-tools")],
        script: "libmemcached-tools.test.sh",
        argument: "binary",
        options: &[],
    },
    Client {
        name: "gomemcache",
        protocol: "text",
        needs: &[Need::Debian("golang-go"), Need::Debian("golang-github-bradfitz-gomemcache-dev")],
        script: "gomemcache.test.go",
        argument: "",
        options: &[],
    },
    Client {
        name: "meta-memcache",
        protocol: "meta",
        needs: &[PYTHON, Need::Pip("meta-memcache==4.3.0")],
        script: "meta-memcache.test.py",
        argument: "",
        options: &[],
    },
    Client {
        name: "php-memcached",
        protocol: "text",
        needs: &[Need::Debian("php-cli"), Need::Debian("php-memcached")],
        script: "php-memcached.test.php",
        argument: "",
        options: &[],
    },
    Client {
        name: "php-memcached-binary",
        protocol: "binary",
        needs: &[Need::Debian("php-cli"), Need::Debian("php-memcached")],
        script: "php-memcached.test.php",
        argument: "binary",
        options: &[],
    },
    Client {
        name: "dalli",
        protocol: "binary",
        needs: &[Need::Debian("ruby"), Need::Debian("ruby-dalli")],
        script: "dalli.test.rb",
        argument: "",
        options: &[],
    },
    Client {
        name: "cache-memcached-fast",
        protocol: "text",
        needs: &[Need::Debian("perl"), Need::Debian("libcache-memcached-fast-perl")],
        script: "cache-memcached-fast.test.pl",
        argument: "",
        options: &[],
    },
    Client {
        name: "rust-memcache-text",
        protocol: "text",
        needs: &[],
        script: "rust/Cargo.toml",
        argument: "memcache-text",
        options: &[],
    },
    Client {
        name: "rust-memcache-binary",
        protocol: "binary",
        needs: &[],
        script: "rust/Cargo.toml",
        argument: "memcache-binary",
        options: &[],
    },
    Client {
        name: "async-memcached",
        protocol: "meta",
        needs: &[],
        script: "rust/Cargo.toml",
        argument: "async-memcached",
        options: &[],
    },
    Client {
        name: "memcached-tool",
        protocol: "text",
        needs: &[Need::Debian("perl"), Need::Debian("memcached")],
        script: "memcached-tool.test.sh",
        argument: "",
        options: &["-o", "track_sizes"],
    },
    Client {
        name: "damemtop",
        protocol: "text",
        needs: &[
            Need::Debian("memcached"),
            Need::Debian("bsdutils"),
            Need::Debian("libanyevent-perl"),
            Need::Debian("libyaml-perl"),
            Need::Debian("libterm-readkey-perl"),
        ],
        script: "damemtop.test.sh",
        argument: "",
        options: &[],
    },
    Client {
        name: "munin",
        protocol: "text",
        needs: &[Need::Debian("munin-plugins-extra"), Need::Debian("libcache-memcached-perl")],
        script: "munin.test.sh",
        argument: "",
        options: &[],
    },
    Client {
        name: "consumers",
        protocol: "binary",
        needs: &[PYTHON],
        script: "consumers.test.py",
        argument: "",
        options: &[],
    },
];

/// Runs the command: `[--against PROGRAM] [NAME...]`.
pub fn run(words: &[String]) -> Result<(), String> {
    let (server, names) = match words {
        [option, server, names @ ..] if option == "--against" => (PathBuf::from(server), names),
        names => (shell::build_server()?, names),
    };
    let chosen = choose(names)?;
    let tools = Tools::install(chosen.iter().flat_map(|client| client.needs))?;
    let server = Program::new(&server, Transport::Tcp)?;
    let mut failed = 0;
    for client in &chosen {
        match play(client, &server, &tools) {
            Ok(()) => println!("ok      {}", client.name),
            Err(error) => {
                failed += 1;
                println!("FAILED  {}\n{error}", client.name);
            }
        }
    }
    println!("clients: {} passed, {failed} failed", chosen.len() - failed);
    if failed == 0 { Ok(()) } else { Err(format!("{failed} failed")) }
}

/// The clients named, or all whose protocol is spoken.
fn choose(names: &[String]) -> Result<Vec<&'static Client>, String> {
    let known = |name: &String| CLIENTS.iter().any(|client| client.name == name);
    if let Some(name) = names.iter().find(|name| !known(name)) {
        let all: Vec<_> = CLIENTS.iter().map(|client| client.name).collect();
        return Err(format!("no client `{name}`; there are {}", all.join(", ")));
    }
    let chosen = |client: &&Client| match names {
        [] => TOPICS.contains(&client.protocol),
        _ => names.iter().any(|name| name == client.name),
    };
    Ok(CLIENTS.iter().filter(chosen).collect())
}

/// Runs a client's script against a server of its own.
fn play(client: &Client, server: &Program, tools: &Tools) -> Result<(), String> {
    let options: Vec<_> = client.options.iter().map(|&option| option.to_owned()).collect();
    let serving = server.serve(&options)?;
    let script = shell::root().join("clients").join(client.script);
    let mut command = tools.interpreter(&script);
    command.arg(script).arg(serving.address());
    if !client.argument.is_empty() {
        command.arg(client.argument);
    }
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    Err(format!("{}{command:?}: {}", String::from_utf8_lossy(&said), output.status))
}

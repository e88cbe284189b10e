//! The crate `memcache`: the text protocol or the binary one, as the address says.

use memcache::{Client, MemcacheError};

use crate::Deadline;

/// A value, its flags and its cas unique.
type Whole = (String, u32, Option<u64>);

pub fn run(address: &str) {
    play(&Client::connect(address).expect("a connection")).expect("no error");
}

fn play(client: &Client) -> Result<(), MemcacheError> {
    client.set("a", "größer", 3600)?;
    assert_eq!(client.get("a")?, Some("größer".to_owned()));
    assert_eq!(client.get::<String>("missing")?, None);
    for number in 0..100 {
        client.set(&format!("many{number}"), number, 0)?;
    }
    let names: Vec<_> = (0..100).map(|number| format!("many{number}")).collect();
    let keys: Vec<_> = names.iter().map(String::as_str).chain(["missing"]).collect();
    let many = client.gets::<u32>(&keys)?;
    assert!(many.len() == 100 && many["many42"] == 42, "{many:?}");

    // By text the crate does not say whether it was stored.
    let _ = client.add("a", "x", 0);
    let _ = client.replace("missing", "x", 0);
    assert_eq!(client.get("a")?, Some("größer".to_owned()));
    assert_eq!(client.get::<String>("missing")?, None);
    client.add("new", "x", 0)?;
    client.replace("new", "b", 0)?;
    client.append("new", "c")?;
    client.prepend("new", "a")?;
    assert_eq!(client.get("new")?, Some("abc".to_owned()));

    let whole = client.gets::<Whole>(&["a"])?;
    let (value, flags, unique) = &whole["a"];
    assert_eq!((value.as_str(), *flags), ("größer", 0));
    let unique = unique.expect("gets answers a cas unique");
    assert!(client.cas("a", "second", 3600, unique)?);
    assert!(!client.cas("a", "third", 3600, unique)?);

    client.set("n", 10, 0)?;
    assert_eq!((client.increment("n", 5)?, client.decrement("n", 20)?), (15, 0));

    assert!(client.touch("new", 100)? && !client.touch("missing", 100)?);
    client.set("short", "x", 1)?;
    let deadline = Deadline::new();
    while client.get::<String>("short")?.is_some() {
        deadline.check();
        std::thread::sleep(Deadline::PAUSE);
    }

    assert!(client.delete("new")? && !client.delete("new")?);
    let large = vec![b'x'; 1_000_000];
    client.set("large", &large[..], 0)?;
    assert_eq!(client.get("large")?, Some(large));

    assert!(client.version()?[0].1.starts_with("1."), "{:?}", client.version());
    client.flush()?;
    assert_eq!(client.get::<String>("a")?, None);
    Ok(())
}

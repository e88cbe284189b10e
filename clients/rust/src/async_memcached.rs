//! The crate `async-memcached`: the text protocol and the meta protocol. It does not read the
//! dump of all keys as memcached 1.6.45 writes it.

use async_memcached::{AsciiProtocol, Client, Error, MetaProtocol};

use crate::Deadline;

#[tokio::main(flavor = "current_thread")]
pub async fn run(address: &str) {
    let mut client = Client::new(format!("tcp://{address}")).await.expect("a connection");
    text(&mut client).await.expect("no error in text");
    meta(&mut client).await.expect("no error in meta");
    reports(&mut client).await.expect("no error in the reports");
}

async fn text(client: &mut Client) -> Result<(), Error> {
    client.set("a", "größer", Some(3600), Some(7)).await?;
    let found = client.get("a").await?.expect("it was stored");
    assert_eq!((found.data, found.flags), (Some("größer".into()), Some(7)));
    assert!(client.get("missing").await?.is_none());
    let several = [("m1", "1"), ("m2", "2")];
    let stored = client.set_multi(&several, None, None).await?;
    assert!(stored.len() == 2 && stored.values().all(Result::is_ok), "{stored:?}");
    assert_eq!(client.get_multi(["m1", "missing", "m2"]).await?.len(), 2);

    assert!(client.add("a", "x", None, None).await.is_err());
    client.add("n", "10", None, None).await?;
    assert_eq!(client.increment("n", 5).await?, 15);
    assert_eq!(client.decrement("n", 20).await?, 0);
    assert!(client.increment("nothing", 1).await.is_err());

    client.set("short", "x", Some(1), None).await?;
    let deadline = Deadline::new();
    while client.get("short").await?.is_some() {
        deadline.check();
        tokio::time::sleep(Deadline::PAUSE).await;
    }

    client.delete("m1").await?;
    assert!(client.delete("m1").await.is_err());
    let large = vec![b'x'; 1_000_000];
    client.set("large", &large[..], None, None).await?;
    assert_eq!(client.get("large").await?.and_then(|found| found.data), Some(large));
    Ok(())
}

async fn meta(client: &mut Client) -> Result<(), Error> {
    client.meta_set("b", "value", false, Some(b"opaque"), Some(&["F9", "T100", "I"])).await?;
    let asked = ["v", "f", "c", "t", "h"];
    let found = client.meta_get("b", false, Some(b"opaque"), Some(&asked)).await?;
    let found = found.expect("it was stored");
    assert_eq!((found.data, found.flags), (Some(b"value".to_vec()), Some(9)));
    assert_eq!(found.hit_before, Some(false));
    let unique = found.cas.expect("it was asked for");
    client.meta_set("b", "second", false, None, Some(&[&format!("C{unique}")])).await?;
    let old = client.meta_set("b", "third", false, None, Some(&[&format!("C{unique}")])).await;
    assert!(old.is_err(), "an old cas unique");
    assert!(client.meta_get("missing", true, None, Some(&["v"])).await?.is_none());

    let counted =
        client.meta_increment("m", false, None, None, Some(&["N100", "J10", "v"])).await?;
    assert_eq!(counted.and_then(|found| found.data), Some(b"10".to_vec()));
    let counted = client.meta_increment("m", false, None, Some(5), Some(&["v"])).await?;
    assert_eq!(counted.and_then(|found| found.data), Some(b"15".to_vec()));
    client.meta_delete("b", false, None, None).await?;
    assert!(client.meta_get("b", false, None, Some(&["v"])).await?.is_none());
    Ok(())
}

async fn reports(client: &mut Client) -> Result<(), Error> {
    assert!(client.version().await?.starts_with("1."));
    assert!(client.stats().await?["curr_items"].parse::<u32>().is_ok_and(|items| items >= 1));
    client.flush_all().await?;
    assert!(client.get("a").await?.is_none());
    Ok(())
}

//! Commands for the server rather than the cache, with memcached's answers.
//!
//! What tunes memcached's LRU, slabs or flash tier is checked as memcached checks it, shows in
//! `stats settings`, and changes nothing else.

use mcache_base::number::{parse_i32, parse_i64, parse_u32};
use mcache_base::slab_class;
use mcache_protocol::{Admin, Outcome, WireError};
use mcache_store::StorageEngine;

use crate::context::Context;
use crate::dump::{Classes, Dump, List};
use crate::host::{ClockMove, is_on};

/// The answer to a command that is not about one item.
pub(crate) enum Reply<I> {
    /// This.
    Say(Outcome<I>),
    /// A list, sent as room for it comes.
    List(Box<Dump>),
    /// None: the connection ends.
    Close,
}

/// A line that is no error of the table, or what it stands for.
type Answer = Result<(), &'static str>;

const ERROR: &str = "ERROR";
const NO_TLS: &str = "Error TLS not enabled";
const BAD_FORMAT: &str = WireError::BadFormat.text();
const CRAWLER_OFF: &str = WireError::CrawlerOff.text();

/// Smallest memory limit, in megabytes.
const MEGABYTES_MIN: u32 = 8;

/// Largest memory limit, in megabytes: what is larger was meant as bytes.
const MEGABYTES_MAX: u32 = 1_000_000_000;

/// Ids that memcached has for size classes.
const CLASS_IDS: std::ops::Range<u32> = 1..64;

/// Executes a command. `idle`: no answer to an earlier one waits to be sent.
pub(crate) fn admin<E: StorageEngine, I>(
    verb: Admin,
    args: &[u8],
    idle: bool,
    context: &mut Context<'_, E>,
) -> Reply<I> {
    let words: Vec<&[u8]> = args.split(|&byte| byte == b' ').filter(|it| !it.is_empty()).collect();
    let answer = match verb {
        Admin::Shutdown => return shutdown(&words, context),
        Admin::LruCrawler => match words[..] {
            [list @ (b"metadump" | b"mgdump"), classes] => {
                return dump(list, classes, idle, context);
            }
            _ => lru_crawler(&words, context),
        },
        Admin::CacheMemlimit => cache_memlimit(&words, context),
        Admin::Lru => lru(&words, context),
        Admin::Slabs => slabs(&words, context),
        Admin::Extstore => extstore(&words, context),
        Admin::Debugtime => debugtime(&words, context),
        Admin::Misbehave => {
            if context.host.misbehave() {
                Err(ERROR)
            } else {
                Ok(())
            }
        }
        Admin::RefreshCerts => {
            return match context.host.refresh_certificates() {
                Some(Ok(())) => Reply::Say(Outcome::Done),
                Some(Err(error)) => line(&error),
                None => line(NO_TLS),
            };
        }
    };
    say(answer)
}

/// One line.
pub(crate) fn line<I>(text: &str) -> Reply<I> {
    Reply::Say(Outcome::Lines(format!("{text}\r\n").into_bytes()))
}

/// Reads a list of size classes: `all`, `hash` or ids with commas between them.
fn classes(text: &[u8]) -> Option<Classes> {
    if matches!(text, b"all" | b"hash") {
        return Some(Classes::ALL);
    }
    let ids = text.split(|&byte| byte == b',').filter(|id| !id.is_empty());
    ids.map(|id| parse_u32(id).filter(|id| CLASS_IDS.contains(id)).map(Classes::one))
        .try_fold(Classes::NONE, |all, one| Some(all.with(one?)))
}

fn say<I>(answer: Answer) -> Reply<I> {
    match answer {
        Ok(()) => Reply::Say(Outcome::Done),
        Err(text) => line(text),
    }
}

fn shutdown<E: StorageEngine, I>(words: &[&[u8]], context: &Context<'_, E>) -> Reply<I> {
    if !is_on(context.host, "shutdown_command") {
        return Reply::Say(Outcome::Error(WireError::ShutdownNotEnabled));
    }
    match words {
        [] | [b"graceful"] => {
            context.host.stop();
            Reply::Close
        }
        _ => Reply::Say(Outcome::Error(WireError::BadShutdownMode)),
    }
}

fn dump<E: StorageEngine, I>(
    list: &[u8],
    ids: &[u8],
    idle: bool,
    context: &Context<'_, E>,
) -> Reply<I> {
    let metadata = list == b"metadump";
    let (list, name, what) = match metadata {
        true => (List::Metadata, "metadump", "metadump"),
        false => (List::Keys, "mgdump", "key dump"),
    };
    if !is_on(context.host, "lru_crawler") {
        return line(CRAWLER_OFF);
    }
    if !is_on(context.host, "dump_enabled") {
        return line(&format!("ERROR {what} not allowed"));
    }
    if !idle {
        return line(&format!("ERROR cannot pipeline other commands before {name}"));
    }
    match classes(ids) {
        Some(classes) => Reply::List(Box::new(Dump::new(list, classes))),
        None => line("BADCLASS invalid class id"),
    }
}

fn lru_crawler<E: StorageEngine>(words: &[&[u8]], context: &Context<'_, E>) -> Answer {
    let host = context.host;
    match *words {
        [b"crawl", ids] => {
            // Expired items are found by upkeep, which nobody has to ask for.
            if !is_on(host, "lru_crawler") {
                return Err(CRAWLER_OFF);
            }
            classes(ids).ok_or("BADCLASS invalid class id")?;
        }
        [b"tocrawl", number] => {
            let number = parse_u32(number).ok_or(BAD_FORMAT)?;
            host.change_setting("lru_crawler_tocrawl", number.to_string());
        }
        [b"sleep", number] => {
            let number = parse_u32(number).ok_or(BAD_FORMAT)?;
            if number > 1_000_000 {
                return Err(WireError::CrawlerSleep.text());
            }
            host.change_setting("lru_crawler_sleep", number.to_string());
        }
        [b"enable"] => {
            if is_on(host, "lru_crawler") {
                return Err("ERROR failed to start lru crawler thread");
            }
            host.change_setting("lru_crawler", "yes".to_owned());
        }
        [b"disable"] => host.change_setting("lru_crawler", "no".to_owned()),
        _ => return Err(ERROR),
    }
    Ok(())
}

fn cache_memlimit<E: StorageEngine>(words: &[&[u8]], context: &Context<'_, E>) -> Answer {
    let megabytes = words.first().and_then(|word| parse_u32(word)).ok_or(ERROR)?;
    if megabytes < MEGABYTES_MIN {
        return Err("MEMLIMIT_TOO_SMALL cannot set maxbytes to less than 8m");
    }
    if megabytes > MEGABYTES_MAX {
        return Err("MEMLIMIT_ADJUST_FAILED input value is megabytes not bytes");
    }
    let bytes = u64::from(megabytes) << 20;
    if !context.engine.set_capacity(bytes, context.now) {
        return Err("MEMLIMIT_ADJUST_FAILED out of bounds or unable to adjust");
    }
    context.host.change_setting("maxbytes", bytes.to_string());
    Ok(())
}

fn lru<E: StorageEngine>(words: &[&[u8]], context: &Context<'_, E>) -> Answer {
    let host = context.host;
    let change = |name, value: String| host.change_setting(name, value);
    match *words {
        [b"tune", hot, warm, hot_factor, warm_factor, ..] => {
            let (hot, warm) = parse_u32(hot).zip(parse_u32(warm)).ok_or(ERROR)?;
            let factors = parse_ratio(hot_factor).zip(parse_ratio(warm_factor)).ok_or(ERROR)?;
            if u64::from(hot) + u64::from(warm) > 80 {
                return Err("ERROR hot and warm pcts must not exceed 80");
            }
            if factors.0 <= 0.0 || factors.1 <= 0.0 {
                return Err("ERROR hot/warm age factors must be greater than 0");
            }
            change("hot_lru_pct", hot.to_string());
            change("warm_lru_pct", warm.to_string());
            change("hot_max_factor", format!("{:.2}", factors.0));
            change("warm_max_factor", format!("{:.2}", factors.1));
        }
        [b"mode", mode, ..] if is_on(host, "lru_maintainer_thread") => {
            let segmented = match mode {
                b"flat" => "no",
                b"segmented" => "yes",
                _ => return Err(ERROR),
            };
            change("lru_segmented", segmented.to_owned());
        }
        [b"temp_ttl", ttl, ..] if is_on(host, "lru_maintainer_thread") => {
            let ttl = parse_i32(ttl).ok_or(ERROR)?;
            change("temp_lru", if ttl < 0 { "no" } else { "yes" }.to_owned());
            if ttl >= 0 {
                change("temporary_ttl", ttl.to_string());
            }
        }
        _ => return Err(ERROR),
    }
    Ok(())
}

fn slabs<E: StorageEngine>(words: &[&[u8]], context: &Context<'_, E>) -> Answer {
    match *words {
        [b"reassign", from, to] => {
            if !is_on(context.host, "slab_reassign") {
                return Err(WireError::ReassignOff.text());
            }
            let (from, to) = parse_i32(from).zip(parse_i32(to)).ok_or(BAD_FORMAT)?;
            if from == to {
                return Err("SAME src and dst class are identical");
            }
            // 0 is memcached's pool of pages that belong to no class.
            let known = |id: i32| {
                id == 0 || usize::try_from(id).is_ok_and(|id| slab_class::ids().any(|it| it == id))
            };
            if !known(to) || !known(from) {
                return Err("BADCLASS invalid src or dst class id");
            }
            Err("NOSPARE source class has no spare pages") // there are no pages
        }
        [b"automove", ref rest @ ..] if !rest.is_empty() => automove(rest, context),
        _ => Err(ERROR),
    }
}

fn automove<E: StorageEngine>(words: &[&[u8]], context: &Context<'_, E>) -> Answer {
    let change = |name, value: String| context.host.change_setting(name, value);
    let ratio = || words.get(1).and_then(|word| parse_ratio(word)).ok_or(ERROR);
    match words[0] {
        b"ratio" => change("slab_automove_ratio", format!("{:.2}", ratio()?)),
        b"freeratio" => change("slab_automove_freeratio", format!("{:.3}", ratio()?)),
        b"window" => {
            let window = words.get(1).and_then(|word| parse_u32(word)).ok_or(BAD_FORMAT)?;
            if !(3..=1800).contains(&window) {
                return Err(WireError::AutomoveWindow.text());
            }
            change("slab_automove_window", window.to_string());
        }
        level => match parse_u32(level).ok_or(BAD_FORMAT)? {
            level @ 0..=2 => change("slab_automove", level.to_string()),
            _ => return Err(ERROR),
        },
    }
    Ok(())
}

/// What `extstore` tunes with a whole number, and the setting's name.
const EXTSTORE: &[(&[u8], &str)] = &[
    (b"item_size", "ext_item_size"),
    (b"item_age", "ext_item_age"),
    (b"low_ttl", "ext_low_ttl"),
    (b"recache_rate", "ext_recache_rate"),
    (b"compact_under", "ext_compact_under"),
    (b"drop_under", "ext_drop_under"),
    (b"max_sleep", "ext_max_sleep"),
];

fn extstore<E: StorageEngine>(words: &[&[u8]], context: &Context<'_, E>) -> Answer {
    let change = |name, value: String| context.host.change_setting(name, value);
    match *words {
        [b"free_memchunks", class, limit, ..] => {
            let class = parse_u32(class).zip(parse_u32(limit)).ok_or(ERROR)?.0;
            return if class < CLASS_IDS.end { Ok(()) } else { Err(ERROR) };
        }
        [b"max_frag", ratio, ..] => {
            change("ext_max_frag", format!("{:.2}", parse_ratio(ratio).ok_or(ERROR)?));
        }
        [b"drop_unread", number, ..] => {
            let on = parse_u32(number).ok_or(ERROR)? != 0;
            change("ext_drop_unread", if on { "yes" } else { "no" }.to_owned());
        }
        [name, number, ..] => {
            let row = EXTSTORE.iter().find(|(word, _)| *word == name).ok_or(ERROR)?;
            change(row.1, parse_u32(number).ok_or(ERROR)?.to_string());
        }
        _ => return Err(ERROR),
    }
    Ok(())
}

fn debugtime<E: StorageEngine>(words: &[&[u8]], context: &Context<'_, E>) -> Answer {
    let how = match *words.first().ok_or(ERROR)? {
        b"p" => ClockMove::Pause,
        b"r" => ClockMove::Resume,
        seconds => ClockMove::By(parse_i64(seconds).ok_or(ERROR)?),
    };
    if context.host.move_clock(how) { Ok(()) } else { Err(ERROR) }
}

/// A number that need not be whole.
fn parse_ratio(text: &[u8]) -> Option<f64> {
    str::from_utf8(text).ok()?.parse().ok().filter(|ratio: &f64| ratio.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_classes() {
        let rows: &[(&[u8], Option<Classes>)] = &[
            (b"all", Some(Classes::ALL)),
            (b"hash", Some(Classes::ALL)),
            (b"3", Some(Classes::one(3))),
            (b"3,,63,", Some(Classes::one(3).with(Classes::one(63)))),
            (b"0", None),
            (b"64", None),
            (b"1,x", None),
            (b"ALL", None),
        ];
        for (text, expected) in rows {
            assert_eq!(classes(text), *expected, "{}", text.escape_ascii());
        }
    }
}

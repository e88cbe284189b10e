//! The answers of `stats`, from the tables of statistics.

use mcache_base::number::parse_u32;
use mcache_base::stats::{Kind, Part, Source};
use mcache_base::{ClassStat, Stat, slab_class};
use mcache_protocol::{Outcome, Rights, StatLine, Style, WireError};
use mcache_store::StorageEngine;

use crate::admin::{Reply, line};
use crate::context::Context;
use crate::dump::{Classes, Dump, List};
use crate::host::{Host, is_on};

/// The rows of `stats items`: name, what counts it, what has to be in force for it.
///
/// mcache has no parts of an LRU: all items are where a flat LRU has them, in the cold one. What
/// counts nothing is 0.
const ITEMS: &[(&str, Option<ClassStat>, Part)] = &[
    ("number", Some(ClassStat::number), Part::Always),
    ("number_hot", None, Part::Maintainer),
    ("number_warm", None, Part::Maintainer),
    ("number_cold", Some(ClassStat::number), Part::Maintainer),
    ("age_hot", None, Part::Maintainer),
    ("age_warm", None, Part::Maintainer),
    ("age", Some(ClassStat::age), Part::Always),
    ("mem_requested", Some(ClassStat::mem_requested), Part::Always),
    ("evicted", Some(ClassStat::evicted), Part::Always),
    ("evicted_nonzero", Some(ClassStat::evicted_nonzero), Part::Always),
    ("evicted_time", Some(ClassStat::evicted_time), Part::Always),
    ("outofmemory", Some(ClassStat::outofmemory), Part::Always),
    ("tailrepairs", None, Part::Always),
    ("reclaimed", Some(ClassStat::reclaimed), Part::Always),
    ("expired_unfetched", Some(ClassStat::expired_unfetched), Part::Always),
    ("evicted_unfetched", Some(ClassStat::evicted_unfetched), Part::Always),
    ("evicted_active", Some(ClassStat::evicted_active), Part::Maintainer),
    ("crawler_reclaimed", Some(ClassStat::crawler_reclaimed), Part::Always),
    ("crawler_items_checked", Some(ClassStat::crawler_items_checked), Part::Always),
    ("lrutail_reflocked", None, Part::Always),
    ("moves_to_cold", Some(ClassStat::moves_to_cold), Part::Maintainer),
    ("moves_to_warm", Some(ClassStat::moves_to_warm), Part::Maintainer),
    ("moves_within_lru", Some(ClassStat::moves_within_lru), Part::Maintainer),
    ("direct_reclaims", Some(ClassStat::direct_reclaims), Part::Maintainer),
    ("hits_to_hot", None, Part::Maintainer),
    ("hits_to_warm", None, Part::Maintainer),
    ("hits_to_cold", Some(ClassStat::get_hits), Part::Maintainer),
    ("hits_to_temp", None, Part::Maintainer),
];

/// What `stats slabs` counts of a class's operations.
const OPERATIONS: &[ClassStat] = &[
    ClassStat::get_hits,
    ClassStat::cmd_set,
    ClassStat::delete_hits,
    ClassStat::incr_hits,
    ClassStat::decr_hits,
    ClassStat::cas_hits,
    ClassStat::cas_badval,
    ClassStat::touch_hits,
];

/// Size classes that memcached can have.
const CLASS_IDS: u32 = 64;

/// Reports, beside the general one, that everybody may have who is let in: they count and change
/// nothing, and tell of no key and no peer.
const OPEN: &[&[u8]] = &[b"settings", b"items", b"slabs", b"sizes", b"extstore", b"mcache"];

/// The rights that the report needs which the words after `stats` ask for.
pub(crate) fn rights(args: &[u8]) -> Rights {
    let report = args.split(|&byte| byte == b' ').find(|word| !word.is_empty());
    let open = report.is_none_or(|report| OPEN.contains(&report));
    if open { Rights::NONE } else { Rights::ADMIN }
}

/// The report that the words after `stats` ask for. Sub-commands are matched whole:
/// memcached takes any prefix, so that its `stats re` sets the counters to 0.
pub(crate) fn stats<E: StorageEngine, I>(
    args: &[u8],
    style: &Style<'_>,
    context: &mut Context<'_, E>,
) -> Reply<I> {
    let words: Vec<&[u8]> = args.split(|&byte| byte == b' ').filter(|it| !it.is_empty()).collect();
    let Some((report, rest)) = words.split_first() else { return lines(general(context)) };
    match *report {
        b"reset" => {
            context.host.reset_stats();
            context.engine.reset_stats();
            context.prefixes.reset();
            Reply::Say(Outcome::Reset)
        }
        b"settings" => lines(context.host.settings()),
        b"items" => lines(items(context)),
        b"slabs" => lines(slabs(context)),
        b"sizes" if is_on(context.host, "track_sizes") => {
            Reply::List(Box::new(Dump::new(List::sizes(style), Classes::ALL)))
        }
        b"sizes" => lines(vec![stat_line("sizes_status", "disabled")]),
        b"conns" if !matches!(style, Style::Binary(_)) => {
            Reply::List(Box::new(Dump::new(List::Connections { after: -1 }, Classes::ALL)))
        }
        b"detail" => detail(rest, style, context),
        b"cachedump" if !matches!(style, Style::Binary(_)) => cachedump(rest, context),
        // As memcached without a flash tier.
        b"extstore" if !matches!(style, Style::Binary(_)) => lines(Vec::new()),
        b"mcache" => lines(mcache(context)),
        _ => Reply::Say(Outcome::Error(WireError::UnknownReport)),
    }
}

/// memcached's general report, in its order.
fn general<E: StorageEngine>(context: &Context<'_, E>) -> Vec<StatLine> {
    let reported = |stat: &&Stat| in_force(stat.info().part, context.host);
    Stat::ALL
        .iter()
        .filter(reported)
        .filter_map(|&stat| {
            let info = stat.info();
            let value = match info.source {
                Source::Engine => context.engine.stat(stat).to_string(),
                Source::Worker | Source::Host => context.host.stat(stat)?,
                Source::Absent if info.kind == Kind::Text => "none".to_owned(),
                Source::Absent => "0".to_owned(),
            };
            Some(stat_line(info.name, value))
        })
        .collect()
}

/// What each size class holds, and what it has lost: a class whose last item was evicted stays, so
/// that the classes' evictions add up to those of the general report.
fn items<E: StorageEngine>(context: &Context<'_, E>) -> Vec<StatLine> {
    let rows: Vec<_> = ITEMS.iter().filter(|(_, _, part)| in_force(*part, context.host)).collect();
    let mut lines = Vec::new();
    let known = |&class: &usize| {
        let shown = [ClassStat::number, ClassStat::evicted];
        shown.iter().any(|&stat| class_stat(context, class, stat) > 0)
    };
    for class in slab_class::ids().filter(known) {
        for (name, counted, _) in &rows {
            let value = counted.map_or(0, |stat| class_stat(context, class, stat));
            lines.push(stat_line(format!("items:{class}:{name}"), value));
        }
    }
    lines
}

/// The pages that each size class's items fill, and what was done to them.
fn slabs<E: StorageEngine>(context: &Context<'_, E>) -> Vec<StatLine> {
    let mut lines = Vec::new();
    let counted = |class| {
        [ClassStat::number, ClassStat::cmd_set].map(|stat| class_stat(context, class, stat))
    };
    let active: Vec<_> = slab_class::ids().filter(|&class| counted(class) != [0, 0]).collect();
    let bytes = active.iter().map(|&class| class_stat(context, class, ClassStat::mem_requested));
    let pages = pages(&bytes.collect::<Vec<_>>());
    for (&class, pages) in active.iter().zip(pages) {
        let used = class_stat(context, class, ClassStat::number);
        let per_page = slab_class::chunks_per_page(class);
        let mut push = |name: &str, value: u64| {
            lines.push(stat_line(format!("{class}:{name}"), value));
        };
        push("chunk_size", slab_class::CHUNK_SIZES[class - 1] as u64);
        push("chunks_per_page", per_page);
        push("total_pages", pages);
        push("total_chunks", used);
        push("used_chunks", used);
        push("free_chunks", 0);
        push("free_chunks_end", 0);
        for &stat in OPERATIONS {
            push(stat.name(), class_stat(context, class, stat));
        }
    }
    lines.push(stat_line("active_slabs", active.len()));
    lines.push(stat_line("total_malloced", context.engine.memory()));
    lines
}

/// The pages of each class: together as many as all their bytes fill, but no class has none, as
/// readers pass by a class without pages. The largest gives what the small ones have too much.
fn pages(bytes: &[u64]) -> Vec<u64> {
    let all = bytes.iter().sum::<u64>().div_ceil(slab_class::PAGE as u64);
    let mut pages: Vec<_> =
        bytes.iter().map(|bytes| (bytes / slab_class::PAGE as u64).max(1)).collect();
    let excess = pages.iter().sum::<u64>().saturating_sub(all);
    if let Some(most) = pages.iter_mut().max() {
        *most = most.saturating_sub(excess).max(1);
    }
    pages
}

/// `stats detail on|off|dump`
fn detail<E: StorageEngine, I>(
    words: &[&[u8]],
    style: &Style<'_>,
    context: &Context<'_, E>,
) -> Reply<I> {
    let refuse = |text| match style {
        Style::Binary(_) => Reply::Say(Outcome::Error(WireError::UnknownReport)),
        _ => line(text),
    };
    if !is_on(context.host, "dump_enabled") {
        return refuse(WireError::DetailNotAllowed.text());
    }
    let on = match words.first() {
        Some(&b"on") => true,
        Some(&b"off") => false,
        Some(&b"dump") => return Reply::Say(Outcome::Lines(context.prefixes.dump())),
        _ => return refuse(WireError::DetailUsage.text()),
    };
    context.prefixes.count(on);
    context.host.change_setting("detail_enabled", if on { "yes" } else { "no" }.to_owned());
    Reply::Say(Outcome::Done)
}

/// `stats cachedump <class> <limit>`
fn cachedump<E: StorageEngine, I>(words: &[&[u8]], context: &Context<'_, E>) -> Reply<I> {
    if !is_on(context.host, "dump_enabled") {
        return line(WireError::CachedumpNotAllowed.text());
    }
    let [class, limit, ..] = words else { return line(WireError::BadCommandLine.text()) };
    let Some((class, limit)) = parse_u32(class).zip(parse_u32(limit)) else {
        return Reply::Say(Outcome::Error(WireError::BadFormat));
    };
    if class >= CLASS_IDS {
        return line(WireError::BadSlabId.text());
    }
    Reply::List(Box::new(Dump::new(List::cache(limit), Classes::one(class))))
}

/// mcache's own figures.
fn mcache<E: StorageEngine>(context: &Context<'_, E>) -> Vec<StatLine> {
    let mut lines = context.host.figures();
    let figures = context.engine.figures();
    lines.extend(figures.into_iter().map(|(name, value)| stat_line(name, value)));
    lines
}

/// A size class's statistic: the workers count one part, the engine the other.
fn class_stat<E: StorageEngine>(context: &Context<'_, E>, class: usize, stat: ClassStat) -> u64 {
    context.engine.class_stat(class, stat).wrapping_add(context.host.class_stat(class, stat))
}

/// Whether what a row counts is in force: unless a setting says no.
fn in_force(part: Part, host: &dyn Host) -> bool {
    let setting = match part {
        Part::Always => return true,
        Part::Tls => return is_on(host, "ssl_enabled"),
        Part::TlsSessions => {
            return is_on(host, "ssl_enabled") && is_on(host, "ssl_session_cache");
        }
        Part::RefuseAtOnce => "maxconns_fast",
        Part::Crawler => "lru_crawler",
        Part::Maintainer => "lru_maintainer_thread",
    };
    host.setting(setting) != "no"
}

fn lines<I>(lines: Vec<StatLine>) -> Reply<I> {
    Reply::Say(Outcome::Stats(lines))
}

#[expect(clippy::needless_pass_by_value, reason = "reads better where it is called")]
fn stat_line(name: impl Into<String>, value: impl ToString) -> StatLine {
    StatLine { name: name.into(), value: value.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_as_many_as_the_bytes_fill_and_every_class_has_one() {
        const MIB: u64 = 1 << 20;
        for (bytes, expected) in [
            (vec![], vec![]),
            (vec![0], vec![1]),
            (vec![1, 1], vec![1, 1]),
            (vec![5, 62 * MIB, 7], vec![1, 61, 1]),
            (vec![10 * MIB + 1, 20 * MIB + 1], vec![10, 20]),
        ] {
            assert_eq!(pages(&bytes), expected, "{bytes:?}");
        }
    }
}

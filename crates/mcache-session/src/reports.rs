//! The answers of `stats`, from the table of statistics.

use mcache_base::Stat;
use mcache_base::stats::Source;
use mcache_protocol::{Outcome, StatLine, WireError};
use mcache_store::StorageEngine;

use crate::execute::ItemOf;
use crate::session::Context;

/// The report that the words after `stats` ask for. Sub-commands are matched whole:
/// memcached takes any prefix, so that its `stats re` sets the counters to 0.
pub(crate) fn stats<'c, E: StorageEngine>(
    args: &[u8],
    context: &'c mut Context<'_, E>,
) -> Outcome<ItemOf<'c, E>> {
    let mut words = args.split(|&byte| byte == b' ').filter(|word| !word.is_empty());
    match words.next() {
        None => Outcome::Stats(general(context)),
        Some(b"reset") => {
            context.host.reset_stats();
            context.engine.reset_stats();
            Outcome::Reset
        }
        Some(b"settings") => Outcome::Stats(context.host.settings()),
        Some(_) => Outcome::Error(WireError::UnknownReport),
    }
}

/// memcached's general report, in its order.
fn general<E: StorageEngine>(context: &Context<'_, E>) -> Vec<StatLine> {
    Stat::ALL
        .iter()
        .filter_map(|&stat| {
            let info = stat.info();
            let value = match info.source {
                Source::Engine => context.engine.stat(stat).to_string(),
                Source::Worker | Source::Host => context.host.stat(stat)?,
                Source::Absent => "0".to_owned(),
            };
            Some(StatLine { name: info.name.to_owned(), value })
        })
        .collect()
}

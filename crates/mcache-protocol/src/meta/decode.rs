//! Meta lines to requests.

use mcache_base::limits::KEY_MAX;
use mcache_base::operation::{Count, Delete, Fetch, Store, StoreMode};

use crate::decoded::{Decoded, KeyScratch};
use crate::outcome::WireError;
use crate::request::Request;
use crate::style::{MetaCommand, MetaStyle};
use crate::text::{
    BLOCK_END, Line, Tokens, body_len, refused_unless, refused_with_block, refused_with_unknown,
};
use crate::verbs::Operation;

use super::flags::{Flags, Mistake};
use super::key;

/// Decodes a line whose word asks for `operation`. `rest` follows the word.
pub(crate) fn decode<'b>(
    operation: Operation,
    line: Line<'b>,
    rest: &'b [u8],
    scratch: &'b mut KeyScratch,
) -> Decoded<'b> {
    let mut tokens = Tokens::new(rest);
    match operation {
        Operation::Store(_) => return store(line, tokens, scratch),
        Operation::Noop => return whole(Request::Noop, MetaStyle::new(MetaCommand::Noop), line),
        _ => {}
    }
    let Some(token) = tokens.next() else {
        return refused_unless(false, WireError::BadFormat, line);
    };
    let understood = match operation {
        Operation::Inspect => inspect(token, tokens.rest(), scratch),
        Operation::Delete => delete(token, tokens.rest(), scratch),
        Operation::Count { .. } => count(token, tokens.rest(), scratch),
        _ => fetch(token, tokens.rest(), scratch),
    };
    match understood {
        Ok((request, style)) => whole(request, style, line),
        Err(mistake) => refused_unless(false, mistake.into(), line),
    }
}

type Understood<'b> = Result<(Request<'b>, MetaStyle<'b>), Mistake>;

fn whole<'b>(request: Request<'b>, style: MetaStyle<'b>, line: Line<'b>) -> Decoded<'b> {
    Decoded::Request { request, style: style.into(), size: line.size }
}

/// `mg <key> <flag>*`
fn fetch<'b>(token: &'b [u8], text: &'b [u8], scratch: &'b mut KeyScratch) -> Understood<'b> {
    let (key, flags) = key_and_flags(token, text, 2, scratch)?;
    flags.check_opaque()?;
    let fetch = Fetch {
        touch: flags.exptime,
        vivify: flags.created_exptime(),
        recache: flags.recache,
        touch_first: flags.touch_first,
        compete: true,
        new_cas: flags.new_cas,
        unseen: flags.unseen,
        binary_key: flags.binary_key,
    };
    let style = MetaStyle {
        value: flags.value,
        unless_cas: flags.compare,
        ..style(MetaCommand::Fetch, token, text, &flags)
    };
    Ok((Request::Fetch { key, fetch }, style))
}

/// `md <key> <flag>*`
fn delete<'b>(token: &'b [u8], text: &'b [u8], scratch: &'b mut KeyScratch) -> Understood<'b> {
    let (key, flags) = key_and_flags(token, text, 2, scratch)?;
    flags.check_opaque()?;
    let delete = Delete {
        compare: flags.compare,
        invalidate: flags.invalidate,
        clear: flags.clear.then_some(flags.client_flags),
        exptime: flags.exptime,
        new_cas: flags.new_cas,
    };
    Ok((Request::Delete { key, delete }, style(MetaCommand::Delete, token, text, &flags)))
}

/// `ma <key> <flag>*`
fn count<'b>(token: &'b [u8], text: &'b [u8], scratch: &'b mut KeyScratch) -> Understood<'b> {
    let read = key_and_flags(token, text, 2, scratch).map_err(|mistake| match mistake {
        Mistake::Line => mistake,
        Mistake::Flag(_) => Mistake::Flag(WireError::InvalidOrDuplicateFlag),
    });
    let (key, flags) = read?;
    let down = match flags.mode {
        None | Some(Some(b'I' | b'+')) => false,
        Some(Some(b'D' | b'-')) => true,
        Some(_) => return Err(Mistake::Flag(WireError::BadCountMode)),
    };
    flags.check_opaque()?;
    let count = Count {
        delta: flags.delta.unwrap_or(1),
        down,
        create: flags.created_exptime().map(|exptime| (flags.initial, exptime)),
        compare: flags.compare.filter(|cas| *cas != 0), // like memcached: no cas unique is 0
        new_cas: flags.new_cas,
        touch: flags.exptime,
        binary_key: flags.binary_key,
    };
    let style = MetaStyle { value: flags.value, ..style(MetaCommand::Count, token, text, &flags) };
    Ok((Request::Count { key, count }, style))
}

/// `me <key> [b]`: other flags mean nothing, and are not even looked at.
fn inspect<'b>(token: &'b [u8], text: &'b [u8], scratch: &'b mut KeyScratch) -> Understood<'b> {
    if token.len() > KEY_MAX {
        return Err(Mistake::Line);
    }
    let binary_key = Tokens::new(text).any(|flag| flag == b"b");
    let key = match binary_key {
        true => key::decode(token, scratch).ok_or(Mistake::Line)?,
        false => token,
    };
    let style = MetaStyle { key: token, binary_key, ..MetaStyle::new(MetaCommand::Inspect) };
    Ok((Request::Inspect { key }, style))
}

/// `ms <key> <datalen> <flag>*`
///
/// While the length is unknown, nobody can tell where the next command begins; from then on a
/// mistake costs the peer this command only.
fn store<'b>(line: Line<'b>, mut tokens: Tokens<'b>, scratch: &'b mut KeyScratch) -> Decoded<'b> {
    let (Some(token), Some(body)) = (tokens.next(), tokens.next().and_then(body_len)) else {
        return refused_with_unknown(line);
    };
    let text = tokens.rest();
    let understood = key_and_flags(token, text, 3, scratch).and_then(|(key, flags)| {
        let mode = store_mode(flags.mode).ok_or(Mistake::Flag(WireError::BadStoreMode))?;
        flags.check_opaque()?;
        Ok((key, flags, mode))
    });
    let (key, flags, mode) = match understood {
        Ok(understood) => understood,
        // A line that is none: perhaps that was no length either.
        Err(Mistake::Line) => return refused_with_unknown(line),
        Err(Mistake::Flag(error)) => return refused_with_block(false, error, line, body),
    };
    let grows = matches!(mode, StoreMode::Append | StoreMode::Prepend);
    let store = Store {
        mode,
        flags: flags.client_flags,
        exptime: flags.exptime.unwrap_or_default(),
        compare: flags.compare,
        invalidate: flags.invalidate && flags.compare.is_some() && !grows,
        vivify: flags.vivify.filter(|_| grows),
        new_cas: flags.new_cas.filter(|cas| *cas != 0), // like memcached, here alone
        binary_key: flags.binary_key,
    };
    let style =
        MetaStyle { data_len: body, ..style(MetaCommand::Store, token, text, &flags) }.into();
    Decoded::Body { key, store, style, head: line.size, body, tail: BLOCK_END }
}

fn store_mode(mode: Option<Option<u8>>) -> Option<StoreMode> {
    match mode {
        None | Some(Some(b'S')) => Some(StoreMode::Set),
        Some(Some(b'E')) => Some(StoreMode::Add),
        Some(Some(b'A')) => Some(StoreMode::Append),
        Some(Some(b'P')) => Some(StoreMode::Prepend),
        Some(Some(b'R')) => Some(StoreMode::Replace),
        Some(_) => None,
    }
}

/// The key as it is stored, and the flags in `text`, which follow `words` other words.
fn key_and_flags<'b>(
    token: &'b [u8],
    text: &'b [u8],
    words: usize,
    scratch: &'b mut KeyScratch,
) -> Result<(&'b [u8], Flags), Mistake> {
    let flags = match Flags::read(text, words) {
        Err(Mistake::Flag(_)) | Ok(_) if token.len() > KEY_MAX => {
            return Err(Mistake::Flag(WireError::BadFormat));
        }
        read => read?,
    };
    let key = match flags.binary_key {
        true => key::decode(token, scratch).ok_or(Mistake::Flag(WireError::BadKeyEncoding))?,
        false => token,
    };
    Ok((key, flags))
}

fn style<'b>(command: MetaCommand, key: &'b [u8], text: &'b [u8], flags: &Flags) -> MetaStyle<'b> {
    MetaStyle {
        key,
        binary_key: flags.binary_key,
        flags: text,
        quiet: flags.quiet,
        ..MetaStyle::new(command)
    }
}

//! Frames to requests.

use mcache_base::limits::{ITEM_SIZE_CEILING, KEY_MAX, LOGIN_MAX};
use mcache_base::operation::{Count, Delete, Fetch, Store, StoreMode};

use crate::decoded::{Decoded, Resume};
use crate::outcome::WireError;
use crate::request::{Request, Sasl};
use crate::style::{BinaryStyle, Style};
use crate::verbs::{self, Opcode, Operation, SaslStep, Verb};

use super::header::{HEADER_LEN, Header, REQUEST_MAGIC};

/// An increment with this exptime does not create a missing item.
const DO_NOT_CREATE: u32 = u32::MAX;

/// Longest name of a SASL mechanism, as memcached has it.
const MECHANISM_MAX: usize = 32;

/// Decodes the request at the front of `input`. `sasl`: whether peers can log in.
#[inline]
pub fn decode(input: &[u8], sasl: bool) -> Decoded<'_> {
    if input.first().is_some_and(|&magic| magic != REQUEST_MAGIC) {
        return Decoded::Close;
    }
    let Some((header, rest)) = input.split_first_chunk::<HEADER_LEN>() else {
        return Decoded::NeedMore;
    };
    let header = Header::parse(header);
    let Some(value_len) = header.value_len() else {
        return refuse(&header, WireError::UnknownCommand);
    };
    if u64::from(header.body_len) > ITEM_SIZE_CEILING || usize::from(header.key_len) > KEY_MAX {
        return refuse(&header, WireError::BadFormat);
    }
    let Some((verb, opcode)) = verbs::by_opcode(header.opcode) else {
        return skip(&header);
    };
    let Some((extras, rest)) = rest.split_at_checked(usize::from(header.extras_len)) else {
        return Decoded::NeedMore;
    };
    let Some(key) = rest.get(..usize::from(header.key_len)) else {
        return Decoded::NeedMore;
    };
    let style = Style::Binary(style(&header, verb, opcode, key));
    let frame = Frame { header, extras, key, value_len, style };
    let decoded = match verb.operation {
        Operation::Store(mode) => frame.store(mode),
        Operation::Sasl(_) if !sasl => return skip(&header),
        Operation::Sasl(step) => frame.sasl(step, rest),
        operation => frame.request(operation),
    };
    decoded.unwrap_or_else(|| refuse(&header, WireError::BadFormat))
}

/// The get at the front of `input`, in any of its forms, if it has arrived and is laid out as one:
/// its key, how to answer, and its bytes.
#[inline]
pub fn plain_get(input: &[u8]) -> Option<(&[u8], BinaryStyle<'_>, usize)> {
    let (header, rest) = input.split_first_chunk::<HEADER_LEN>()?;
    if header[0] != REQUEST_MAGIC {
        return None;
    }
    let header = Header::parse(header);
    let (verb, opcode) = verbs::by_opcode(header.opcode)?;
    let len = usize::from(header.key_len);
    let fits = (1..=KEY_MAX).contains(&len) && header.body_len as usize == len;
    if verb.operation != Operation::Fetch || header.extras_len != 0 || !fits {
        return None;
    }
    let key = rest.get(..len)?;
    Some((key, style(&header, verb, opcode, key), HEADER_LEN + len))
}

/// How to answer a request.
#[inline]
fn style<'b>(header: &Header, verb: &Verb, opcode: Opcode, key: &'b [u8]) -> BinaryStyle<'b> {
    BinaryStyle {
        opcode: header.opcode,
        opaque: header.opaque,
        quiet: opcode.quiet,
        key: opcode.with_key.then_some(key),
        without_value: verb.operation == Operation::Touch,
    }
}

/// A request with its parts laid out; the value may still be on its way.
struct Frame<'b> {
    header: Header,
    extras: &'b [u8],
    key: &'b [u8],
    value_len: usize,
    style: Style<'b>,
}

impl<'b> Frame<'b> {
    /// A store; `None` if the frame is not laid out as one.
    #[inline]
    fn store(&self, mode: StoreMode) -> Option<Decoded<'b>> {
        let (flags, exptime) = match mode {
            StoreMode::Append | StoreMode::Prepend if self.extras.is_empty() => (0, 0),
            StoreMode::Set | StoreMode::Add | StoreMode::Replace => {
                let (flags, exptime) = self.extras.split_first_chunk()?;
                (u32::from_be_bytes(*flags), parse_exptime(exptime)?)
            }
            _ => return None,
        };
        let compare = self.header.compare();
        // A cas unique makes a compare-and-swap of a set, an add and a replace alike.
        let mode = match mode {
            StoreMode::Add | StoreMode::Replace if compare.is_some() => StoreMode::Set,
            _ => mode,
        };
        Some(Decoded::Body {
            key: self.some_key()?,
            store: Store { mode, flags, exptime, compare, ..Store::default() },
            style: self.style,
            head: self.len(),
            body: self.value_len,
            tail: 0,
        })
    }

    /// A step of logging in, whose message is at the end of `rest`; `None` as above.
    #[cold]
    fn sasl(&self, step: SaslStep, rest: &'b [u8]) -> Option<Decoded<'b>> {
        self.no_extras()?;
        let refused = match self.value_len {
            _ if self.key.len() > MECHANISM_MAX => Some(WireError::BadFormat),
            len if len > LOGIN_MAX => Some(WireError::LoginTooLong),
            _ => None,
        };
        if let Some(error) = refused {
            let resume = Resume::Behind { body: self.value_len as u64, tail: 0 };
            return Some(Decoded::Refused { error, style: self.style, size: self.len(), resume });
        }
        let Some(message) = rest.get(self.key.len()..self.key.len() + self.value_len) else {
            return Some(Decoded::NeedMore);
        };
        let sasl = match step {
            SaslStep::Mechanisms => Sasl::Mechanisms,
            SaslStep::Begin => Sasl::Begin { mechanism: self.key, message },
            SaslStep::Step => Sasl::Step { message },
        };
        let size = self.len() + self.value_len;
        Some(Decoded::Request { request: Request::Sasl(sasl), style: self.style, size })
    }

    /// A request without a value; `None` if the frame is not laid out as `operation` wants it.
    #[inline]
    fn request(&self, operation: Operation) -> Option<Decoded<'b>> {
        if self.value_len != 0 {
            return None;
        }
        let request = match operation {
            Operation::Fetch => {
                self.no_extras()?;
                Request::Fetch { key: self.some_key()?, fetch: Fetch::default() }
            }
            Operation::FetchAndTouch | Operation::Touch => {
                let touch = Some(parse_exptime(self.extras)?);
                Request::Fetch { key: self.some_key()?, fetch: Fetch { touch, ..Fetch::default() } }
            }
            Operation::Delete => {
                self.no_extras()?;
                let delete = Delete { compare: self.header.compare(), ..Delete::default() };
                Request::Delete { key: self.some_key()?, delete }
            }
            Operation::Count { down } => {
                Request::Count { key: self.some_key()?, count: self.count(down)? }
            }
            Operation::FlushAll => {
                self.no_key()?;
                let delay = match self.extras {
                    [] => 0,
                    exptime => parse_exptime(exptime)?,
                };
                Request::FlushAll { delay }
            }
            Operation::Stats => {
                self.no_extras()?;
                Request::Stats { args: self.key }
            }
            Operation::Version => self.bare(Request::Version)?,
            Operation::Noop => self.bare(Request::Noop)?,
            Operation::Quit => self.bare(Request::Quit)?,
            // The table of commands gives these no opcode, or they came another way.
            Operation::Store(_)
            | Operation::Sasl(_)
            | Operation::Inspect
            | Operation::FlushGroup
            | Operation::Verbosity
            | Operation::Watch
            | Operation::Admin(_) => return None,
        };
        Some(Decoded::Request { request, style: self.style, size: self.len() })
    }

    /// Delta, initial value and exptime of an increment or decrement.
    fn count(&self, down: bool) -> Option<Count> {
        let (delta, rest) = self.extras.split_first_chunk()?;
        let (initial, exptime) = rest.split_first_chunk()?;
        let exptime = parse_u32(exptime)?;
        let create = (u64::from_be_bytes(*initial), i64::from(exptime));
        Some(Count {
            delta: u64::from_be_bytes(*delta),
            down,
            create: (exptime != DO_NOT_CREATE).then_some(create),
            compare: self.header.compare(),
            ..Count::default()
        })
    }

    /// Bytes up to the value.
    #[inline]
    fn len(&self) -> usize {
        HEADER_LEN + self.extras.len() + self.key.len()
    }

    #[inline]
    fn some_key(&self) -> Option<&'b [u8]> {
        (!self.key.is_empty()).then_some(self.key)
    }

    fn no_key(&self) -> Option<()> {
        self.key.is_empty().then_some(())
    }

    #[inline]
    fn no_extras(&self) -> Option<()> {
        self.extras.is_empty().then_some(())
    }

    fn bare(&self, request: Request<'b>) -> Option<Request<'b>> {
        self.no_key().and(self.no_extras()).map(|()| request)
    }
}

/// An exptime. memcached reads it unsigned, so that it is never negative.
#[inline]
fn parse_exptime(bytes: &[u8]) -> Option<i64> {
    parse_u32(bytes).map(i64::from)
}

#[inline]
fn parse_u32(bytes: &[u8]) -> Option<u32> {
    bytes.try_into().ok().map(u32::from_be_bytes)
}

/// The stream can't be followed past this frame: answer and close.
#[cold]
fn refuse<'b>(header: &Header, error: WireError) -> Decoded<'b> {
    Decoded::Refused { error, style: echo(header), size: HEADER_LEN, resume: Resume::Never }
}

/// An opcode that nobody knows: answer and skip its body.
#[cold]
fn skip<'b>(header: &Header) -> Decoded<'b> {
    Decoded::Refused {
        error: WireError::UnknownCommand,
        style: echo(header),
        size: HEADER_LEN,
        resume: Resume::Behind { body: u64::from(header.body_len), tail: 0 },
    }
}

fn echo<'b>(header: &Header) -> Style<'b> {
    let (opcode, opaque) = (header.opcode, header.opaque);
    Style::Binary(BinaryStyle { opcode, opaque, ..BinaryStyle::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame: opcode, extras, key and the length of a value that does not come.
    fn frame(opcode: u8, extras: &[u8], key: &[u8], value_len: usize) -> Vec<u8> {
        let mut frame = vec![REQUEST_MAGIC, opcode];
        frame.extend((key.len() as u16).to_be_bytes());
        frame.extend([extras.len() as u8, 0, 0, 0]);
        frame.extend(((extras.len() + key.len() + value_len) as u32).to_be_bytes());
        frame.extend([1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 0, 9]);
        frame.extend(extras);
        frame.extend(key);
        frame
    }

    #[test]
    fn a_plain_get_is_what_the_decoder_makes_of_it() {
        let long = [b'k'; KEY_MAX + 1];
        let mut plain = 0;
        for opcode in 0..=u8::MAX {
            for (extras, key, value_len) in [
                (&b""[..], &b"key"[..], 0),
                (b"", &long[1..], 0),
                (b"", &long, 0),
                (b"", b"", 0),
                (b"abcd", b"key", 0),
                (b"", b"key", 1),
            ] {
                let mut input = frame(opcode, extras, key, value_len);
                let is_fetch = verbs::by_opcode(opcode)
                    .is_some_and(|(verb, _)| verb.operation == Operation::Fetch);
                let told = plain_get(&input).map(|(key, style, size)| {
                    let request = Request::Fetch { key, fetch: Fetch::default() };
                    Decoded::Request { request, style: Style::Binary(style), size }
                });
                match decode(&input, false) {
                    decoded @ Decoded::Request { .. } if is_fetch => {
                        assert_eq!(told, Some(decoded), "{opcode:#x}");
                        plain += 1;
                        input.pop();
                        assert_eq!(plain_get(&input), None, "{opcode:#x} cut short");
                    }
                    other => assert_eq!(told, None, "{opcode:#x}: {other:?}"),
                }
            }
        }
        assert_eq!(plain, 4 * 2, "get, getq, getk and getkq, with keys of both lengths");
        assert_eq!(plain_get(b""), None);
        assert_eq!(plain_get(&[&[0x81], &frame(0, b"", b"k", 0)[1..]].concat()), None);
    }
}

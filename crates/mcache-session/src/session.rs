//! A connection's conversation: decode, execute, encode, until the bytes run out.

mod admission;

use std::sync::Arc;

use mcache_base::limits::{KEY_MAX, REPORTED_PER_TURN, REQUEST_BUFFERED_MAX};
use mcache_base::operation::Fetch;
use mcache_base::{Now, Outgoing};
use mcache_protocol::output::Mark;
use mcache_protocol::text;
use mcache_protocol::{
    Codec, Decoded, KeyScratch, Outcome, Output, Plain, Protocols, Request, Resume, Style,
    WireError,
};
use mcache_store::{Access, Reservation, StorageEngine};

use crate::admin::{Reply, admin};
use crate::context::{Context, ItemOf, ReservationOf};
use crate::dump::Dump;
use crate::events::Kinds;
use crate::execute::{Value, execute, fetch, refuse, store};
use crate::grant::Grant;
use crate::login::{Authentication, Login};
use crate::lookahead::Lookahead;
use crate::reports;

/// What came of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Served {
    /// Bytes of the input that are done with; the caller keeps the rest for the next turn.
    pub consumed: usize,
    /// What the session waits for.
    pub next: Next,
}

/// What a session waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// More bytes: what is left of the input is not a whole request.
    Receive(Awaited),
    /// Its next turn: it has used up this one.
    Turn,
    /// Room: so many answers wait to be sent that it stopped serving.
    Send,
    /// That the caller throws away whatever else has arrived and says so ([`Session::go_on`]),
    /// and only then sends what is owed: the peer's commands could not be told from its data.
    Discard,
    /// Nothing: send what is owed, then close. The peer wants no more.
    Close,
    /// Nothing: send what is owed, then close. The session cannot go on.
    Abort,
    /// To be told whether its peer is who it says it is: [`Session::credentials`],
    /// [`Session::judged`].
    Login,
    /// To follow events of these kinds; nothing is owed.
    Watch(Kinds),
}

/// What the bytes belong to that a session waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Awaited {
    /// A command.
    Command,
    /// The value of a command that has arrived.
    Value,
    /// A value that was refused, to be thrown away.
    Refused,
}

/// One connection's conversation.
pub struct Session<E: StorageEngine> {
    codec: Codec,
    state: State<ReservationOf<E>>,
    /// Its last turn gave a report, or a part of one.
    reports: bool,
    authentication: Authentication,
    /// What the peer's user may ask; anything, if that is not said.
    grant: Option<Arc<Grant>>,
}

/// What lives as long as a turn. `'b` is the turn's input.
struct Turn<'b> {
    /// Where the answer begins that is being given: the answers of a key list are one answer,
    /// taken back whole on an error.
    answered: Mark,
    ahead: Lookahead<'b>,
    /// Where a key that came in base64 is decoded.
    scratch: KeyScratch,
}

/// What the next bytes are.
enum State<R> {
    /// A command.
    Command,
    /// The rest of a value whose head came earlier.
    Value(Box<Arriving<R>>),
    /// A block of data to throw away.
    Skip(Skipped),
    /// A command, once a list has been sent.
    Dump(Box<Dump>),
    /// What a peer says that has not logged in.
    Login(Box<Login>),
}

/// A block of data that is thrown away as it arrives.
#[derive(Clone, Copy)]
struct Skipped {
    /// Bytes of data still to come.
    body: u64,
    /// The line end behind them that is still to come.
    tail: &'static [u8],
}

/// A value that arrives in pieces.
struct Arriving<R> {
    /// The bytes of the command, to be decoded again when the value is whole.
    head: Box<[u8]>,
    reservation: R,
}

/// Whether the conversation goes on in this turn.
enum Step {
    /// So many bytes are done with.
    Consumed(usize),
    /// So many bytes are done with, and a report was given, or a part of one.
    Reported(usize),
    /// So many bytes are done with, and the session waits.
    Wait(usize, Next),
}

impl<E: StorageEngine> Session<E> {
    /// A session of a new connection.
    pub fn new(protocols: Protocols, authentication: Authentication) -> Self {
        let codec = Codec::new(protocols);
        let (codec, state) = match authentication {
            Authentication::None => (codec, State::Command),
            Authentication::Text => (codec, State::Login(Box::default())),
            Authentication::Sasl | Authentication::Either => {
                (codec.with_sasl(), State::Login(Box::default()))
            }
        };
        Self { codec, state, reports: false, authentication, grant: None }
    }

    /// Whether its last turn gave a report or a part of one: it can wait for others.
    pub fn reports(&self) -> bool {
        self.reports
    }

    /// Bytes that are still to come of a value that goes to its place as it comes, or nowhere.
    pub fn missing(&self) -> u64 {
        match &self.state {
            State::Value(arriving) => arriving.reservation.missing() as u64,
            State::Skip(skipped) => skipped.body,
            State::Command | State::Dump(_) | State::Login(_) => 0,
        }
    }

    /// Where the next bytes of a value go, if they can be received there: then [`Self::arrived`]
    /// says how many came, and [`Self::serve`] goes on with those behind them. Empty if they
    /// have no place of their own.
    pub fn place(&mut self, context: &mut Context<'_, E>) -> &mut [u8] {
        let State::Value(arriving) = &mut self.state else { return &mut [] };
        context.access.place(&mut arriving.reservation, context.now)
    }

    /// Notes that so many bytes of a value have come to the front of its place.
    pub fn arrived(&mut self, bytes: usize) {
        if let State::Value(arriving) = &mut self.state {
            arriving.reservation.arrived(bytes);
        }
    }

    /// Whether what comes next belongs to a request of which a part is done with.
    #[inline]
    pub fn is_midway(&self) -> bool {
        match &self.state {
            State::Value(_) | State::Skip(_) => true,
            State::Command | State::Dump(_) | State::Login(_) => self.codec.in_line(),
        }
    }

    /// Goes on after [`Next::Discard`]: all that had arrived was thrown away. `last` is the last
    /// byte of it. If it ended no line, neither does the peer's next line begin a command.
    pub fn go_on(&mut self, last: Option<u8>) {
        if last.is_some_and(|last| last != b'\n') {
            self.codec.skip_rest_of_line();
        }
    }

    /// Serves the whole requests in `input`, appending the answers to `out`.
    ///
    /// The bytes that are not consumed have to be at the front of the next call's input, with
    /// more behind them if [`Next::Receive`] was the answer.
    pub fn serve(
        &mut self,
        input: &[u8],
        out: &mut Output<E::Pin>,
        context: &mut Context<'_, E>,
    ) -> Served {
        self.reports = false;
        if self.grant.is_some() {
            self.heed_change();
        }
        let mut consumed = 0;
        let owed = out.bytes().len();
        let mut turn =
            Turn { answered: out.mark(), ahead: Lookahead::new(), scratch: [0; KEY_MAX] };
        let mut left = context.requests_per_turn;
        loop {
            if out.is_full(context.output_high_water) {
                return Served { consumed, next: Next::Send };
            }
            let rest = input.get(consumed..).unwrap_or_default();
            if rest.is_empty() && !self.goes_on() {
                return Served { consumed, next: Next::Receive(self.awaited()) };
            }
            // A key list is one request: torn between turns, its answers could not be taken back.
            let begins = !self.codec.in_list();
            if begins && left == 0 {
                return Served { consumed, next: Next::Turn };
            }
            let step = match self.state {
                State::Command => {
                    turn.ahead.look(&self.codec, rest, consumed, left, context.access);
                    let short = self.grant.is_none() || self.permits_next(consumed, &turn.ahead);
                    let served = match short {
                        true => self.plain(consumed, rest, &mut turn, out, context),
                        false => None,
                    };
                    match served {
                        Some(size) => Step::Consumed(size),
                        None => self.command(rest, &mut turn, out, context),
                    }
                }
                State::Value(_) => self.value(rest, out, context),
                State::Skip(skipped) => self.skip(skipped, rest, context),
                State::Dump(_) => self.dump(out, context),
                State::Login(_) => self.login(rest, &mut turn.scratch, out, context),
            };
            left -= usize::from(begins);
            match step {
                Step::Consumed(bytes) => consumed += bytes,
                Step::Reported(bytes) => {
                    consumed += bytes;
                    self.reports = true;
                    if out.bytes().len() - owed >= REPORTED_PER_TURN {
                        left = 0;
                    }
                }
                Step::Wait(bytes, next) => return Served { consumed: consumed + bytes, next },
            }
        }
    }

    /// Serves the request at the front of `rest`, if it is one that the look ahead has decoded.
    /// Returns its bytes.
    #[inline(always)] // where it is called once, in the loop
    fn plain(
        &mut self,
        at: usize,
        rest: &[u8],
        turn: &mut Turn<'_>,
        out: &mut Output<E::Pin>,
        context: &mut Context<'_, E>,
    ) -> Option<usize> {
        let (key, plain) = turn.ahead.plain(at)?;
        let (begins, style) = match plain {
            Plain::Get(get) => (get.begins, Style::Text(self.codec.step_over(&get)?)),
            Plain::Frame(get) => (true, Style::Binary(get.style)),
            Plain::Set(set) => {
                turn.ahead.step();
                context.note_command(rest);
                let (how, style) = (set.store(), set.style());
                let value = Value::Whole(set.value);
                let outcome = store(key, &how, &style.into(), value, context);
                text::encode(style, &outcome, out);
                return Some(set.end - set.from);
            }
        };
        turn.ahead.step();
        if begins {
            turn.answered = out.mark();
            context.note_command(rest);
        }
        let found = fetch(key, &Fetch::default(), true, context);
        Codec::encode_get(&style, found.as_ref().ok().map(|hit| &hit.item), out);
        Some(plain.size())
    }

    /// Serves the command at the front of `rest`.
    #[inline]
    fn command(
        &mut self,
        rest: &[u8],
        turn: &mut Turn<'_>,
        out: &mut Output<E::Pin>,
        context: &mut Context<'_, E>,
    ) -> Step {
        let Turn { answered, ahead, scratch } = turn;
        let begins = !self.codec.in_list();
        if begins {
            *answered = out.mark();
        }
        let mut decoded = self.codec.decode(rest, scratch);
        if self.grant.is_some() {
            self.check(&mut decoded, rest, context);
        }
        if begins && !matches!(decoded, Decoded::NeedMore | Decoded::Body { .. }) {
            context.note_command(rest);
        }
        match decoded {
            Decoded::Request { request, style, size } if request.is_to_server() => {
                self.administer(&request, &style, size, out, context)
            }
            Decoded::Request { request, style, size } => {
                let now = context.now;
                let outcome = execute(&request, &style, ahead, context);
                let quit = matches!(request, Request::Quit);
                if !quit || matches!(style, Style::Binary(_)) {
                    Codec::encode(&style, &outcome, now, out);
                }
                if quit { Step::Wait(size, Next::Close) } else { Step::Consumed(size) }
            }
            body @ Decoded::Body { .. } => self.body(&body, rest, ahead, out, context),
            Decoded::NeedMore => Step::Wait(0, Next::Receive(Awaited::Command)),
            Decoded::Refused { error, style, size, resume } => {
                out.rollback(*answered);
                say::<E>(error, &style, out, context.now);
                match resume {
                    Resume::Behind { body, tail } => {
                        self.swallow(body, tail);
                        Step::Consumed(size)
                    }
                    Resume::Anew => self.discard(rest, context),
                    Resume::Never => Step::Wait(size, Next::Abort),
                }
            }
            Decoded::Close => Step::Wait(rest.len(), Next::Abort),
        }
    }

    /// Serves a command that is not about one item.
    #[cold]
    fn administer(
        &mut self,
        request: &Request<'_>,
        style: &Style<'_>,
        size: usize,
        out: &mut Output<E::Pin>,
        context: &mut Context<'_, E>,
    ) -> Step {
        let reply: Reply<ItemOf<'_, E>> = match *request {
            Request::Watch { args } => {
                let refused = match Kinds::parse(args) {
                    _ if !context.host.watch_allowed() => WireError::WatchNotAllowed,
                    _ if !out.is_empty() => WireError::WatchPipelined,
                    None => WireError::UnknownCommand,
                    Some(kinds) => return Step::Wait(size, Next::Watch(kinds)),
                };
                Reply::Say(Outcome::Error(refused))
            }
            Request::Admin { verb, args } => admin(verb, args, out.is_empty(), context),
            Request::Stats { args } => reports::stats(args, style, context),
            Request::Sasl(step) => return self.login_again(&step, style, size, out, context),
            _ => return Step::Consumed(size),
        };
        match reply {
            Reply::Say(outcome) => Codec::encode(style, &outcome, context.now, out),
            Reply::List(dump) => {
                dump.begin(out);
                self.state = State::Dump(dump);
            }
            Reply::Close => return Step::Wait(size, Next::Close),
        }
        Step::Reported(size)
    }

    /// Sends more of a list.
    fn dump(&mut self, out: &mut Output<E::Pin>, context: &mut Context<'_, E>) -> Step {
        if let State::Dump(dump) = &mut self.state
            && dump.step(out, context)
        {
            self.state = State::Command;
        }
        Step::Reported(0)
    }

    /// Serves a store whose head has arrived: at once if its value is there too.
    #[inline]
    fn body(
        &mut self,
        decoded: &Decoded<'_>,
        rest: &[u8],
        ahead: &mut Lookahead<'_>,
        out: &mut Output<E::Pin>,
        context: &mut Context<'_, E>,
    ) -> Step {
        let Decoded::Body { key, store: how, style, head, body, tail } = decoded else {
            return Step::Wait(0, Next::Receive(Awaited::Value));
        };
        let size = head + body + tail;
        if let Some(data) = rest.get(*head..size) {
            context.note_command(rest);
            let (value, line_end) = data.split_at(*body);
            if !ends_well(line_end) {
                say_bad_chunk::<E>(style, out, context.now);
                return self.discard(rest, context);
            }
            let now = context.now;
            let key = ahead.key(key, context.access);
            let outcome = store(key, how, style, Value::Whole(value), context);
            Codec::encode(style, &outcome, now, out);
            return Step::Consumed(size);
        }
        if size <= REQUEST_BUFFERED_MAX {
            return Step::Wait(0, Next::Receive(Awaited::Value));
        }
        context.note_command(rest);
        let hashed = context.access.key(key);
        match context.access.reserve(hashed, how, *body, context.now) {
            Ok(reservation) => {
                let head_bytes = rest.get(..*head).unwrap_or_default().into();
                self.state = State::Value(Box::new(Arriving { head: head_bytes, reservation }));
            }
            Err(refusal) => {
                let now = context.now;
                context.note_set(key, style);
                let outcome = refuse(key, how, style, *body, refusal, context);
                Codec::encode(style, &outcome, now, out);
                self.swallow(*body as u64, *tail);
            }
        }
        Step::Consumed(*head)
    }

    /// Takes more of a value that arrives in pieces; stores it when it is whole.
    #[inline(never)] // most values come whole
    fn value(
        &mut self,
        rest: &[u8],
        out: &mut Output<E::Pin>,
        context: &mut Context<'_, E>,
    ) -> Step {
        let State::Value(arriving) = &mut self.state else {
            return Step::Consumed(0);
        };
        let mut taken = 0;
        while taken < rest.len() && arriving.reservation.missing() > 0 {
            context.access.place(&mut arriving.reservation, context.now);
            taken += arriving.reservation.fill(rest.get(taken..).unwrap_or_default());
        }
        if arriving.reservation.missing() > 0 {
            return Step::Wait(taken, Next::Receive(Awaited::Value));
        }
        let mut scratch = [0; KEY_MAX];
        let Decoded::Body { tail, .. } = self.codec.decode(&arriving.head, &mut scratch) else {
            return Step::Wait(taken, Next::Abort);
        };
        let Some(line_end) = rest.get(taken..taken + tail) else {
            return Step::Wait(taken, Next::Receive(Awaited::Value));
        };
        let well = ends_well(line_end);
        let State::Value(arriving) = std::mem::replace(&mut self.state, State::Command) else {
            return Step::Consumed(0);
        };
        let Arriving { head, reservation } = *arriving;
        let whole = self.codec.decode(&head, &mut scratch);
        if let Decoded::Body { key, store: how, style, body: len, .. } = whole {
            if well {
                let now = context.now;
                let (key, value) = (context.access.key(key), Value::Arrived { reservation, len });
                let outcome = store(key, &how, &style, value, context);
                Codec::encode(&style, &outcome, now, out);
            } else {
                say_bad_chunk::<E>(&style, out, context.now);
                return self.discard(rest, context);
            }
        }
        Step::Consumed(taken + tail)
    }

    /// Throws more of a block of data away. Its request has been answered.
    fn skip(&mut self, skipped: Skipped, rest: &[u8], context: &Context<'_, E>) -> Step {
        let Skipped { body, tail } = skipped;
        let bytes = body.min(rest.len() as u64) as usize;
        let behind = rest.get(bytes..).unwrap_or_default();
        let (here, later) = tail.split_at(tail.len().min(behind.len()));
        if !behind.starts_with(here) {
            return self.discard(rest, context);
        }
        self.skip_on(Skipped { body: body - bytes as u64, tail: later });
        Step::Consumed(bytes + here.len())
    }

    /// Throws away all that has arrived, as nobody can tell where in it the next command begins.
    #[cold]
    fn discard(&mut self, rest: &[u8], context: &Context<'_, E>) -> Step {
        if !context.host.goes_on_unframed() {
            return Step::Wait(rest.len(), Next::Abort);
        }
        self.state = State::Command;
        Step::Wait(rest.len(), Next::Discard)
    }

    /// Whether there is something to do or to wait for although no bytes have arrived.
    fn goes_on(&self) -> bool {
        match &self.state {
            State::Dump(_) => true,
            State::Login(login) => login.is_at_court(),
            State::Value(arriving) => arriving.reservation.missing() == 0,
            State::Command | State::Skip(_) => false,
        }
    }

    /// What the next bytes belong to.
    fn awaited(&self) -> Awaited {
        match self.state {
            State::Command | State::Dump(_) | State::Login(_) => Awaited::Command,
            State::Value(_) => Awaited::Value,
            State::Skip(_) => Awaited::Refused,
        }
    }

    /// Throws away a block of data with a line end of `tail` bytes, which text has.
    fn swallow(&mut self, body: u64, tail: usize) {
        self.skip_on(Skipped { body, tail: if tail == 0 { b"" } else { LINE_END } });
    }

    fn skip_on(&mut self, skipped: Skipped) {
        let done = skipped.body == 0 && skipped.tail.is_empty();
        self.state = if done { State::Command } else { State::Skip(skipped) };
    }
}

/// What ends a text value.
const LINE_END: &[u8] = b"\r\n";

/// Whether the bytes after a text value are its line end. Binary values have none.
fn ends_well(line_end: &[u8]) -> bool {
    line_end.is_empty() || line_end == LINE_END
}

fn say<E: StorageEngine>(error: WireError, style: &Style<'_>, out: &mut Output<E::Pin>, now: Now) {
    Codec::encode::<ItemOf<'_, E>>(style, &Outcome::Error(error), now, out);
}

/// Only a classic command with `noreply` keeps quiet about a bad data chunk.
fn say_bad_chunk<E: StorageEngine>(style: &Style<'_>, out: &mut Output<E::Pin>, now: Now) {
    say::<E>(WireError::BadDataChunk, style, out, now);
}

//! What a peer says before it may ask anything: who it is.
//!
//! The session reads it and answers; whether it is true is for the caller to judge, who may take
//! his time.

use std::sync::Arc;

use mcache_base::Stat;
use mcache_base::limits::LOGIN_MAX;
use mcache_protocol::request::Sasl;
use mcache_protocol::text::{Login as Line, decode_login};
use mcache_protocol::{BinaryStyle, Codec, Decoded, Outcome, Output, Request, Style, TextStyle};
use mcache_protocol::{KeyScratch, Resume, WireError};
use mcache_store::StorageEngine;
use zeroize::Zeroizing;

use crate::context::{Context, ItemOf};
use crate::grant::Grant;

/// The SASL mechanisms that are spoken.
const MECHANISMS: &str = "PLAIN";

/// How peers have to log in before they may ask anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Authentication {
    /// Not at all.
    #[default]
    None,
    /// In text, by a set whose value is a name and a password.
    Text,
    /// In binary, by SASL.
    Sasl,
    /// In text or in binary, whichever a peer speaks.
    Either,
}

/// What came of a login.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// There is no such user, or the password is another.
    Refused,
    /// The peer may ask what its user is granted; anything, if that is not said.
    Admitted(Option<Arc<Grant>>),
}

/// The name and the password of a peer; wiped when they are dropped.
pub struct Credentials {
    /// The name.
    pub user: Zeroizing<Vec<u8>>,
    /// The password.
    pub password: Zeroizing<Vec<u8>>,
}

/// Where a peer stands that has not logged in.
#[derive(Default)]
pub(crate) struct Login {
    /// By SASL, it has named a mechanism, and its message is awaited.
    begun: bool,
    /// Who it says it is, until somebody asks.
    said: Option<Credentials>,
    /// How to answer it once it has been judged.
    answer: Option<Style<'static>>,
}

/// What came of a peer's words.
#[derive(Clone, Copy)]
pub(crate) enum Said {
    /// So many bytes are done with.
    Consumed(usize),
    /// So many bytes are done with, and it has to be judged.
    ToBeJudged(usize),
    /// More is needed.
    NeedMore,
    /// Close, after the answer if there is one.
    Close(usize),
}

impl Credentials {
    fn new(user: &[u8], password: &[u8]) -> Self {
        Self { user: user.to_vec().into(), password: password.to_vec().into() }
    }

    /// From a message of the mechanism PLAIN (RFC 4616). On whose behalf the peer acts is not
    /// looked at: there is one cache for all.
    fn plain(message: &[u8]) -> Option<Self> {
        let mut parts = message.splitn(3, |&byte| byte == 0).skip(1);
        Some(Self::new(parts.next()?, parts.next()?))
    }
}

impl Login {
    /// Serves a peer of the text protocol that has not logged in.
    pub(crate) fn text<E: StorageEngine>(
        &mut self,
        rest: &[u8],
        out: &mut Output<E::Pin>,
        context: &Context<'_, E>,
    ) -> Said {
        let style = Style::Text(TextStyle::default());
        match decode_login(rest) {
            Line::NeedMore => Said::NeedMore,
            Line::Close => Said::Close(rest.len()),
            Line::Refused { error, size } => {
                say::<E>(&Outcome::Error(error), &style, out, context);
                Said::Consumed(size)
            }
            Line::Credentials { user, password, size } => {
                self.judge(Credentials::new(user, password), style);
                Said::ToBeJudged(size)
            }
        }
    }

    /// Serves a peer of the binary protocol that has not logged in.
    pub(crate) fn binary<E: StorageEngine>(
        &mut self,
        rest: &[u8],
        codec: &mut Codec,
        scratch: &mut KeyScratch,
        out: &mut Output<E::Pin>,
        context: &Context<'_, E>,
    ) -> Said {
        match codec.decode(rest, scratch) {
            Decoded::NeedMore => Said::NeedMore,
            Decoded::Close => Said::Close(rest.len()),
            Decoded::Request { request: Request::Version, style, size } => {
                say::<E>(&Outcome::Version(mcache_base::MEMCACHED_LEVEL), &style, out, context);
                Said::Consumed(size)
            }
            Decoded::Request { request: Request::Sasl(step), style, size } => {
                self.step::<E>(&step, &style, size, out, context)
            }
            // Nor is it told what else is wrong with its request.
            Decoded::Request { style, .. }
            | Decoded::Body { style, .. }
            | Decoded::Refused { style, resume: Resume::Never | Resume::Anew, .. } => {
                say::<E>(&Outcome::Error(WireError::Unauthenticated), &style, out, context);
                Said::Close(rest.len())
            }
            Decoded::Refused { error, style, size, resume: Resume::Behind { body, .. } } => {
                let size = size as u64 + body;
                if size > rest.len() as u64 && body <= LOGIN_MAX as u64 {
                    return Said::NeedMore;
                }
                say::<E>(&Outcome::Error(error), &style, out, context);
                match usize::try_from(size).ok().filter(|size| *size <= rest.len()) {
                    Some(size) => Said::Consumed(size),
                    None => Said::Close(rest.len()),
                }
            }
        }
    }

    /// Takes a step of SASL.
    pub(crate) fn step<E: StorageEngine>(
        &mut self,
        step: &Sasl<'_>,
        style: &Style<'_>,
        size: usize,
        out: &mut Output<E::Pin>,
        context: &Context<'_, E>,
    ) -> Said {
        let message = match *step {
            Sasl::Mechanisms => {
                say::<E>(&Outcome::Mechanisms(MECHANISMS), style, out, context);
                return Said::Consumed(size);
            }
            Sasl::Begin { mechanism, message: [] } if is_spoken(mechanism) => {
                self.begun = true;
                say::<E>(&Outcome::Challenge, style, out, context);
                return Said::Consumed(size);
            }
            Sasl::Begin { mechanism, message } => is_spoken(mechanism).then_some(message),
            Sasl::Step { message } => self.begun.then_some(message),
        };
        self.begun = false;
        match message.and_then(Credentials::plain) {
            Some(credentials) => {
                self.judge(credentials, unborrowed(style));
                Said::ToBeJudged(size)
            }
            None => {
                self.answer = Some(unborrowed(style));
                self.judged(false, out, context);
                Said::Consumed(size)
            }
        }
    }

    fn judge(&mut self, credentials: Credentials, style: Style<'static>) {
        self.said = Some(credentials);
        self.answer = Some(style);
    }

    /// Who the peer says it is, to be judged; the second time nobody.
    pub(crate) fn credentials(&mut self) -> Option<Credentials> {
        self.said.take()
    }

    /// Whether it is being judged.
    pub(crate) fn is_at_court(&self) -> bool {
        self.answer.is_some()
    }

    /// Tells the peer what came of it.
    pub(crate) fn judged<E: StorageEngine>(
        &mut self,
        admitted: bool,
        out: &mut Output<E::Pin>,
        context: &Context<'_, E>,
    ) {
        let Some(style) = self.answer.take() else { return };
        context.counters.add(Stat::auth_cmds, 1);
        if admitted {
            say::<E>(&Outcome::LoggedIn, &style, out, context);
        } else {
            context.counters.add(Stat::auth_errors, 1);
            say::<E>(&Outcome::Error(WireError::LoginFailed), &style, out, context);
        }
    }
}

fn is_spoken(mechanism: &[u8]) -> bool {
    mechanism.eq_ignore_ascii_case(MECHANISMS.as_bytes())
}

/// The style of an answer that is given later; no answer of a login names a key.
fn unborrowed(style: &Style<'_>) -> Style<'static> {
    match style {
        Style::Binary(style) => Style::Binary(BinaryStyle { key: None, ..*style }),
        _ => Style::Text(TextStyle::default()),
    }
}

fn say<E: StorageEngine>(
    outcome: &Outcome<ItemOf<'_, E>>,
    style: &Style<'_>,
    out: &mut Output<E::Pin>,
    context: &Context<'_, E>,
) {
    Codec::encode(style, outcome, context.now, out);
}

//! Who a session's peer is, and what it may ask because of that.

use std::sync::Arc;

use mcache_protocol::request::Sasl;
use mcache_protocol::{Decoded, KeyScratch, Output, Style};
use mcache_store::StorageEngine;

use super::{Awaited, Next, Session, State, Step};
use crate::context::Context;
use crate::grant::Grant;
use crate::login::{Authentication, Credentials, Login, Said, Verdict};
use crate::lookahead::Lookahead;

impl<E: StorageEngine> Session<E> {
    /// Whether the peer may ask anything.
    pub fn is_admitted(&self) -> bool {
        !matches!(self.state, State::Login(_))
    }

    /// Who the peer says it is, after [`Next::Login`]; the second time nobody.
    pub fn credentials(&mut self) -> Option<Credentials> {
        let State::Login(login) = &mut self.state else { return None };
        login.credentials()
    }

    /// Goes on after [`Next::Login`]: tells the peer whether it may.
    pub fn judged(&mut self, verdict: Verdict, out: &mut Output<E::Pin>, context: &Context<'_, E>) {
        let State::Login(login) = &mut self.state else { return };
        match verdict {
            Verdict::Refused => login.judged(false, out, context),
            Verdict::Admitted(grant) => {
                login.judged(true, out, context);
                self.admit(grant);
            }
        }
    }

    /// Lets the peer ask what it is granted, anything if that is not said: it is known who it is.
    pub fn admit(&mut self, grant: Option<Arc<Grant>>) {
        self.grant = grant;
        self.state = State::Command;
    }

    /// Goes on with what the peer's user is granted since the users were read again. If it is gone,
    /// the peer has to log in again; in the midst of a request, once that is refused.
    #[cold] // to peers without rights of their own, who are not to pay for it
    pub(super) fn heed_change(&mut self) {
        let Some(latest) = self.grant.as_deref().and_then(Grant::latest) else { return };
        let at_command = matches!(self.state, State::Command) && !self.codec.in_line();
        match latest {
            Some(_) => self.grant = latest,
            None if at_command => {
                self.grant = None;
                self.state = State::Login(Box::default());
            }
            None => self.grant = Some(Arc::new(Grant::withdrawn())),
        }
    }

    /// Whether the request at `at` was looked ahead at and is granted.
    #[cold]
    pub(super) fn permits_next(&self, at: usize, ahead: &Lookahead<'_>) -> bool {
        let next = self.grant.as_deref().zip(ahead.plain(at));
        next.is_some_and(|(grant, (key, plain))| grant.permits_plain(key.bytes, &plain))
    }

    /// Makes a refusal of what was decoded at the front of `rest`, if it is not granted.
    #[cold]
    pub(super) fn check(
        &mut self,
        decoded: &mut Decoded<'_>,
        rest: &[u8],
        context: &Context<'_, E>,
    ) {
        if self.grant.as_deref().is_none_or(|grant| grant.permits(decoded)) {
            return;
        }
        context.host.note_denial();
        // The answer to a list is one answer: no key of it is looked up any more.
        if let Decoded::Refused { size, .. } = decoded {
            *size += self.codec.leave_list(rest.get(*size..).unwrap_or_default());
        }
    }

    /// Serves a peer that has not logged in.
    #[cold]
    pub(super) fn login(
        &mut self,
        rest: &[u8],
        scratch: &mut KeyScratch,
        out: &mut Output<E::Pin>,
        context: &Context<'_, E>,
    ) -> Step {
        let State::Login(login) = &mut self.state else { return Step::Consumed(0) };
        if login.is_at_court() {
            return Step::Wait(0, Next::Login);
        }
        said(match self.authentication {
            Authentication::Sasl => login.binary(rest, &mut self.codec, scratch, out, context),
            Authentication::Either if self.codec.speaks_binary(rest) => {
                login.binary(rest, &mut self.codec, scratch, out, context)
            }
            _ => login.text(rest, out, context),
        })
    }

    /// Takes a step of SASL of a peer that has logged in: until it has again, it has not.
    pub(super) fn login_again(
        &mut self,
        step: &Sasl<'_>,
        style: &Style<'_>,
        size: usize,
        out: &mut Output<E::Pin>,
        context: &Context<'_, E>,
    ) -> Step {
        let mut login = Box::<Login>::default();
        let said = said(login.step(step, style, size, out, context));
        if !matches!(step, Sasl::Mechanisms) {
            self.state = State::Login(login);
        }
        said
    }
}

/// What came of a peer's words about itself.
fn said(said: Said) -> Step {
    match said {
        Said::Consumed(size) => Step::Consumed(size),
        Said::ToBeJudged(size) => Step::Wait(size, Next::Login),
        Said::NeedMore => Step::Wait(0, Next::Receive(Awaited::Command)),
        Said::Close(size) => Step::Wait(size, Next::Abort),
    }
}

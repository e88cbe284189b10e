//! Logins are judged by one thread, so that neither a hash that takes long nor the pause after a
//! failure costs anybody else anything.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use mcache_base::limits::{LOGIN_FAILED_MS, LOGINS_WAITING_MAX};
use mcache_net::{ConnectionId, Wake};
use mcache_session::{Authentication, Credentials, Grant, Verdict};
use rustls::pki_types::CertificateDer;

use crate::mailbox::Mailbox;
use crate::stop::Stop;
use crate::users::Users;

/// How long the thread sleeps at most: it looks then whether the server is to stop.
const SLEEP: Duration = Duration::from_millis(200);

/// Between two answers that a login failed.
const FAILED: Duration = Duration::from_millis(LOGIN_FAILED_MS);

/// Who has to log in, how, and who waits for it.
pub struct Logins {
    /// How peers log in.
    pub authentication: Authentication,
    users: Mutex<Arc<Users>>,
    waiting: Mutex<VecDeque<Weak<Attempt>>>,
    bell: Condvar,
}

/// A connection's attempt to log in. It is forgotten with its connection.
pub struct Attempt {
    credentials: Credentials,
    worker: usize,
    connection: ConnectionId,
    verdict: OnceLock<Verdict>,
}

impl Attempt {
    /// Whether the peer may; `None` while that is not known.
    pub fn verdict(&self) -> Option<&Verdict> {
        self.verdict.get()
    }
}

impl Logins {
    /// Of these users.
    pub fn new(authentication: Authentication, users: Arc<Users>) -> Self {
        Self {
            authentication,
            users: Mutex::new(users),
            waiting: Mutex::default(),
            bell: Condvar::new(),
        }
    }

    /// Changes who may log in. Whoever is logged in stays so, but for users with rights: these
    /// have those that they have now, see [`Users::follow`].
    pub fn replace(&self, mut users: Users) {
        let mut current = lock(&self.users);
        users.follow(&current);
        *current = Arc::new(users);
    }

    /// What the user is granted whom a good certificate names, if it names one.
    pub fn certified(&self, certificate: &CertificateDer<'_>) -> Option<Arc<Grant>> {
        let users = lock(&self.users).clone();
        users.certified(certificate)
    }

    /// Has a peer judged; its worker's mailbox tells when that is done.
    pub fn judge(
        &self,
        credentials: Credentials,
        worker: usize,
        connection: ConnectionId,
    ) -> Arc<Attempt> {
        let verdict = OnceLock::new();
        let attempt = Arc::new(Attempt { credentials, worker, connection, verdict });
        let mut waiting = lock(&self.waiting);
        if waiting.len() >= LOGINS_WAITING_MAX {
            waiting.retain(|other| other.strong_count() > 0);
        }
        if waiting.len() >= LOGINS_WAITING_MAX {
            let _ = attempt.verdict.set(Verdict::Refused); // nobody else has seen it
        } else {
            waiting.push_back(Arc::downgrade(&attempt));
            self.bell.notify_one();
        }
        attempt
    }

    /// Judges until the server is to stop.
    pub fn run<W: Wake>(&self, stop: &Stop, mailboxes: &[Mailbox<W>]) -> io::Result<()> {
        let mut failed = Failed { attempts: VecDeque::new(), next: Instant::now() };
        while !stop.is_asked() {
            let attempt = self.next(failed.patience()).and_then(|attempt| attempt.upgrade());
            if let Some(attempt) = attempt {
                let users = lock(&self.users).clone();
                match users.admit(&attempt.credentials) {
                    Verdict::Refused => failed.push(&attempt),
                    admitted @ Verdict::Admitted(_) => tell(&attempt, admitted, mailboxes),
                }
            }
            failed.tell_next(mailboxes);
        }
        Ok(())
    }

    fn next(&self, patience: Duration) -> Option<Weak<Attempt>> {
        let waiting = lock(&self.waiting);
        let waited = self.bell.wait_timeout_while(waiting, patience, |it| it.is_empty());
        waited.unwrap_or_else(PoisonError::into_inner).0.pop_front()
    }
}

/// Attempts that failed and are told so one by one.
struct Failed {
    attempts: VecDeque<Weak<Attempt>>,
    /// When the next one is told, if there is one.
    next: Instant,
}

impl Failed {
    fn push(&mut self, attempt: &Arc<Attempt>) {
        if self.attempts.is_empty() {
            self.next = Instant::now() + FAILED;
        } else if self.attempts.len() >= LOGINS_WAITING_MAX {
            self.attempts.retain(|other| other.strong_count() > 0);
        }
        self.attempts.push_back(Arc::downgrade(attempt));
    }

    fn patience(&self) -> Duration {
        if self.attempts.is_empty() {
            return SLEEP;
        }
        self.next.saturating_duration_since(Instant::now())
    }

    fn tell_next<W: Wake>(&mut self, mailboxes: &[Mailbox<W>]) {
        let now = Instant::now();
        if now < self.next {
            return;
        }
        while let Some(attempt) = self.attempts.pop_front() {
            if let Some(attempt) = attempt.upgrade() {
                tell(&attempt, Verdict::Refused, mailboxes);
                self.next = now + FAILED;
                return;
            }
        }
    }
}

fn tell<W: Wake>(attempt: &Attempt, verdict: Verdict, mailboxes: &[Mailbox<W>]) {
    if attempt.verdict.set(verdict).is_ok() {
        mailboxes[attempt.worker].announce(attempt.connection);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

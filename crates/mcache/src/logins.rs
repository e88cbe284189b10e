//! Logins are judged by threads of their own, so that neither a hash that takes long nor the pause
//! after a failure costs anybody else anything.
//!
//! One thread looks at what can be told at once: passwords in the clear, and those that were found
//! right before. What takes a hash goes to the other one, which takes the newest first: a peer that
//! knows its password is let in after the hash under way, however many guess.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use mcache_base::limits::{LOGIN_FAILED_MS, LOGINS_WAITING_MAX};
use mcache_net::{ConnectionId, Wake};
use mcache_session::{Authentication, Credentials, Grant, Verdict};
use rustls::pki_types::CertificateDer;

use crate::mailbox::Mailbox;
use crate::proven::Proven;
use crate::stop::Stop;
use crate::users::Users;

/// How long a thread sleeps at most: it looks then whether the server is to stop.
const SLEEP: Duration = Duration::from_millis(200);

/// Between two answers that a login failed.
const FAILED: Duration = Duration::from_millis(LOGIN_FAILED_MS);

/// Who has to log in, how, and who waits for it.
pub struct Logins {
    /// How peers log in.
    pub authentication: Authentication,
    users: Mutex<Arc<Users>>,
    proven: Proven,
    waiting: Queue,
    /// Those for which a hash has to be computed.
    hashing: Queue,
}

/// A connection's attempt to log in. It is forgotten with its connection.
pub struct Attempt {
    credentials: Credentials,
    worker: usize,
    connection: ConnectionId,
    /// The hash was computed, and it was the wrong password.
    is_wrong: AtomicBool,
    verdict: OnceLock<Verdict>,
}

/// Attempts that wait.
#[derive(Default)]
struct Queue {
    attempts: Mutex<VecDeque<Weak<Attempt>>>,
    bell: Condvar,
}

impl Attempt {
    /// Whether the peer may; `None` while that is not known.
    pub fn verdict(&self) -> Option<&Verdict> {
        self.verdict.get()
    }
}

impl Logins {
    /// Of these users.
    pub fn new(authentication: Authentication, users: Arc<Users>) -> io::Result<Self> {
        let [waiting, hashing] = [Queue::default(), Queue::default()];
        let (users, proven) = (Mutex::new(users), Proven::new()?);
        Ok(Self { authentication, users, proven, waiting, hashing })
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
        let (is_wrong, verdict) = (AtomicBool::new(false), OnceLock::new());
        let attempt = Arc::new(Attempt { credentials, worker, connection, is_wrong, verdict });
        self.waiting.push(&attempt);
        attempt
    }

    /// Judges what takes no hash until the server is to stop.
    pub fn run<W: Wake>(&self, stop: &Stop, mailboxes: &[Mailbox<W>]) -> io::Result<()> {
        let mut failed = Failed { attempts: VecDeque::new(), next: Instant::now() };
        while !stop.is_asked() {
            if let Some(attempt) = self.waiting.oldest(failed.patience()) {
                match self.judge_at_once(&attempt) {
                    Some(Verdict::Refused) => failed.push(&attempt),
                    Some(admitted) => tell(&attempt, admitted, mailboxes),
                    None => self.hashing.push(&attempt),
                }
            }
            failed.tell_next(mailboxes);
        }
        Ok(())
    }

    /// Judges what takes a hash until the server is to stop.
    pub fn run_hashes<W: Wake>(&self, stop: &Stop, mailboxes: &[Mailbox<W>]) -> io::Result<()> {
        while !stop.is_asked() {
            let Some(attempt) = self.hashing.newest(SLEEP) else { continue };
            let users = lock(&self.users).clone();
            match users.judge_by_hash(&attempt.credentials, &self.proven) {
                Verdict::Refused => {
                    attempt.is_wrong.store(true, Relaxed);
                    self.waiting.push(&attempt);
                }
                admitted @ Verdict::Admitted(_) => tell(&attempt, admitted, mailboxes),
            }
        }
        Ok(())
    }

    fn judge_at_once(&self, attempt: &Attempt) -> Option<Verdict> {
        if attempt.is_wrong.load(Relaxed) {
            return Some(Verdict::Refused);
        }
        let users = lock(&self.users).clone();
        users.judge(&attempt.credentials, &self.proven)
    }
}

impl Queue {
    fn push(&self, attempt: &Arc<Attempt>) {
        let mut attempts = lock(&self.attempts);
        if attempts.len() >= LOGINS_WAITING_MAX {
            attempts.retain(|other| other.strong_count() > 0);
        }
        if attempts.len() >= LOGINS_WAITING_MAX {
            attempts.pop_front();
        }
        attempts.push_back(Arc::downgrade(attempt));
        self.bell.notify_one();
    }

    fn oldest(&self, patience: Duration) -> Option<Arc<Attempt>> {
        self.wait(patience).pop_front().and_then(|attempt| attempt.upgrade())
    }

    fn newest(&self, patience: Duration) -> Option<Arc<Attempt>> {
        self.wait(patience).pop_back().and_then(|attempt| attempt.upgrade())
    }

    /// Waits until there is an attempt, but not for longer than this.
    fn wait(&self, patience: Duration) -> MutexGuard<'_, VecDeque<Weak<Attempt>>> {
        let attempts = lock(&self.attempts);
        let waited = self.bell.wait_timeout_while(attempts, patience, |it| it.is_empty());
        waited.unwrap_or_else(PoisonError::into_inner).0
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

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(worker: usize) -> Arc<Attempt> {
        let nobody = || Vec::new().into();
        Arc::new(Attempt {
            credentials: Credentials { user: nobody(), password: nobody() },
            worker,
            connection: ConnectionId(0),
            is_wrong: AtomicBool::new(false),
            verdict: OnceLock::new(),
        })
    }

    #[test]
    fn beyond_the_limit_those_are_forgotten_who_are_gone_then_who_waited_longest() {
        let queue = Queue::default();
        let at = |attempt: Option<Arc<Attempt>>| attempt.map(|attempt| attempt.worker);
        let all: Vec<_> = (0..LOGINS_WAITING_MAX).map(attempt).collect();
        all.iter().for_each(|attempt| queue.push(attempt));
        let [one, other] = [5000, 5001].map(attempt);
        queue.push(&one);
        assert_eq!(at(queue.oldest(Duration::ZERO)), Some(1), "the first is forgotten");
        assert_eq!(at(queue.newest(Duration::ZERO)), Some(5000));
        (0..2).for_each(|_| queue.push(&one));
        drop(all);
        queue.push(&other);
        let left = [(); 4].map(|()| at(queue.oldest(Duration::ZERO)));
        assert_eq!(left, [Some(5000), Some(5000), Some(5001), None]);
    }
}

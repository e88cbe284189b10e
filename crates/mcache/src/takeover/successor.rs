//! The process that takes over, as the server sees it that runs.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Builder;
use std::time::Duration;

use mcache_base::limits::{DRAIN_MS, HANDOVER_MS};
use mcache_net::{Channel, HandoverListener};

use super::Bond;
use super::words::{ALL, ANY_GREETING, AT_REST, GO, GREETING, NO, Offer, SERVING};
use crate::server::Stopper;

/// How long a successor's answer may take while the server serves.
const PATIENCE: Duration = Duration::from_millis(HANDOVER_MS);

/// How often it is looked whether the process is to end while a successor begins.
const LOOK: Duration = Duration::from_millis(50);

/// The successor, once there is one.
#[derive(Clone, Default)]
pub struct Successor(Arc<Mutex<Option<Bond>>>);

/// What is offered, and the descriptors of it.
pub type Offers = Vec<(Offer, Arc<dyn AsFd + Send + Sync>)>;

/// What became of a successor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Became {
    /// It serves.
    Serving,
    /// Its process is gone.
    Gone,
}

impl Successor {
    /// Waits for a successor while the server serves, and stops the server when one is ready.
    pub fn await_one(
        &self,
        control: Arc<HandoverListener>,
        offers: Offers,
        stopper: Stopper,
    ) -> io::Result<()> {
        let slot = self.clone();
        Builder::new().name("takeover".to_owned()).spawn(move || {
            loop {
                let ready = control.accept().and_then(|channel| {
                    let is_ready = offer(&channel, &offers)?;
                    Ok(is_ready.then_some(channel))
                });
                match ready {
                    Ok(Some(channel)) => {
                        tracing::info!("a new process takes over");
                        slot.put(Bond::new(channel));
                        stopper.drain(Duration::from_millis(DRAIN_MS));
                        stopper.stop();
                        return;
                    }
                    Ok(None) => tracing::info!("a new process could not take over; going on"),
                    Err(error) => {
                        tracing::warn!(%error, "a new process could not take over; going on");
                        std::thread::sleep(LOOK); // there may be no descriptors
                    }
                }
            }
        })?;
        Ok(())
    }

    /// Tells the successor, if there is one, that nobody uses the memory any more, and waits until
    /// it serves, or this process is to end anyway. `None` if there is no successor.
    pub fn let_take_over(&self, is_to_end: impl Fn() -> bool) -> Option<Became> {
        let bond = self.0.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        let channel = bond.channel();
        if channel.send(AT_REST, None, PATIENCE).is_err() {
            drop(bond.release());
            return Some(Became::Gone);
        }
        while !is_to_end() {
            match channel.receive(LOOK) {
                Ok(Some(message)) if message.text == SERVING => return Some(Became::Serving),
                Ok(None) => {
                    drop(bond.release());
                    return Some(Became::Gone);
                }
                Ok(Some(_)) | Err(_) => {} // nothing yet
            }
        }
        Some(Became::Serving)
    }

    fn put(&self, bond: Bond) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(bond);
    }
}

/// Offers all; tells whether the other side is ready to take over.
fn offer(channel: &Channel, offers: &Offers) -> io::Result<bool> {
    let say = |text: &[u8], along: Option<BorrowedFd<'_>>| channel.send(text, along, PATIENCE);
    if !channel.is_trusted()? {
        return Err(io::Error::other("it is another user's"));
    }
    let Some(greeting) = channel.receive(PATIENCE)? else { return Ok(false) };
    if greeting.text != GREETING {
        let is_ours = greeting.text.starts_with(ANY_GREETING);
        let why = match is_ours {
            true => "the running server is of a version that hands over in another way: stop it",
            false => "the greeting is not understood",
        };
        say(&[NO, why.as_bytes()].concat(), None)?;
        return Err(io::Error::other("it greets in another way"));
    }
    for (offer, descriptor) in offers {
        say(&offer.text(), Some(descriptor.as_fd()))?;
    }
    say(ALL, None)?;
    Ok(channel.receive(PATIENCE)?.is_some_and(|message| message.text == GO))
}

//! One connection's TLS: opens what comes, seals what goes.
//!
//! Bytes are opened in the worker's buffer as they come, so only the beginning of a record is ever
//! kept. Answers are sealed as the driver takes them, a bounded piece at a time; the rest waits as
//! it was written, large values in the store.

use std::io::IoSlice;
use std::panic::{AssertUnwindSafe, catch_unwind};

use mcache_base::limits::{SLICES_PER_SEND, TLS_HANDSHAKE_MAX, TLS_RECORD_MAX, TLS_SEALED_AHEAD};
use mcache_base::{Outgoing, Pin};
use mcache_net::{ConnectionId, Driver, Received};
use rustls::pki_types::CertificateDer;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{
    ConnectionState, EncodeTlsData, EncryptError, UnbufferedStatus, WriteTraffic,
};
use rustls::{Error, HandshakeKind, ProtocolVersion};

use super::certificates::Counted;
use crate::connection::Reason;
use crate::outputs::Answers;

/// Most bytes of a session in a record.
const PIECE: usize = 16 << 10;

/// What a record takes beside them, at most.
const RECORD_OVERHEAD: usize = 64;

/// One connection's TLS.
pub struct Layer<P> {
    connection: UnbufferedServerConnection,
    /// The beginning of a record.
    begun: Vec<u8>,
    /// All of that came last.
    begins: bool,
    /// What TLS itself has to say, sealed.
    spoken: Vec<u8>,
    /// What the session has said, not sealed yet.
    owed: Option<Answers<P>>,
    /// Why the connection ends once all is sent.
    last: Option<Reason>,
    goodbye_said: bool,
    peer_left: bool,
    failed: bool,
    /// What was wrong, until it is noted; and whether that ended the handshake.
    error: Option<(Error, bool)>,
    shaken: Counted,
}

/// What came of a receive.
#[derive(Debug)]
pub enum Opened {
    /// So many bytes for the session are at the front of the room; whether more may have come.
    Bytes(usize, bool),
    /// None for the session; whether more may have come.
    Nothing(bool),
    /// Nothing will come any more; whether the peer has said so.
    Closed(bool),
    /// The peer does not speak TLS as it should. What is to be said of that can be sent.
    Failed,
    /// Opening hit a bug.
    Panicked,
}

/// What the peer's bytes came to.
#[derive(Default)]
struct Progress {
    consumed: usize,
    opened: usize,
    error: Option<Error>,
}

impl<P: Pin> Layer<P> {
    /// The layer of a connection that has just been accepted.
    pub fn new(connection: UnbufferedServerConnection, shaken: Counted) -> Self {
        Self {
            connection,
            begun: Vec::new(),
            begins: false,
            spoken: Vec::new(),
            owed: None,
            last: None,
            goodbye_said: false,
            peer_left: false,
            failed: false,
            error: None,
            shaken,
        }
    }

    /// Receives bytes and opens them into the front of `room`, the back of which it works in.
    /// While `saves`, it receives no more than it needs to.
    pub fn receive<O: Outgoing, D: Driver<O>>(
        &mut self,
        id: ConnectionId,
        driver: &mut D,
        room: &mut [u8],
        saves: bool,
    ) -> Opened {
        if self.peer_left {
            return Opened::Closed(true);
        }
        self.begins = false;
        let kept = self.begun.len();
        let (plain, sealed) = room.split_at_mut(room.len() / 2);
        let most = match self.is_shaking() {
            true => TLS_HANDSHAKE_MAX,
            false if saves => TLS_RECORD_MAX,
            false => sealed.len(),
        };
        let Some(sealed) = sealed.get_mut(..most).filter(|sealed| kept < sealed.len()) else {
            return self.fail(Error::General("a message that is too long".to_owned()));
        };
        let (front, free) = sealed.split_at_mut(kept);
        front.copy_from_slice(&self.begun);
        let received = match driver.receive(id, free) {
            Received::Bytes(received) => received,
            Received::Nothing => return Opened::Nothing(false),
            Received::Closed => return Opened::Closed(false),
        };
        let more = received == free.len();
        let sealed = &mut sealed[..kept + received];
        // A layer that panicked is dropped with its connection, so nobody sees it half changed.
        let opened = catch_unwind(AssertUnwindSafe(|| self.open(sealed, plain)));
        let Ok(progress) = opened else { return Opened::Panicked };
        self.begun = sealed.get(progress.consumed..).unwrap_or_default().to_vec();
        self.begins = kept == 0;
        match progress {
            Progress { error: Some(error), .. } => {
                self.begun = Vec::new();
                self.fail(error)
            }
            Progress { opened: 0, .. } => Opened::Nothing(more || self.peer_left),
            Progress { opened, .. } => Opened::Bytes(opened, more || self.peer_left),
        }
    }

    fn fail(&mut self, error: Error) -> Opened {
        self.failed = true;
        self.error = Some((error, self.is_shaking()));
        Opened::Failed
    }

    /// Opens the records in `sealed`, and answers what belongs to TLS itself. There is at least as
    /// much room in `plain`, and a record holds fewer bytes than it has.
    fn open(&mut self, sealed: &mut [u8], plain: &mut [u8]) -> Progress {
        let mut progress = Progress::default();
        loop {
            let rest = sealed.get_mut(progress.consumed..).unwrap_or_default();
            let UnbufferedStatus { mut discard, state } = self.connection.process_tls_records(rest);
            match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(Ok(record)) = traffic.next_record() {
                        discard += record.discard;
                        let end = progress.opened + record.payload.len();
                        let Some(place) = plain.get_mut(progress.opened..end) else { continue };
                        place.copy_from_slice(record.payload);
                        progress.opened = end;
                    }
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => take(&mut data, &mut self.spoken),
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(ConnectionState::PeerClosed) => self.peer_left = true,
                Ok(_) => {
                    progress.consumed += discard;
                    return progress;
                }
                Err(error) => {
                    progress.error = Some(error);
                    self.take_alert(sealed);
                    return progress;
                }
            }
            progress.consumed += discard;
        }
    }

    /// Takes in what is to be said of an error. Nothing may be opened any more: `sealed` is what
    /// could not be.
    fn take_alert(&mut self, sealed: &mut [u8]) {
        while self.connection.wants_write() {
            match self.connection.process_tls_records(sealed).state {
                Ok(ConnectionState::EncodeTlsData(mut data)) => take(&mut data, &mut self.spoken),
                _ => return,
            }
        }
    }

    /// Notes what the session has said, and why the connection ends after it, if it does. Returns
    /// the queue if nothing is in it.
    pub fn owe(&mut self, answers: Answers<P>, last: Option<Reason>) -> Option<Answers<P>> {
        debug_assert!(self.owed.is_none(), "one send at a time");
        self.last = last;
        if answers.is_empty() {
            return Some(answers);
        }
        self.owed = Some(answers);
        None
    }

    /// Whether anything waits to be sealed.
    pub fn owes(&self) -> bool {
        self.owed.is_some()
    }

    /// Ends the connection once all is sent.
    pub fn end(&mut self, reason: Reason) {
        self.last = Some(reason);
    }

    /// Why the connection ends once all is sent, if it does.
    pub fn last(&self) -> Option<Reason> {
        self.last
    }

    /// Seals what is owed into `sealed`, but no more than may be ahead of the peer. Pieces are
    /// gathered in `scratch`. Returns the queue once it is empty. An error if no more can be
    /// sealed with these keys.
    pub fn seal(
        &mut self,
        sealed: &mut Vec<u8>,
        scratch: &mut [u8],
    ) -> Result<Option<Answers<P>>, Error> {
        sealed.append(&mut self.spoken);
        self.spoken = Vec::new();
        while let Some(owed) = &mut self.owed
            && sealed.len() < TLS_SEALED_AHEAD
        {
            let mut slices = [IoSlice::new(&[]); SLICES_PER_SEND];
            let filled = owed.gather(&mut slices);
            if filled == 0 {
                return Err(Error::General("a value is gone before it was sent".to_owned()));
            }
            let piece = piece(&slices[..filled], scratch);
            let len = piece.len();
            write(&mut self.connection, &mut self.begun, sealed, len, |traffic, room| {
                traffic.encrypt(piece, room)
            })?;
            owed.advance(len);
            if owed.is_empty() {
                self.say_goodbye(sealed)?;
                return Ok(self.owed.take());
            }
        }
        match &mut self.owed {
            None => self.say_goodbye(sealed)?,
            Some(owed) => owed.shrink(),
        }
        Ok(None)
    }

    /// Tells the peer that nothing follows, if nothing does.
    fn say_goodbye(&mut self, sealed: &mut Vec<u8>) -> Result<(), Error> {
        if self.last.is_none() || self.goodbye_said || self.failed || self.is_shaking() {
            return Ok(());
        }
        self.goodbye_said = true;
        write(&mut self.connection, &mut self.begun, sealed, 0, |traffic, room| {
            traffic.queue_close_notify(room)
        })
    }

    /// Whether the handshake is not over.
    pub fn is_shaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    /// Whether a record has begun to come, after the handshake.
    pub fn is_midway(&self) -> bool {
        !self.begun.is_empty() && !self.is_shaking()
    }

    /// Whether it began with what came last.
    pub fn begins(&self) -> bool {
        self.begins && self.is_midway()
    }

    /// Once the handshake is over, and once only: the version spoken, and whether the keys are new.
    pub fn shaken(&mut self) -> Option<(&'static str, bool)> {
        if self.is_shaking() || !self.shaken.count() {
            return None;
        }
        let version = match self.connection.protocol_version() {
            Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
            _ => "TLSv1.3",
        };
        Some((version, self.connection.handshake_kind() != Some(HandshakeKind::Resumed)))
    }

    /// The certificate that the peer has shown and that was found good, if it has.
    pub fn peer_certificate(&self) -> Option<&CertificateDer<'static>> {
        self.connection.peer_certificates()?.first()
    }

    /// Once what the peer sent was wrong, and once only: what it was, and whether it ended the
    /// handshake.
    pub fn error(&mut self) -> Option<(Error, bool)> {
        self.error.take()
    }

    /// Bytes of memory that it holds for what has not all come or is not sent yet.
    pub fn held(&self) -> usize {
        let owed = self.owed.as_ref().map_or(0, |owed| owed.capacity());
        self.begun.capacity() + self.spoken.capacity() + owed
    }
}

/// The bytes of the next record: the first of these slices, or as many as fill it.
fn piece<'a>(slices: &'a [IoSlice<'a>], scratch: &'a mut [u8]) -> &'a [u8] {
    let first = slices.first().map_or(&[][..], |slice| slice);
    if slices.len() == 1 || first.len() >= PIECE {
        return &first[..first.len().min(PIECE)];
    }
    let mut filled = 0;
    for slice in slices {
        let room = &mut scratch[filled..PIECE];
        let len = slice.len().min(room.len());
        room[..len].copy_from_slice(&slice[..len]);
        filled += len;
    }
    &scratch[..filled]
}

/// Takes in what TLS itself has to say.
fn take<D>(data: &mut EncodeTlsData<'_, D>, into: &mut Vec<u8>) {
    append(into, RECORD_OVERHEAD, |room| match data.encode(room) {
        Ok(written) => Ok(written),
        Err(rustls::unbuffered::EncodeError::InsufficientSize(least)) => Err(least.required_size),
        Err(rustls::unbuffered::EncodeError::AlreadyEncoded) => Ok(0),
    });
}

/// Seals something of `len` bytes by `seal` behind what is in `sealed`.
fn write(
    connection: &mut UnbufferedServerConnection,
    begun: &mut Vec<u8>,
    sealed: &mut Vec<u8>,
    len: usize,
    mut seal: impl FnMut(
        &mut WriteTraffic<'_, rustls::server::ServerConnectionData>,
        &mut [u8],
    ) -> Result<usize, EncryptError>,
) -> Result<(), Error> {
    loop {
        // Always what has come and was not opened yet, or rustls may look for it in vain.
        let UnbufferedStatus { discard, state } = connection.process_tls_records(begun);
        let done = match state? {
            ConnectionState::WriteTraffic(mut traffic) => {
                let mut exhausted = false;
                append(sealed, len + RECORD_OVERHEAD, |room| match seal(&mut traffic, room) {
                    Ok(written) => Ok(written),
                    Err(EncryptError::InsufficientSize(least)) => Err(least.required_size),
                    Err(EncryptError::EncryptExhausted) => {
                        exhausted = true;
                        Ok(0)
                    }
                });
                if exhausted {
                    return Err(Error::EncryptError);
                }
                true
            }
            ConnectionState::EncodeTlsData(mut data) => {
                take(&mut data, sealed);
                false
            }
            ConnectionState::TransmitTlsData(data) => {
                data.done();
                false
            }
            ConnectionState::PeerClosed => false,
            _ => return Err(Error::HandshakeNotComplete),
        };
        begun.drain(..discard);
        if done {
            return Ok(());
        }
    }
}

/// Appends what `write` writes into so much room, or into as much as it asks for instead.
fn append(
    into: &mut Vec<u8>,
    mut room: usize,
    mut write: impl FnMut(&mut [u8]) -> Result<usize, usize>,
) {
    let end = into.len();
    loop {
        into.resize(end + room, 0);
        match write(&mut into[end..]) {
            Ok(written) => {
                into.truncate(end + written);
                return;
            }
            Err(required) if required > room => room = required,
            Err(_) => {
                into.truncate(end);
                return;
            }
        }
    }
}

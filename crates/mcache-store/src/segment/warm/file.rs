//! A memory file as the system has it: opened, locked, recognised, mapped.

use std::fmt;
use std::fs::{File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FlockOperation, MemfdFlags, SeekFrom, flock, fstatvfs, memfd_create, seek};
use rustix::io::Errno;

use super::super::arena::{Arena, Geometry, Segment};
use super::super::memory::{CellArray, Mapping, PAGE};
use super::header::{COPIES, Found, Header};
use super::layout::{LEDGER_AT, TABLE_AT, segments_at, table_len};
use super::ledger::Ledger;

/// Only its owner reads what the cache holds.
const MODE: u32 = 0o600;

/// Bytes of a block as the system counts them.
const BLOCK: u64 = 512;

/// Why a memory file cannot be used.
#[derive(Debug)]
pub enum MemoryFileError {
    /// The system refused something.
    System(&'static str, io::Error),
    /// It is a directory, a device or the like.
    NotAFile,
    /// This other user's, who could read and change what is in it.
    OtherOwner(u32),
    /// Another server has it.
    InUse,
    /// Somebody else's: mcache would overwrite it.
    NotOurs,
    /// memcached's, which writes a second file beside it.
    Memcached(PathBuf),
    /// Of a version of mcache whose files are of this other format.
    OtherFormat(u32),
    /// Its volume has fewer bytes than the memory limit needs.
    NoSpace {
        /// Bytes that are still needed.
        needed: u64,
        /// Bytes that are there.
        free: u64,
    },
}

impl fmt::Display for MemoryFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System(what, error) => write!(f, "cannot {what}: {error}"),
            Self::NotAFile => f.write_str("it is not a file"),
            Self::OtherOwner(user) => {
                write!(f, "it belongs to user {user}, who could read and change what is in it")
            }
            Self::InUse => f.write_str("another server is using it"),
            Self::NotOurs => f.write_str("it is not a memory file of mcache; nothing was changed"),
            Self::Memcached(beside) => {
                write!(f, "{} says that it is memcached's; nothing was changed", beside.display())
            }
            Self::OtherFormat(format) => {
                write!(f, "its format is {format}, which this version does not read; remove it")
            }
            Self::NoSpace { needed, free } => {
                write!(f, "its volume has {free} bytes free; {needed} more are needed")
            }
        }
    }
}

impl std::error::Error for MemoryFileError {}

/// Names what the system refused.
pub fn system(what: &'static str) -> impl FnOnce(io::Error) -> MemoryFileError {
    move |error| MemoryFileError::System(what, error)
}

/// A memory file that is open, and locked against other servers.
pub struct MemoryFile {
    file: Arc<File>,
    found: Found,
}

/// The mapped parts of a memory file.
pub struct Parts {
    pub arena: Arena,
    pub ledger: Ledger,
}

impl MemoryFile {
    /// Opens a file, or makes one. Changes nothing in one that is there.
    pub fn open(path: &Path) -> Result<Self, MemoryFileError> {
        let mut beside = path.as_os_str().to_owned();
        beside.push(".meta");
        let beside = PathBuf::from(beside);
        if beside.exists() {
            return Err(MemoryFileError::Memcached(beside));
        }
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(MODE);
        let file = options.open(path).map_err(system("open it"))?;
        // In a directory that all may write to, somebody may have made it before.
        let about = file.metadata().map_err(system("look at it"))?;
        if about.is_file() && about.uid() != rustix::process::geteuid().as_raw() {
            return Err(MemoryFileError::OtherOwner(about.uid()));
        }
        Self::new(file)
    }

    /// Makes one that has no name, and is gone with the last process that has it.
    pub fn anonymous() -> Result<Self, MemoryFileError> {
        let file = memfd_create("mcache", MemfdFlags::CLOEXEC)
            .map_err(|error| MemoryFileError::System("have a nameless one", error.into()))?;
        Self::new(file.into())
    }

    /// The file, for another process. Its lock is shared: one of them at a time may use it.
    pub fn share(&self) -> Arc<File> {
        self.file.clone()
    }

    /// Takes a file that is open.
    pub fn new(file: File) -> Result<Self, MemoryFileError> {
        let about = file.metadata().map_err(system("look at it"))?;
        if !about.is_file() {
            return Err(MemoryFileError::NotAFile);
        }
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Err(MemoryFileError::InUse),
            Err(error) => return Err(MemoryFileError::System("lock it", error.into())),
        }
        let mut pages = vec![0; COPIES * PAGE];
        let len = pages.len().min(usize::try_from(about.len()).unwrap_or(usize::MAX));
        file.read_exact_at(&mut pages[..len], 0).map_err(system("read it"))?;
        let found = match Header::read(&pages) {
            Found::NotOurs if Ledger::is_at(&file, LEDGER_AT) => Found::Damaged,
            Found::NotOurs => return Err(MemoryFileError::NotOurs),
            Found::OtherFormat(format) => return Err(MemoryFileError::OtherFormat(format)),
            found => found,
        };
        if about.mode() & 0o7777 != MODE {
            let mode = Permissions::from_mode(MODE);
            file.set_permissions(mode).map_err(system("make it its owner's alone"))?;
        }
        Ok(Self { file: Arc::new(file), found })
    }

    /// What its header was when it was opened.
    pub(super) fn found(&self) -> Found {
        self.found
    }

    /// Makes sure, before anybody is asked to let go of it, that a store of `capacity` bytes can
    /// begin with it. Who goes on with what is there does so within the room that there is, as the
    /// server before did; who begins anew needs room for `capacity` bytes on its volume, those
    /// included that it has now.
    pub fn check_room(&self, capacity: u64) -> Result<(), MemoryFileError> {
        let goes_on =
            matches!(self.found, Found::Header(header) if header.geometry.suits(capacity));
        if goes_on { Ok(()) } else { self.check_room_anew(capacity) }
    }

    /// Makes sure that its volume has room for a store of `capacity` bytes.
    pub(super) fn check_room_anew(&self, capacity: u64) -> Result<(), MemoryFileError> {
        let about = self.file.metadata().map_err(system("look at it"))?;
        let volume = fstatvfs(&*self.file)
            .map_err(|error| MemoryFileError::System("look at its volume", error.into()))?;
        let (has, free) = (about.blocks() * BLOCK, volume.f_bavail * volume.f_frsize);
        let needed = capacity.saturating_sub(has);
        // A file system without a size says 0 of everything.
        match volume.f_blocks > 0 && needed > free {
            true => Err(MemoryFileError::NoSpace { needed, free }),
            false => Ok(()),
        }
    }

    /// Whether nothing was ever written to it.
    pub(super) fn is_empty(&self) -> Result<bool, MemoryFileError> {
        Ok(self.file.metadata().map_err(system("look at it"))?.len() == 0)
    }

    /// Forgets all that is in it.
    pub(super) fn clear(&self) -> Result<(), MemoryFileError> {
        self.file.set_len(0).map_err(system("empty it"))
    }

    /// Cuts off what is behind its first `len` bytes.
    pub(super) fn cut(&self, len: u64) -> Result<(), MemoryFileError> {
        let has = self.file.metadata().map_err(system("look at it"))?.len();
        if has > len { self.file.set_len(len).map_err(system("shorten it")) } else { Ok(()) }
    }

    /// Its length, if it holds its first parts at all.
    pub(super) fn len(&self) -> Result<Option<u64>, MemoryFileError> {
        let len = self.file.metadata().map_err(system("look at it"))?.len();
        Ok((len >= LEDGER_AT + PAGE as u64).then_some(len))
    }

    /// How many segments its table tells of: those up to the last that it has memory for, and so
    /// never more than somebody took memory for.
    pub(super) fn segments(&self, geometry: Geometry) -> Result<usize, MemoryFileError> {
        let end = TABLE_AT + table_len(geometry) as u64;
        let (mut at, mut last) = (TABLE_AT, TABLE_AT);
        let failure = |error: Errno| MemoryFileError::System("look for its table", error.into());
        while at < end {
            match seek(&*self.file, SeekFrom::Data(at)) {
                Ok(data) if data < end => {
                    at = seek(&*self.file, SeekFrom::Hole(data)).map_err(failure)?;
                    last = at.min(end);
                }
                Ok(_) | Err(Errno::NXIO) => break,
                Err(error) => return Err(failure(error)),
            }
        }
        Ok((last - TABLE_AT) as usize / size_of::<Segment>())
    }

    /// Writes its header.
    pub(super) fn write_header(&self, header: &Header) -> Result<(), MemoryFileError> {
        self.file.write_all_at(&header.pages(), 0).map_err(system("write to it"))
    }

    /// Maps its parts, of which the ledger has memory then.
    pub(super) fn map(&self, geometry: Geometry) -> Result<Parts, MemoryFileError> {
        let map = |at, len| Mapping::of_file(&self.file, at, len).map_err(system("map it"));
        let page = map(LEDGER_AT, PAGE)?;
        page.take(0, PAGE).map_err(system("have memory for it"))?;
        let memory = map(segments_at(geometry), geometry.len())?;
        let table = CellArray::on(map(TABLE_AT, table_len(geometry))?);
        let ledger = Ledger::new(page, self.file.clone());
        Ok(Parts { arena: Arena::on(geometry, memory, table), ledger })
    }

    /// The file.
    pub(super) fn file(&self) -> &File {
        &self.file
    }
}

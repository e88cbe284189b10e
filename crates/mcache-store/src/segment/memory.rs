//! The memory that the arena and the index lie in: mapped once, shared by all threads.

use std::fs::File;
use std::io;
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU32, AtomicU64};

use rustix::fs::{FallocateFlags, fallocate};
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, mmap_anonymous, munmap};

use super::asan;

/// Size of a page as far as giving memory back is concerned.
pub const PAGE: usize = 4096;

/// Size of a huge page, of most processors.
pub const HUGE_PAGE: usize = 2 << 20;

/// Memory that is reserved at once: zeroed and taken from the system page by page as it is written,
/// or a part of a file, which outlives the process.
pub struct Mapping {
    start: NonNull<u8>,
    len: usize,
    backing: Option<Backing>,
}

/// The part of a file that a mapping is.
struct Backing {
    file: Arc<File>,
    offset: u64,
}

// SAFETY: the mapping is plain memory that lives as long as the value; whoever hands out
// references into it answers for how they are shared (see the methods).
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Reserves `len` bytes, a multiple of the page size.
    pub fn new(len: usize) -> io::Result<Self> {
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        let prot = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a fresh anonymous mapping aliases nothing.
        let start = unsafe { mmap_anonymous(std::ptr::null_mut(), len, prot, flags) }?;
        Self::private(start.cast(), len, None)
    }

    /// Maps a part of a file. Nothing of it may be touched that the file has no memory for, see
    /// [`Self::take`]: not even to read it.
    pub fn of_file(file: &Arc<File>, offset: u64, len: usize) -> io::Result<Self> {
        let flags = MapFlags::SHARED | MapFlags::NORESERVE;
        let prot = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping at an address of the system's choice; the file is locked against
        // other processes of this program (see `warm`), and mapped here once.
        let start = unsafe { mmap(std::ptr::null_mut(), len, prot, flags, &**file, offset) }?;
        Self::private(start.cast(), len, Some(Backing { file: file.clone(), offset }))
    }

    /// A mapping whose bytes are left out of core files: they are the peers'.
    fn private(start: *mut u8, len: usize, backing: Option<Backing>) -> io::Result<Self> {
        let start = NonNull::new(start).ok_or(io::ErrorKind::OutOfMemory)?;
        // SAFETY: the whole mapping; that changes nothing in it. A refusal is no failure.
        let _ = unsafe { madvise(start.as_ptr().cast(), len, Advice::LinuxDontDump) };
        Ok(Self { start, len, backing })
    }

    /// Has the system give a range memory now, if it is a file's: a volume that is full says so
    /// here. What stands there stays; what was never written is zero.
    pub fn take(&self, offset: usize, len: usize) -> io::Result<()> {
        self.assert_range(offset, len);
        let Some(Backing { file, offset: begin }) = &self.backing else { return Ok(()) };
        fallocate(&**file, FallocateFlags::empty(), begin + offset as u64, len as u64)?;
        Ok(())
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether what is written outlives the process: it is a part of a file.
    #[inline]
    pub fn is_lasting(&self) -> bool {
        self.backing.is_some()
    }

    /// A 16-bit cell at `offset`, which is aligned.
    #[inline]
    pub fn u16(&self, offset: usize) -> &AtomicU16 {
        // SAFETY: `at` checked bounds and alignment; atomics may be shared.
        unsafe { self.at::<AtomicU16>(offset).as_ref() }
    }

    /// A 32-bit cell at `offset`, which is aligned.
    #[inline]
    pub fn u32(&self, offset: usize) -> &AtomicU32 {
        // SAFETY: `at` checked bounds and alignment; atomics may be shared.
        unsafe { self.at::<AtomicU32>(offset).as_ref() }
    }

    /// A 64-bit cell at `offset`, which is aligned.
    #[inline]
    pub fn u64(&self, offset: usize) -> &AtomicU64 {
        // SAFETY: `at` checked bounds and alignment; atomics may be shared.
        unsafe { self.at::<AtomicU64>(offset).as_ref() }
    }

    /// Bytes that are published.
    ///
    /// # Safety
    /// Nobody writes to the range while the slice lives.
    #[inline]
    pub unsafe fn bytes(&self, offset: usize, len: usize) -> &[u8] {
        self.assert_range(offset, len);
        asan::check(self.start.as_ptr().wrapping_add(offset), len);
        // SAFETY: the range is inside the mapping; the caller answers for no writes.
        unsafe { std::slice::from_raw_parts(self.start.add(offset).as_ptr(), len) }
    }

    /// Bytes to be written to.
    ///
    /// # Safety
    /// Nobody else reads or writes the range while the slice lives.
    #[allow(clippy::mut_from_ref)] // whose memory it is, the caller knows
    pub unsafe fn bytes_mut(&self, offset: usize, len: usize) -> &mut [u8] {
        self.tell();
        self.assert_range(offset, len);
        asan::check(self.start.as_ptr().wrapping_add(offset), len);
        // SAFETY: the range is inside the mapping; the caller answers for nobody else using it.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(offset).as_ptr(), len) }
    }

    /// Copies bytes in.
    ///
    /// # Safety
    /// Nobody reads or writes the range at the same time.
    #[inline]
    pub unsafe fn write(&self, offset: usize, bytes: &[u8]) {
        self.tell();
        self.assert_range(offset, bytes.len());
        // SAFETY: the range is inside the mapping; the caller answers for nobody else using it.
        unsafe {
            let to = self.start.add(offset).as_ptr();
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len());
        }
    }

    /// Gives the pages of a range back to the system; they read as zero afterwards.
    ///
    /// # Safety
    /// Nobody holds a reference to bytes of the range, or reads it at the same time.
    pub unsafe fn release(&self, offset: usize, len: usize) {
        self.assert_range(offset, len);
        if let Some(Backing { file, offset: begin }) = &self.backing {
            let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            // A failure keeps the pages, which is harmless.
            let _ = fallocate(&**file, hole, begin + offset as u64, len as u64);
            return;
        }
        // SAFETY: the range is inside the mapping, which is private and anonymous; the caller
        // answers for nobody using it. A failure keeps the pages, which is harmless.
        let _ =
            unsafe { madvise(self.start.add(offset).as_ptr().cast(), len, Advice::LinuxDontNeed) };
    }

    /// Has whoever touches a range found out, where tests run under AddressSanitizer. Its bounds
    /// are aligned to cells.
    pub fn forbid(&self, offset: usize, len: usize) {
        self.assert_range(offset, len);
        // SAFETY: the range is inside the mapping.
        unsafe { asan::forbid(self.start.add(offset).as_ptr(), len) };
    }

    /// Takes [`Self::forbid`] back.
    pub fn allow(&self, offset: usize, len: usize) {
        self.assert_range(offset, len);
        // SAFETY: the range is inside the mapping.
        unsafe { asan::allow(self.start.add(offset).as_ptr(), len) };
    }

    /// Asks the system for huge pages from now on. Fails if it has none.
    pub fn use_huge_pages(&self) -> io::Result<()> {
        // SAFETY: the whole mapping; the size of its pages changes nothing in it.
        unsafe { madvise(self.start.as_ptr().cast(), self.len, Advice::LinuxHugepage) }?;
        Ok(())
    }

    /// Brings the cache line of `offset` nearer.
    #[inline]
    pub fn prefetch(&self, offset: usize) {
        prefetch(self.start.as_ptr().wrapping_add(offset));
    }

    /// Tells a test of an access to a file that is about to be made.
    #[inline(always)]
    fn tell(&self) {
        #[cfg(test)]
        if self.backing.is_some() {
            watch::tell();
        }
    }

    /// As [`Self::prefetch`], for a line that will be written to.
    #[inline]
    pub fn prefetch_to_write(&self, offset: usize) {
        prefetch_to_write(self.start.as_ptr().wrapping_add(offset));
    }

    #[inline]
    fn at<T>(&self, offset: usize) -> NonNull<T> {
        self.tell();
        self.assert_range(offset, size_of::<T>());
        assert!(offset.is_multiple_of(align_of::<T>()), "a cell is aligned");
        // SAFETY: inside the mapping, as asserted.
        unsafe { self.start.add(offset).cast() }
    }

    #[inline]
    fn assert_range(&self, offset: usize, len: usize) {
        assert!(len <= self.len && offset <= self.len - len, "inside the mapping");
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `new`, and no reference outlives `self`.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), self.len) };
    }
}

/// Bytes that one owner gathers. Their memory goes back to the system at once when it is dropped.
pub struct Buffer {
    mapping: Mapping,
    len: usize,
}

impl Buffer {
    /// Room for `capacity` bytes, a multiple of the page size.
    pub fn new(capacity: usize) -> io::Result<Self> {
        Ok(Self { mapping: Mapping::new(capacity)?, len: 0 })
    }

    /// Takes as many bytes as fit. Returns how many.
    pub fn push(&mut self, bytes: &[u8]) -> usize {
        let taken = bytes.len().min(self.mapping.len - self.len);
        // SAFETY: the mapping is this buffer's alone, which is borrowed exclusively.
        unsafe { self.mapping.write(self.len, &bytes[..taken]) };
        self.len += taken;
        taken
    }

    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        // SAFETY: only `push` writes, for which the buffer must not be borrowed.
        unsafe { self.mapping.bytes(0, self.len) }
    }

    /// Forgets the bytes.
    pub fn clear(&mut self) {
        self.len = 0;
    }
}

/// Brings a cache line nearer, if the processor knows how.
#[inline]
pub fn prefetch<T>(line: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch never faults, whatever the address.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(line.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = line;
}

/// As [`prefetch`], for a line that will be written to: it comes from another processor once.
#[inline]
pub fn prefetch_to_write<T>(line: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch never faults, whatever the address, and changes nothing.
    unsafe {
        std::arch::asm!(
            "prefetchw [{}]",
            in(reg) line,
            options(nostack, preserves_flags, readonly)
        );
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = line;
}

/// A type for which any bytes, zero among them, are a value, and which may be shared.
///
/// # Safety
/// Only for types made of atomic integers.
pub unsafe trait Cells: Sync {}

// SAFETY: an atomic integer.
unsafe impl Cells for AtomicU32 {}

/// A mapping as an array of cells.
pub struct CellArray<T> {
    mapping: Mapping,
    cells: PhantomData<T>,
}

impl<T: Cells> CellArray<T> {
    /// Reserves `count` zeroed cells.
    pub fn new(count: usize) -> io::Result<Self> {
        Ok(Self::on(Mapping::new((count * size_of::<T>()).next_multiple_of(PAGE))?))
    }

    /// A mapping, as cells.
    pub fn on(mapping: Mapping) -> Self {
        Self { mapping, cells: PhantomData }
    }

    /// Asks the system for huge pages from now on. Fails if it has none.
    pub fn use_huge_pages(&self) -> io::Result<()> {
        self.mapping.use_huge_pages()
    }

    /// Has the system give a cell memory now: see [`Mapping::take`].
    pub fn take(&self, cell: usize) -> io::Result<()> {
        self.mapping.take(cell * size_of::<T>(), size_of::<T>())
    }

    /// Gives whole pages of cells, which nobody needs any more, back to the system: they become
    /// zero. `from..to` are cells.
    pub fn release(&self, from: usize, to: usize) {
        let start = (from * size_of::<T>()).next_multiple_of(PAGE);
        let end = to * size_of::<T>() / PAGE * PAGE;
        if start < end {
            // SAFETY: cells are atomics: no slice of plain bytes over them exists, and turning
            // to zero is a change like any other that atomics may see.
            unsafe { self.mapping.release(start, end - start) };
        }
    }
}

impl<T: Cells> AsRef<[T]> for CellArray<T> {
    #[inline]
    fn as_ref(&self) -> &[T] {
        self.mapping.tell();
        let count = self.mapping.len / size_of::<T>();
        // SAFETY: the memory is mapped and page-aligned, and `T` is made of atomics, for which any
        // bytes will do. Nobody asks for a cell of a file that it has no memory for.
        unsafe { std::slice::from_raw_parts(self.mapping.start.as_ptr().cast(), count) }
    }
}

/// Lets a test see a mapped file as it is before each access of its thread.
#[cfg(test)]
pub mod watch {
    use std::cell::RefCell;

    /// What sees it.
    type Watcher = Box<dyn FnMut()>;

    thread_local! {
        static WATCHER: RefCell<Option<Watcher>> = const { RefCell::new(None) };
    }

    /// Begins, or ends.
    pub fn set(watcher: Option<Watcher>) {
        WATCHER.with(|it| *it.borrow_mut() = watcher);
    }

    pub(super) fn tell() {
        WATCHER.with(|it| {
            // What the watcher does itself it is not told of.
            let watcher = it.borrow_mut().take();
            if let Some(mut watcher) = watcher {
                watcher();
                *it.borrow_mut() = Some(watcher);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering::Relaxed;

    use super::*;

    #[test]
    fn released_pages_read_as_zero() {
        let mapping = Mapping::new(4 * PAGE).unwrap();
        mapping.u32(PAGE).store(7, Relaxed);
        mapping.u32(3 * PAGE).store(9, Relaxed);
        // SAFETY: no slices exist.
        unsafe { mapping.release(PAGE, PAGE) };
        assert_eq!((mapping.u32(PAGE).load(Relaxed), mapping.u32(3 * PAGE).load(Relaxed)), (0, 9));
    }

    /// Whether the system has noted this about the mapping, in its words.
    fn has_flag(mapping: &Mapping, flag: &str) -> bool {
        let maps = std::fs::read_to_string("/proc/self/smaps").expect("Linux has it");
        let begin = format!("{:x}-", mapping.start.as_ptr().addr());
        let own = maps.lines().skip_while(|line| !line.starts_with(&begin));
        let mut flags = own.filter(|line| line.starts_with("VmFlags:"));
        flags.next().is_some_and(|flags| flags.split_whitespace().any(|it| it == flag))
    }

    #[test]
    fn items_are_left_out_of_core_files() {
        let file = rustix::fs::memfd_create("items", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        let file = Arc::new(File::from(file));
        file.set_len(PAGE as u64).unwrap();
        for mapping in [Mapping::new(PAGE).unwrap(), Mapping::of_file(&file, 0, PAGE).unwrap()] {
            assert!(has_flag(&mapping, "dd"));
        }
    }

    #[test]
    fn huge_pages_are_what_the_system_is_asked_for() {
        let mapping = Mapping::new(8 << 20).unwrap();
        assert!(!has_flag(&mapping, "hg"));
        let allowed = mapping.use_huge_pages().is_ok();
        assert_eq!(has_flag(&mapping, "hg"), allowed);
        mapping.u32(0).store(7, Relaxed);
        assert_eq!(mapping.u32(0).load(Relaxed), 7);
    }

    #[test]
    fn no_reference_reaches_outside() {
        let mapping = Mapping::new(PAGE).unwrap();
        for (offset, len) in [(PAGE, 1), (PAGE - 3, 4), (usize::MAX, 2), (0, PAGE + 1)] {
            let outside = std::panic::catch_unwind(|| {
                // SAFETY: nothing writes.
                unsafe { mapping.bytes(offset, len) }.len()
            });
            assert!(outside.is_err(), "{offset} + {len}");
        }
        assert!(std::panic::catch_unwind(|| mapping.u32(2).load(Relaxed)).is_err());
    }
}

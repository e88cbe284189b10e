//! What AddressSanitizer is told of memory that is mapped once and shared out in segments. What the
//! allocator gives back it knows by itself, but nothing of this.
//!
//! Only with `--cfg asan`, see `cargo xtask asan`; otherwise nothing happens here.

#[cfg(asan)]
use std::ffi::c_void;

#[cfg(asan)]
unsafe extern "C" {
    fn __asan_poison_memory_region(start: *const c_void, len: usize);
    fn __asan_unpoison_memory_region(start: *const c_void, len: usize);
    fn __asan_region_is_poisoned(start: *const c_void, len: usize) -> *const c_void;
}

/// From now on whatever touches the memory ends the process.
///
/// # Safety
/// The caller's own memory, at a multiple of 8 and as long as one.
pub unsafe fn forbid(start: *const u8, len: usize) {
    #[cfg(asan)]
    // SAFETY: marks shadow memory, which there is for every address; whose memory it is, the
    // caller answers for.
    unsafe {
        __asan_poison_memory_region(start.cast(), len);
    }
    let _ = (start, len);
}

/// Takes [`forbid`] back.
///
/// # Safety
/// The caller's own memory.
pub unsafe fn allow(start: *const u8, len: usize) {
    #[cfg(asan)]
    // SAFETY: as above.
    unsafe {
        __asan_unpoison_memory_region(start.cast(), len);
    }
    let _ = (start, len);
}

/// Panics if some of the memory is forbidden. For memory that the system will read or write, which
/// nobody else looks at.
#[inline(always)]
pub fn check(start: *const u8, len: usize) {
    #[cfg(asan)]
    // SAFETY: looks at shadow memory, which there is for every address.
    let forbidden = unsafe { __asan_region_is_poisoned(start.cast(), len) };
    #[cfg(asan)]
    assert!(forbidden.is_null(), "memory of a free segment, at {forbidden:?}");
    let _ = (start, len);
}

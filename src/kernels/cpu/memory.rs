//! Memory for results: not cleared before, and kept after.
//!
//! A training step needs the same large buffers as the one before. By default the C library gives each of them back to the
//! system and asks for it again, and the system clears it page by page, which takes about 6 % of a step. So the first large
//! buffer tells the C library to keep what was freed.
//!
//! Deliberately absent: a pool. It would have to do again what an allocator does well.

use std::sync::Once;

/// Numbers from which on a buffer is large.
const LARGE: usize = 1 << 16;

/// `length` numbers that `fill` writes, every one of them.
pub(crate) fn filled(length: usize, fill: impl FnOnce(&mut [f32])) -> Vec<f32> {
    let mut values = uninitialized(length);
    fill(&mut values);
    values
}

/// `length` numbers of any value, to be overwritten.
#[expect(
    clippy::uninit_vec,
    reason = "clearing large results costs as much as computing them"
)]
pub(crate) fn uninitialized(length: usize) -> Vec<f32> {
    if length >= LARGE {
        keep_what_is_freed();
    }
    let mut values = Vec::with_capacity(length);
    // SAFETY: the capacity is there, every bit pattern is an f32, and callers write before they read.
    unsafe {
        values.set_len(length);
    }
    values
}

/// For the whole process, and once. Other allocators than glibc's are left alone.
fn keep_what_is_freed() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        #[cfg(all(target_os = "linux", target_env = "gnu"))]
        {
            const GIBIBYTE: libc::c_int = 1 << 30;
            // SAFETY: this sets two numbers of the allocator, at any time.
            unsafe {
                libc::mallopt(libc::M_MMAP_THRESHOLD, GIBIBYTE);
                libc::mallopt(libc::M_TRIM_THRESHOLD, libc::c_int::MAX);
            }
        }
    });
}

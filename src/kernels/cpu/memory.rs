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

/// Room for `length` numbers.
///
/// # Safety
/// Every number must be written before it is read.
#[expect(
    clippy::uninit_vec,
    reason = "clearing large results costs as much as computing them"
)]
pub(crate) unsafe fn uninitialized(length: usize) -> Vec<f32> {
    if length >= LARGE {
        keep_what_is_freed();
    }
    let mut values = Vec::with_capacity(length);
    // SAFETY: the capacity is there, and the caller writes before anybody reads.
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
            /// The most that older releases accept.
            const MOST: libc::c_int = 32 << 20;
            // SAFETY: this sets two numbers of the allocator, at any time.
            unsafe {
                if libc::mallopt(libc::M_MMAP_THRESHOLD, GIBIBYTE) == 0 {
                    libc::mallopt(libc::M_MMAP_THRESHOLD, MOST);
                }
                libc::mallopt(libc::M_TRIM_THRESHOLD, libc::c_int::MAX);
            }
        }
    });
}

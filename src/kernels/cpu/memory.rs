//! Memory for results, without the cost of clearing it first.
//!
//! Deliberately absent: a pool. The allocator keeps what was freed (see `main`), so that a training step touches the same
//! pages as the one before.

/// `length` numbers that `fill` writes, every one of them.
///
/// The memory is not cleared before, which for large results costs as much as computing them.
pub(crate) fn filled(length: usize, fill: impl FnOnce(&mut [f32])) -> Vec<f32> {
    let mut values = uninitialized(length);
    fill(&mut values);
    values
}

/// `length` numbers of any value, to be overwritten.
pub(crate) fn uninitialized(length: usize) -> Vec<f32> {
    let mut values = Vec::with_capacity(length);
    // SAFETY: the capacity is there, every bit pattern is an f32, and callers write before they read.
    #[allow(clippy::uninit_vec)]
    unsafe {
        values.set_len(length);
    }
    values
}

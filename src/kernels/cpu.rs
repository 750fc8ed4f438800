//! Slices to slices: what the fused operations compute on a CPU.
//!
//! Every function here takes plain `f32` slices in row-major order, runs on rayon's current pool, and is compiled for
//! several instruction sets, of which the best one is taken at run time (see [`simd`]).
//!
//! Promise: for one instruction set, the same bits for any number of threads. Work is cut into pieces whose size depends
//! on the shapes alone, and partial sums are added up in the order of the pieces.
//!
//! Deliberately absent: tensors and gradients' bookkeeping, which the files above this folder do; and any blocking for
//! caches in large matrix products, which the `gemm` crate does better.

pub(crate) mod adamw;
pub(crate) mod attention;
pub(crate) mod embedding;
pub(crate) mod gelu;
pub(crate) mod half;
pub(crate) mod layer_norm;
pub(crate) mod linear;
pub(crate) mod memory;
pub(crate) mod random;
pub(crate) mod rotary;
pub(crate) mod simd;
pub(crate) mod small;
pub(crate) mod sums;

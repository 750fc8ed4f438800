//! Fused tensor operations: what an encoder's forward and backward pass spend their time in.
//!
//! Each operation stands in a file of its own, twice. The *composition* is written in burn's tensor operations: it serves
//! every backend (on CUDA burn fuses it), and it says what is computed. The *fused* form is what a CPU runs: slices in
//! `cpu`, recorded with burn's autodiff as one step by `flex`. Which one runs follows from the device of the tensors; the
//! tests hold the two together to 1e-5, forward and gradients, for any shape.
//!
//! | operation | what the fused form spares |
//! | --- | --- |
//! | [`linear`] | the bias's own pass; a transposed copy |
//! | [`gelu`] | a dozen passes; its backward pass computes again instead of keeping |
//! | [`attention`] | scores in memory; all work on padding, and on keys outside a window |
//! | [`rotated`] | four passes; a rotated copy of halves |
//! | [`layer_norm`] | five passes |
//! | [`dropout_add_layer_norm`] | masks in memory; seven passes |
//! | [`embedding_layer_norm_dropout`] | three lookups in memory |
//! | [`AdamW`](adamw) | eleven passes over all weights |
//!
//! Hidden states are `[tokens, hidden]`: the tokens of all texts of a batch, one after the other. [`Spans`] says which rows
//! are whose. So only attention and pooling know about texts, and a batch without padding is the ordinary case.
//!
//! Products of matrices may be computed in 16 bits; `precision` says what that means, and nothing else here knows more of it.
//!
//! Promise: results do not depend on the number of threads (see `cpu`). Which elements are dropped is a function of seed,
//! step, site, row and column alone (see [`Dropout`]).
//!
//! Deliberately absent: parameters, layers and any knowledge of a model; kernels written for a GPU.

mod adamw;
mod attention;
mod cpu;
mod distance;
mod dropout;
mod embedding;
mod flex;
mod gelu;
mod layer_norm;
mod linear;
mod precision;
mod rotary;
mod spans;
#[cfg(test)]
mod tests;

pub use adamw::{AdamWStep, Moments, adamw, sum_of_squares};
pub use attention::{
    attention, attention_by_distance, attention_of_first, attention_weights,
    attention_weights_by_distance,
};
pub use cpu::random::Dropout;
pub use distance::{Distance, Vectors};
pub use dropout::dropout;
pub use embedding::{Lookup, embedding_layer_norm_dropout};
pub use gelu::gelu;
pub use layer_norm::{Norm, dropout_add_layer_norm, layer_norm};
pub use linear::linear;
pub use precision::Precision;
pub use rotary::{Rotary, rotated};
pub use spans::Spans;

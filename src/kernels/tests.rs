//! The fused forms against the compositions.

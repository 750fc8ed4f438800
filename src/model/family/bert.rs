//! BERT (Devlin et al., arXiv:1810.04805): what the others are told by.

use super::fields::Fields;
use super::{Description, Family};

pub(super) const BERT: Description = Description {
    model_type: "bert",
    class: "Bert",
    prefix: "bert",
    roots: &["embeddings.", "encoder.", "pooler."],
    layer: |number, _| format!("encoder.layer.{number}."),
    renames: &[],
    fields: &[],
    read: |path, bytes| Ok(Fields::read(path, bytes)?.config(Family::Bert)),
    head: None,
};

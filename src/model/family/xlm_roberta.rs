//! XLM-RoBERTa (Conneau et al., arXiv:1911.02116): RoBERTa over many languages, which shares the names of its tensors.

use super::fields::Fields;
use super::roberta::{ROBERTA, after_padding};
use super::{Description, Family};

pub(super) const XLM_ROBERTA: Description = Description {
    model_type: "xlm-roberta",
    class: "XLMRoberta",
    read: |path, bytes| {
        Ok(after_padding(
            Fields::read(path, bytes)?,
            Family::XlmRoberta,
        ))
    },
    ..ROBERTA
};

//! What tensors are called, in burn and in a checkpoint of any family.
//!
//! This is the one place that knows how a field's path becomes a tensor's name, which spellings of a name mean one tensor,
//! and which tensors lie transposed: a linear layer's weight is `[out, in]` in a checkpoint and `[in, out]` in burn.
//! The words that only one family uses are in `family`.
//!
//! Deliberately absent: reading files.

use super::config::EncoderConfig;
use super::family::Family;
use super::masked::MaskedNames;

/// What the names of a CRF's parameters begin with.
pub(super) const CRF: &str = "crf.";

/// What holds the dense layers of a head that are beyond those of transformers' own class.
const DENSE_LAYERS: &str = "mlp";

/// How a classifier names its parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Names {
    pub(super) family: Family,
    /// The blocks in a group of layers.
    inner: usize,
    /// What a head over masked places is called.
    pub(super) masked: MaskedNames,
}

impl Names {
    pub(super) fn of(config: &EncoderConfig) -> Names {
        Names {
            family: config.family,
            inner: config.layers.inner,
            masked: MaskedNames::of(config),
        }
    }

    /// The name in a checkpoint of the parameter at a burn module path, dotted, of a classifier.
    ///
    /// `encoder.Bert.encoder.layer.0.attention.self_attention.query.weight` is
    /// `bert.encoder.layer.0.attention.self.query.weight`.
    pub(super) fn of_path(self, path: &str) -> String {
        let words = |path: &str| {
            let words = path.split('.').map(|word| match word {
                "self_attention" => "self",
                "layer_norm" => "LayerNorm",
                "gamma" => "weight",
                "beta" => "bias",
                "wqkv" => "Wqkv",
                "wi" => "Wi",
                "wo" => "Wo",
                other => other,
            });
            let words = words.collect::<Vec<_>>().join(".");
            words
                .replace(".lora.a.", ".lora_A.")
                .replace(".lora.b.", ".lora_B.")
        };
        match path.split_once('.') {
            // The variant of the encoder is no part of a name.
            Some(("encoder", rest)) => {
                let inside = rest.split_once('.').map_or(rest, |(_, inside)| inside);
                let inside = self.within_encoder(&words(inside));
                format!("{}.{inside}", self.family.prefix())
            }
            Some(("head", rest)) => self.within_head(&words(rest)),
            _ => words(path),
        }
    }

    fn within_encoder(self, name: &str) -> String {
        let description = self.family.description();
        let (layer, rest) = match name
            .strip_prefix("encoder.layer.")
            .and_then(|rest| rest.split_once('.'))
            .and_then(|(number, rest)| Some((number.parse().ok()?, rest)))
        {
            Some((number, rest)) => ((description.layer)(number, self.inner), rest),
            None => (String::new(), name),
        };
        let renamed = description
            .renames
            .iter()
            .find_map(|(ours, theirs)| Some(format!("{theirs}{}", rest.strip_prefix(ours)?)));
        format!("{layer}{}", renamed.as_deref().unwrap_or(rest))
    }

    fn within_head(self, name: &str) -> String {
        if let Some(field) = name.strip_prefix("masked.") {
            return self.masked.of_field(field);
        }
        let Some(own) = self.family.description().head else {
            return name.to_owned();
        };
        match name.split_once('.') {
            Some(("dense", rest)) => format!("{}.{rest}", own.dense),
            Some(("answers", rest)) => format!("{}.{rest}", own.answers),
            Some(("norm", rest)) => format!("{}.{rest}", own.norm),
            _ => name.to_owned(),
        }
    }
}

/// The name that the family's classes of transformers have for a tensor: with the encoder's prefix, which a checkpoint of
/// the encoder alone leaves out, and `weight` and `bias` of a LayerNorm, which old ones call `gamma` and `beta`.
pub(super) fn canonical(family: Family, name: &str) -> String {
    let name = match name.rsplit_once('.') {
        Some((before, "gamma")) => format!("{before}.weight"),
        Some((before, "beta")) => format!("{before}.bias"),
        _ => name.to_owned(),
    };
    let mut roots = family.description().roots.iter();
    match roots.any(|root| name.starts_with(root)) {
        true => format!("{}.{name}", family.prefix()),
        false => name,
    }
}

/// Whether a tensor of that canonical name is the encoder's.
pub(super) fn belongs(family: Family, name: &str) -> bool {
    within(name, family.prefix())
}

/// Whether it is the pooler's, or of what stands in its place in the head of a pretrained model: a checkpoint need not have
/// it, and a classifier need not use it.
pub(super) fn is_pooler(family: Family, name: &str) -> bool {
    let own = family.description().head.filter(|own| own.pretrained);
    own.is_some_and(|own| within(name, own.dense) || within(name, own.norm))
        || name
            .strip_prefix(family.prefix())
            .is_some_and(|rest| rest.starts_with(".pooler."))
}

/// Whether it is a head's, which is drawn anew for a new task.
pub(super) fn is_head(family: Family, name: &str) -> bool {
    let own = family.description().head.filter(|own| !own.pretrained);
    let dense = own.map(|own| own.dense);
    ["classifier", "qa_outputs", DENSE_LAYERS]
        .into_iter()
        .chain(dense)
        .any(|head| within(name, head))
        || name.starts_with(CRF)
}

/// Whether a model does without a tensor that is called like one of its encoder's: an index table that old versions of
/// transformers stored beside the weights, and embeddings of positions for a DeBERTa that adds none. Source for the
/// latter: `_keys_to_ignore_on_load_unexpected` in `modeling_deberta_v2.py`.
pub(super) fn is_left_over(family: Family, name: &str) -> bool {
    name.ends_with("embeddings.position_ids")
        || name.ends_with("embeddings.token_type_ids")
        || family == Family::Deberta && name.ends_with("embeddings.position_embeddings.weight")
}

/// The heads that encoders are pretrained with, over masked words, pairs of sentences or replaced words, in all families.
const OF_PRETRAINING: [&str; 13] = [
    "cls.predictions",
    "cls.seq_relationship",
    "lm_head",
    "lm_predictions",
    "generator_predictions",
    "generator_lm_head",
    "discriminator_predictions",
    "predictions",
    "sop_classifier",
    "vocab_transform",
    "vocab_layer_norm",
    "vocab_projector",
    "decoder",
];

/// Whether a tensor is of a head that an encoder was pretrained with. Who fine-tunes expects it to go.
pub(super) fn is_of_pretraining(name: &str) -> bool {
    OF_PRETRAINING.iter().any(|module| within(name, module))
}

/// Whether `name` is below `module`.
fn within(name: &str, module: &str) -> bool {
    name.strip_prefix(module)
        .is_some_and(|rest| rest.starts_with('.'))
}

/// Whether it is a parameter of a LayerNorm, under any of its names.
pub(super) fn is_norm(name: &str) -> bool {
    name.split('.').any(|word| {
        let word = word.to_ascii_lowercase();
        word == "norm" || word.ends_with("layernorm") || word.ends_with("_norm")
    })
}

/// Whether weight decay applies: not to biases and not to LayerNorm, as in transformers' `Trainer`, and not to a CRF, whose
/// parameters are scores added to others, as biases are.
pub fn decays(name: &str) -> bool {
    !name.contains("bias") && !is_norm(name) && !name.starts_with(CRF)
}

/// How the names of a head's own matrix over the vocabulary end: it lies as the embeddings do.
const OVER_THE_VOCABULARY: [&str; 3] = [
    "decoder.weight",
    "generator_lm_head.weight",
    "vocab_projector.weight",
];

/// Whether a matrix lies the other way round in a checkpoint: the weights of linear layers do, which here are all matrices
/// but the embedding tables, a matrix over the vocabulary, and those of a CRF.
pub(super) fn transposed(name: &str) -> bool {
    name.ends_with(".weight")
        && !is_norm(name)
        && !name.contains("_embeddings.")
        && !name.ends_with("relative_attention_bias.weight")
        && !OVER_THE_VOCABULARY.iter().any(|end| name.ends_with(end))
}

/// Whether the whole of `name` is as `pattern` says, in which `*` stands for any characters and `?` for one.
pub fn fits(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), name.chars().collect());
    // fitting[n]: the pattern so far fits the first n characters.
    let mut fitting = vec![false; name.len() + 1];
    fitting[0] = true;
    for &wanted in &pattern {
        let mut next = vec![false; name.len() + 1];
        for at in 0..=name.len() {
            let before = at.checked_sub(1);
            next[at] = match wanted {
                '*' => fitting[at] || before.is_some_and(|before| next[before]),
                '?' => before.is_some_and(|before| fitting[before]),
                _ => before.is_some_and(|before| fitting[before] && name[before] == wanted),
            };
        }
        fitting = next;
    }
    fitting.last().copied().unwrap_or(false)
}

#[cfg(test)]
mod tests;

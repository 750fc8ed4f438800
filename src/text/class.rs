//! transformers' tokenizer classes: which one a folder's tokenizer belongs to, what it is made from, and its special tokens.
//!
//! A class decides more than a name: given the same vocabulary, transformers' `RobertaTokenizer` and `BertTokenizer` cut
//! text otherwise. The class is what `tokenizer_config.json` says, else what goes with the `model_type` of `config.json`,
//! else what the vocabulary's file is called.
//!
//! Source: transformers 5.23, `models/auto/tokenization_auto.py` and the classes themselves.
//!
//! Deliberately absent: classes of other encoders. Their `tokenizer.json` is used as it stands.

use super::files::Specials;

/// The classes that are built here from a vocabulary, and those that are not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Class {
    Bert,
    DistilBert,
    MpNet,
    Roberta,
    XlmRoberta,
    Albert,
    DebertaV2,
    /// Takes `tokenizer.json` as it stands, or builds from a SentencePiece model what that says.
    Plain,
    /// Any other, by its name.
    Other(String),
}

/// transformers' classes that read a `vocab.txt` just as BERT's does.
const BERT_CLASSES: [&str; 4] = ["Bert", "Electra", "MobileBert", "ConvBert"];

/// The special tokens of a class beside those of [`Specials`].
pub(super) struct Bounds {
    pub(super) bos: Option<&'static str>,
    pub(super) eos: Option<&'static str>,
}

impl Class {
    /// By the name that `tokenizer_config.json` gives, with or without `Fast` at its end.
    pub(super) fn named(name: &str) -> Class {
        let stem = name.strip_suffix("Fast").unwrap_or(name);
        match stem.strip_suffix("Tokenizer").unwrap_or(stem) {
            family if BERT_CLASSES.contains(&family) => Class::Bert,
            "DistilBert" => Class::DistilBert,
            "MPNet" => Class::MpNet,
            "Roberta" => Class::Roberta,
            "XLMRoberta" => Class::XlmRoberta,
            "Albert" => Class::Albert,
            "DebertaV2" => Class::DebertaV2,
            "PreTrained" | "TokenizersBackend" => Class::Plain,
            _ => Class::Other(name.to_owned()),
        }
    }

    /// By the `model_type` of an encoder's `config.json`. Nothing for BERT and those that share its tokenizer, which is
    /// what nothing means, and for types that are unknown here.
    pub(super) fn of_model(model_type: &str) -> Option<Class> {
        Some(match model_type {
            "distilbert" => Class::DistilBert,
            "mpnet" => Class::MpNet,
            "roberta" => Class::Roberta,
            "xlm-roberta" => Class::XlmRoberta,
            "albert" => Class::Albert,
            "deberta-v2" => Class::DebertaV2,
            _ => return None,
        })
    }

    /// What a folder that names no class is read as, by the name of its vocabulary's file.
    pub(super) fn of_vocabulary(file: &str) -> Class {
        match file {
            "vocab.json" => Class::Roberta,
            "sentencepiece.bpe.model" => Class::XlmRoberta,
            "spiece.model" => Class::Albert,
            "spm.model" => Class::DebertaV2,
            "tokenizer.model" => Class::Plain,
            _ => Class::Bert,
        }
    }

    /// The file that the class reads its vocabulary from; nothing for one that is not built here.
    pub(super) fn vocabulary(&self) -> Option<&'static str> {
        Some(match self {
            Class::Bert | Class::DistilBert | Class::MpNet => "vocab.txt",
            Class::Roberta => "vocab.json",
            Class::XlmRoberta => "sentencepiece.bpe.model",
            Class::Albert => "spiece.model",
            Class::DebertaV2 => "spm.model",
            Class::Plain => "tokenizer.model",
            Class::Other(_) => return None,
        })
    }

    /// As transformers calls it.
    pub(super) fn name(&self) -> &str {
        match self {
            Class::Bert => "BertTokenizer",
            Class::DistilBert => "DistilBertTokenizer",
            Class::MpNet => "MPNetTokenizer",
            Class::Roberta => "RobertaTokenizer",
            Class::XlmRoberta => "XLMRobertaTokenizer",
            Class::Albert => "AlbertTokenizer",
            Class::DebertaV2 => "DebertaV2Tokenizer",
            Class::Plain => "PreTrainedTokenizerFast",
            Class::Other(name) => name,
        }
    }

    /// Whether it normalizes and separates words as BERT's does, and takes the rest from `tokenizer.json`.
    pub(super) fn is_bert(&self) -> bool {
        matches!(self, Class::Bert | Class::DistilBert)
    }

    /// Whether a pair's second text is told from the first by its type. The encoders of the others have one type, and
    /// their classes give none. (AlbertTokenizer of transformers 5 gives none either, which ALBERT was not trained with:
    /// its encoder has two types, and every earlier version gave them.)
    pub(super) fn has_types(&self) -> bool {
        !matches!(
            self,
            Class::DistilBert | Class::MpNet | Class::Roberta | Class::XlmRoberta
        )
    }

    /// The names of the special tokens where no file gives them.
    pub(super) fn specials(&self) -> Specials {
        let [pad, unk, cls, sep, mask] = match self {
            Class::MpNet => ["<pad>", "[UNK]", "<s>", "</s>", "<mask>"],
            Class::Roberta | Class::XlmRoberta => ["<pad>", "<unk>", "<s>", "</s>", "<mask>"],
            Class::Albert => ["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"],
            _ => ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"],
        }
        .map(str::to_owned);
        Specials {
            unk,
            sep,
            pad,
            cls,
            mask,
        }
    }

    /// Likewise for what stands at the beginning and the end of a text.
    pub(super) fn bounds(&self) -> Bounds {
        let (bos, eos) = match self {
            Class::MpNet | Class::Roberta | Class::XlmRoberta => (Some("<s>"), Some("</s>")),
            Class::Albert | Class::DebertaV2 => (Some("[CLS]"), Some("[SEP]")),
            _ => (None, None),
        };
        Bounds { bos, eos }
    }
}

#[cfg(test)]
mod tests;

//! Saving a tokenizer as transformers would have saved it.
//!
//! Equal tokenizers are saved as equal bytes. What transformers' `BertTokenizer` can express is saved as one; anything
//! else as the class that takes `tokenizer.json` as it is.

use std::path::Path;

use serde_json::{Map, Value, json};
use tokenizers::models::ModelWrapper;
use tokenizers::normalizers::NormalizerWrapper;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;

use super::files::{self, Specials};
use super::{TextError, Tokenizer};

impl Tokenizer {
    /// Writes `tokenizer.json`, `tokenizer_config.json`, `special_tokens_map.json` and, for WordPiece, `vocab.txt` into
    /// the new folder `folder`: what transformers' `AutoTokenizer` needs to give the same ids. Equal tokenizers give
    /// equal bytes. `max_length` is named as the model's limit where the tokenizer's own files named none.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn save(&self, folder: &Path, max_length: usize) -> Result<(), TextError> {
        std::fs::create_dir_all(folder).map_err(|source| TextError::Write {
            path: folder.to_owned(),
            source,
        })?;
        let write = |name: &str, text: &str| files::write(&folder.join(name), text.as_bytes());
        write("tokenizer.json", self.to_json())?;
        write(
            "tokenizer_config.json",
            &pretty(&self.config_json(max_length)),
        )?;
        write(
            "special_tokens_map.json",
            &pretty(&Value::Object(self.special_tokens())),
        )?;
        if let Some(lines) = self.vocab_txt() {
            write("vocab.txt", &lines)?;
        }
        Ok(())
    }

    /// The whole tokenizer as a `tokenizer.json`, made when first asked for.
    pub(super) fn to_json(&self) -> &str {
        self.json.get_or_init(|| {
            let mut whole = self.words.clone();
            whole.with_post_processor(self.template.clone());
            whole
                .to_string(false)
                .expect("what was read as JSON can be written as JSON")
        })
    }

    fn special_tokens(&self) -> Map<String, Value> {
        let Specials {
            unk,
            sep,
            pad,
            cls,
            mask,
        } = &self.specials;
        [
            ("unk_token", unk),
            ("sep_token", sep),
            ("pad_token", pad),
            ("cls_token", cls),
            ("mask_token", mask),
        ]
        .into_iter()
        .filter(|(_, name)| self.words.token_to_id(name).is_some())
        .map(|(role, name)| (role.to_owned(), json!(name)))
        .collect()
    }

    fn config_json(&self, max_length: usize) -> Value {
        let mut config = Map::new();
        let limit = self.model_max_length.unwrap_or(max_length);
        match self.words.get_normalizer() {
            Some(NormalizerWrapper::BertNormalizer(normalizer)) if self.is_bert() => {
                config.insert("tokenizer_class".to_owned(), json!("BertTokenizer"));
                config.insert("do_lower_case".to_owned(), json!(normalizer.lowercase));
                config.insert("strip_accents".to_owned(), json!(normalizer.strip_accents));
                config.insert(
                    "tokenize_chinese_chars".to_owned(),
                    json!(normalizer.handle_chinese_chars),
                );
            }
            // transformers then takes tokenizer.json as it is.
            _ => {
                config.insert(
                    "tokenizer_class".to_owned(),
                    json!("PreTrainedTokenizerFast"),
                );
                // It would leave the type ids out, and a pair would look like one text to the model. An encoder that
                // knows no types refuses them, though.
                let inputs: &[&str] = match self.token_types(true) {
                    1 => &["input_ids", "attention_mask"],
                    _ => &["input_ids", "token_type_ids", "attention_mask"],
                };
                config.insert("model_input_names".to_owned(), json!(inputs));
                // Earlier versions would take back what tokenizer.json says.
                if matches!(self.words.get_pre_tokenizer(), Some(PreTokenizerWrapper::ByteLevel(b)) if b.add_prefix_space)
                {
                    config.insert("add_prefix_space".to_owned(), json!(true));
                }
            }
        }
        config.insert("model_max_length".to_owned(), json!(limit));
        let mut specials = self.special_tokens();
        // transformers adds the tokens that it misses, at ids for which the model has no embedding.
        for role in [
            "unk_token",
            "sep_token",
            "pad_token",
            "cls_token",
            "mask_token",
        ] {
            config.insert(
                role.to_owned(),
                specials.remove(role).unwrap_or(Value::Null),
            );
        }
        Value::Object(config)
    }

    /// Whether transformers' `BertTokenizer`, which builds itself from the vocabulary and four settings, would be equal.
    fn is_bert(&self) -> bool {
        let usual_model = matches!(self.words.get_model(), ModelWrapper::WordPiece(model)
            if model.continuing_subword_prefix == "##" && model.max_input_chars_per_word == 100);
        let usual_text = matches!(self.words.get_normalizer(), Some(NormalizerWrapper::BertNormalizer(n)) if n.clean_text)
            && matches!(
                self.words.get_pre_tokenizer(),
                Some(PreTokenizerWrapper::BertPreTokenizer(_))
            );
        let specials = self.special_tokens();
        let usual_tokens = self.words.get_added_tokens_decoder().values().all(|token| {
            token.special && specials.values().any(|name| *name == json!(token.content))
        });
        usual_model && usual_text && usual_tokens && self.has_bert_template()
    }

    /// Asked of its behaviour, since `TemplateProcessing` and `BertProcessing` both say it.
    fn has_bert_template(&self) -> bool {
        let id = |name: &str| self.words.token_to_id(name);
        let (Some(cls), Some(sep)) = (id(&self.specials.cls), id(&self.specials.sep)) else {
            return false;
        };
        let gives = |pair: Option<&str>, ids: &[u32], type_ids: &[u32]| {
            self.encoding("", pair, usize::MAX)
                .is_ok_and(|(encoding, _)| {
                    encoding.get_ids() == ids && encoding.get_type_ids() == type_ids
                })
        };
        gives(None, &[cls, sep], &[0, 0]) && gives(Some(""), &[cls, sep, sep], &[0, 0, 1])
    }

    /// The vocabulary, one token a line, where a line's number can be the token's id.
    fn vocab_txt(&self) -> Option<String> {
        if !matches!(self.words.get_model(), ModelWrapper::WordPiece(_)) {
            return None;
        }
        let mut lines = String::new();
        for id in 0..self.vocab_size as u32 {
            let name = self.words.id_to_token(id)?;
            if name.contains(['\n', '\r']) {
                return None;
            }
            lines.push_str(&name);
            lines.push('\n');
        }
        Some(lines)
    }
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

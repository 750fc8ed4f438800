//! SentencePiece models (`sentencepiece.bpe.model`, `spiece.model`, `spm.model`, `tokenizer.model`): the few fields of their
//! protocol buffer that a tokenizer is made from.
//!
//! A file is read within bounds that real ones are far from, and its normalization table is checked here: tokenizers
//! would follow whatever such a table says out of its memory, and panic.
//!
//! Sources: `sentencepiece_model.proto` and Darts-clone's `DoubleArrayUnit` in Google's SentencePiece;
//! `SentencePieceExtractor` and `generate_merges` in transformers 5.23.
//!
//! Deliberately absent: what transformers does not read either (`add_dummy_prefix`, `remove_extra_whitespaces`): how spaces
//! are treated is up to the tokenizer's class.

use std::collections::HashMap;

use prost::Message;

/// The largest file that is read: a vocabulary of a million pieces takes 18 MB.
const MOST_BYTES: usize = 32 << 20;

/// The longest piece, in bytes. SentencePiece's own limit is 16 characters unless told otherwise; tokenizers keeps pieces in
/// a tree as deep as the longest, and frees it by recursion.
pub(super) const LONGEST_PIECE: usize = 1000;

/// The largest normalization table, in bytes. That of full compatibility decomposition has 0.3 MB.
const MOST_CHARSMAP_BYTES: usize = 4 << 20;

#[derive(Clone, PartialEq, Message)]
struct ModelProto {
    #[prost(message, repeated, tag = "1")]
    pieces: Vec<PieceProto>,
    #[prost(message, optional, tag = "2")]
    trainer_spec: Option<TrainerSpec>,
    #[prost(message, optional, tag = "3")]
    normalizer_spec: Option<NormalizerSpec>,
}

#[derive(Clone, PartialEq, Message)]
struct PieceProto {
    #[prost(string, optional, tag = "1")]
    piece: Option<String>,
    #[prost(float, optional, tag = "2")]
    score: Option<f32>,
    /// 1 normal, 2 unknown, 3 control, 4 user defined, 5 unused, 6 byte.
    #[prost(int32, optional, tag = "3")]
    kind: Option<i32>,
}

#[derive(Clone, PartialEq, Message)]
struct TrainerSpec {
    /// 1 unigram, 2 BPE, 3 word, 4 char.
    #[prost(int32, optional, tag = "3")]
    model_type: Option<i32>,
    #[prost(bool, optional, tag = "35")]
    byte_fallback: Option<bool>,
    #[prost(int32, optional, tag = "40")]
    unk_id: Option<i32>,
    #[prost(int32, optional, tag = "41")]
    bos_id: Option<i32>,
    #[prost(int32, optional, tag = "42")]
    eos_id: Option<i32>,
    #[prost(string, optional, tag = "45")]
    unk_piece: Option<String>,
    #[prost(string, optional, tag = "46")]
    bos_piece: Option<String>,
    #[prost(string, optional, tag = "47")]
    eos_piece: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
struct NormalizerSpec {
    #[prost(bytes = "vec", optional, tag = "2")]
    precompiled_charsmap: Option<Vec<u8>>,
}

const CONTROL: i32 = 3;
const USER_DEFINED: i32 = 4;

/// How the model was trained, and therefore cuts words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Unigram,
    Bpe,
}

/// What a SentencePiece model says.
#[derive(Debug)]
pub(super) struct SentencePiece {
    pub(super) kind: Kind,
    /// Pieces with their scores, in the order of their ids.
    pub(super) pieces: Vec<(String, f64)>,
    /// Control pieces (true) and user defined ones (false), in the order of their ids.
    pub(super) marked: Vec<(String, bool)>,
    pub(super) unk_id: usize,
    pub(super) unk: String,
    pub(super) bos: Option<String>,
    pub(super) eos: Option<String>,
    pub(super) byte_fallback: bool,
    /// The normalization table, checked; none where it is empty.
    pub(super) charsmap: Option<Vec<u8>>,
}

impl SentencePiece {
    /// Reads a model from the bytes of its file.
    ///
    /// # Errors
    /// What is wrong with it, to be told after its path.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, String> {
        if bytes.len() > MOST_BYTES {
            return Err(format!(
                "it has {} bytes, and no vocabulary needs more than {MOST_BYTES}",
                bytes.len()
            ));
        }
        let proto = ModelProto::decode(bytes).map_err(|e| e.to_string())?;
        let trainer = proto.trainer_spec.unwrap_or_default();
        let kind = match trainer.model_type.unwrap_or(1) {
            1 => Kind::Unigram,
            2 => Kind::Bpe,
            other => {
                return Err(format!(
                    "it is of the model type {other}, and only unigram (1) and BPE (2) are known"
                ));
            }
        };
        if proto.pieces.is_empty() {
            return Err("it has no pieces".to_owned());
        }
        let mut pieces = Vec::with_capacity(proto.pieces.len());
        let mut marked = Vec::new();
        for (id, proto) in proto.pieces.into_iter().enumerate() {
            let piece = proto.piece.unwrap_or_default();
            let score = proto.score.unwrap_or_default();
            if piece.is_empty() {
                return Err(format!("its piece {id} is empty"));
            }
            if piece.len() > LONGEST_PIECE {
                return Err(format!(
                    "its piece {id} has {} bytes, more than {LONGEST_PIECE}",
                    piece.len()
                ));
            }
            if !score.is_finite() {
                return Err(format!("the score of its piece {piece:?} is {score}"));
            }
            if let Some(kind @ (CONTROL | USER_DEFINED)) = proto.kind {
                marked.push((piece.clone(), kind == CONTROL));
            }
            pieces.push((piece, f64::from(score)));
        }
        let unk_id = usize::try_from(trainer.unk_id.unwrap_or(0)).unwrap_or(usize::MAX);
        let charsmap = proto
            .normalizer_spec
            .and_then(|spec| spec.precompiled_charsmap)
            .filter(|charsmap| !charsmap.is_empty());
        if let Some(charsmap) = &charsmap {
            check_charsmap(charsmap)?;
        }
        let bound = |id: Option<i32>, usual: i32, piece: Option<String>, name: &str| {
            (id.unwrap_or(usual) >= 0).then(|| {
                piece
                    .filter(|piece| !piece.is_empty())
                    .unwrap_or(name.to_owned())
            })
        };
        Ok(SentencePiece {
            kind,
            pieces,
            marked,
            unk_id,
            unk: trainer.unk_piece.unwrap_or("<unk>".to_owned()),
            bos: bound(trainer.bos_id, 1, trainer.bos_piece, "<s>"),
            eos: bound(trainer.eos_id, 2, trainer.eos_piece, "</s>"),
            byte_fallback: trainer.byte_fallback.unwrap_or(false),
            charsmap,
        })
    }

    /// The merges that a BPE vocabulary implies, from the first to be made to the last: every way to put a piece together
    /// from two others, pieces in the order of their ids, shorter beginnings first.
    pub(super) fn merges(&self) -> Vec<(String, String)> {
        // Of a piece that is there twice the later id counts, as in a Python dict.
        let ids: HashMap<&str, usize> = self
            .pieces
            .iter()
            .enumerate()
            .map(|(id, (piece, _))| (piece.as_str(), id))
            .collect();
        let mut merges = Vec::new();
        for (id, (piece, _)) in self.pieces.iter().enumerate() {
            if ids.get(piece.as_str()) != Some(&id) {
                continue;
            }
            let cuts = piece.char_indices().skip(1).map(|(at, _)| at);
            let halves = cuts.map(|at| piece.split_at(at));
            let known = halves.filter(|(a, b)| ids.contains_key(a) && ids.contains_key(b));
            merges.extend(known.map(|(a, b)| (a.to_owned(), b.to_owned())));
        }
        merges
    }
}

/// Checks that a normalization table can be followed anywhere: every text that it is asked about stays within the tree,
/// and every answer is a stretch of its replacements.
///
/// The table is the length of the tree in bytes (u32), the tree's units (u32 each), and the replacements, each ended by a
/// zero byte. A unit says the byte that leads to it, how far its children are (their places differ from there in the
/// bits of their byte), and whether the first of them is the place of a replacement.
///
/// # Errors
/// What is wrong with it, to be told after its path.
pub(super) fn check_charsmap(charsmap: &[u8]) -> Result<(), String> {
    let wrong = |what: &str| Err(format!("its normalization table is damaged: {what}"));
    if charsmap.len() > MOST_CHARSMAP_BYTES {
        return wrong(&format!("it has {} bytes", charsmap.len()));
    }
    let Some((length, rest)) = charsmap.split_first_chunk() else {
        return wrong("it is too short to say how long it is");
    };
    let length = u32::from_le_bytes(*length) as usize / 4 * 4;
    let Some((tree, replacements)) = rest.split_at_checked(length) else {
        return wrong("it claims more bytes than it has");
    };
    let (units, _) = tree.as_chunks::<4>();
    let units: Vec<u32> = units.iter().map(|unit| u32::from_le_bytes(*unit)).collect();
    let Ok(replacements) = std::str::from_utf8(replacements) else {
        return wrong("its replacements are not UTF-8");
    };
    let children = |place: usize, unit: u32| {
        let unit = unit as usize;
        place ^ ((unit >> 10) << ((unit & (1 << 9)) >> 6))
    };
    let Some(root) = units.first() else {
        return wrong("its tree is empty");
    };
    let mut seen = vec![false; units.len()];
    let mut pending = vec![children(0, *root)];
    while let Some(first) = pending.pop() {
        // A byte differs from the first child's place in its lower bits only, so that all 256 are within one block.
        if first | 0xff >= units.len() {
            return wrong("its tree leads out of itself");
        }
        for byte in 1..=usize::from(u8::MAX) {
            let place = first ^ byte;
            let unit = units[place];
            if unit as usize & ((1 << 31) | 0xff) != byte || seen[place] {
                continue;
            }
            seen[place] = true;
            let first = children(place, unit);
            if unit >> 8 & 1 == 1 {
                let answer = units.get(first).map(|leaf| (leaf & 0x7fff_ffff) as usize);
                if !answer.is_some_and(|answer| replacements.is_char_boundary(answer)) {
                    return wrong("its tree leads to no replacement");
                }
            }
            pending.push(first);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;

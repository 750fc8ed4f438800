//! Claims about reading SentencePiece models; hostile ones are in `check`, whole tokenizers in `class`.

use proptest::prelude::*;

use super::*;

fn model(pieces: &[(&str, f32, i32)], trainer: TrainerSpec, charsmap: &[u8]) -> Vec<u8> {
    let piece = |(piece, score, kind): &(&str, f32, i32)| PieceProto {
        piece: Some((*piece).to_owned()),
        score: Some(*score),
        kind: Some(*kind),
    };
    let proto = ModelProto {
        pieces: pieces.iter().map(piece).collect(),
        trainer_spec: Some(trainer),
        normalizer_spec: Some(NormalizerSpec {
            precompiled_charsmap: Some(charsmap.to_vec()),
        }),
    };
    proto.encode_to_vec()
}

const PIECES: [(&str, f32, i32); 7] = [
    ("<unk>", 0.0, 2),
    ("<s>", 0.0, 3),
    ("(", 0.0, 4),
    ("a", -1.5, 1),
    ("b", -2.0, 1),
    ("ab", -3.0, 1),
    ("aba", -4.0, 1),
];

#[test]
fn what_a_model_leaves_out_is_as_in_its_proto() {
    let read = SentencePiece::read(&model(&PIECES, TrainerSpec::default(), b"")).unwrap();
    assert_eq!(read.kind, Kind::Unigram);
    assert_eq!((read.unk_id, read.unk.as_str()), (0, "<unk>"));
    assert_eq!(read.bos.as_deref(), Some("<s>"));
    assert_eq!(read.eos.as_deref(), Some("</s>"));
    assert_eq!(read.charsmap, None);
    assert_eq!(read.pieces[3], ("a".to_owned(), -1.5));
    assert_eq!(
        read.marked,
        [("<s>".to_owned(), true), ("(".to_owned(), false)]
    );
}

#[test]
fn merges_are_all_ways_to_put_a_piece_together_in_the_order_of_ids() {
    let trainer = TrainerSpec {
        model_type: Some(2),
        bos_id: Some(-1),
        ..TrainerSpec::default()
    };
    let read = SentencePiece::read(&model(&PIECES, trainer, b"")).unwrap();
    assert_eq!((read.kind, read.bos.as_deref()), (Kind::Bpe, None));
    let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    assert_eq!(read.merges(), [pair("a", "b"), pair("ab", "a")]);
}

#[test]
fn models_of_words_and_characters_are_refused_by_their_number() {
    let trainer = TrainerSpec {
        model_type: Some(3),
        ..TrainerSpec::default()
    };
    let error = SentencePiece::read(&model(&PIECES, trainer, b"")).unwrap_err();
    assert!(error.contains("the model type 3"), "{error}");
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = SentencePiece::read(&bytes);
        let _ = check_charsmap(&bytes);
        let _ = SentencePiece::read(&model(&PIECES, TrainerSpec::default(), &bytes));
    }

    #[test]
    fn a_model_with_changed_bytes_does_not_panic(changes in prop::collection::vec((any::<usize>(), any::<u8>()), 1..8)) {
        let mut bytes = model(&PIECES, TrainerSpec::default(), &[4, 0, 0, 0, 0, 0, 0, 0, b'a', 0]);
        for (at, byte) in changes {
            let at = at % bytes.len();
            bytes[at] = byte;
        }
        if let Ok(read) = SentencePiece::read(&bytes) {
            read.merges();
        }
    }
}

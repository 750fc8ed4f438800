//! What is wrong with a database is found, and said with its file and line.

use super::*;

fn with(file: &str, change: impl FnOnce(Vec<u8>) -> Vec<u8>) -> Result<Thesaurus, ThesaurusError> {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path());
    let path = folder.path().join(file);
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, change(bytes)).unwrap();
    Thesaurus::wordnet(folder.path())
}

fn replaced(file: &str, from: &str, to: &str) -> Result<Thesaurus, ThesaurusError> {
    with(file, |bytes| {
        let text = String::from_utf8(bytes).unwrap();
        assert!(text.contains(from), "{file} holds no {from}");
        text.replacen(from, to, 1).into_bytes()
    })
}

#[test]
fn damage_is_named_with_its_line() {
    for (file, from, to, line, said) in [
        ("data.noun", "film 0", "fil 0", 3, "at byte"),
        ("data.noun", " 03 n 03", " 03 v 03", 2, "\"v\""),
        ("data.noun", " n 03 film", " n 00 film", 2, "no words"),
        ("data.noun", " n 03 film", " n zz film", 2, "\"zz\""),
        ("data.noun", " n 03 film", " n 7f film", 2, "hexadecimal"),
        ("data.verb", "| a gloss", "  a gloss", 2, "the line ends"),
        (
            "index.noun",
            "acting n 1",
            "acting n 2",
            2,
            "2 synsets and 1 senses",
        ),
        ("index.noun", "acting n 1", "acting v 1", 2, "\"v\""),
        (
            "index.noun",
            "acting n 1 1 @",
            "acting n 0 1 @",
            2,
            "no synsets",
        ),
        (
            "index.noun",
            "acting n 1 1 @",
            "acting n 1 9 @",
            2,
            "the line ends",
        ),
        ("index.noun", "@ 1 1 ", "@ 1 5 ", 2, "5 tagged senses of 1"),
        (
            "index.noun",
            "@ 1 1 0",
            "@ 1 1 9",
            2,
            "where no synset begins",
        ),
        ("index.noun", "@ 1 1 0", "@ 1 1 x", 2, "x0"),
        ("noun.exc", "knives knife", "knives", 1, "the line ends"),
        ("verb.exc", "given give", "", 2, "the line ends"),
    ] {
        match replaced(file, from, to) {
            Err(error @ ThesaurusError::Database { line: found, .. }) => {
                let message = error.to_string();
                assert_eq!(found, line, "{file}: {message}");
                assert!(
                    message.contains(said) && message.contains(file),
                    "{said:?}: {message}"
                );
            }
            other => panic!("{file}, {from} to {to}: {other:?}"),
        }
    }
}

#[test]
fn bytes_that_are_no_text_are_named_with_their_line() {
    for file in Thesaurus::WORDNET_FILES {
        let found = with(file, |mut bytes| {
            let last = bytes.len() - 2;
            bytes[last] = 0xff;
            bytes
        });
        let Err(ThesaurusError::Database { found, line, .. }) = found else {
            panic!("{file}: {found:?}");
        };
        assert!(
            found.contains("UTF-8") && line > 0,
            "{file}, line {line}: {found}"
        );
    }
}

#[test]
fn a_file_cut_short_anywhere_is_found() {
    for file in [
        "data.noun",
        "data.verb",
        "data.adj",
        "index.noun",
        "index.verb",
        "index.adv",
    ] {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path());
        let path = folder.path().join(file);
        let whole = std::fs::read(&path).unwrap();
        let trimmed = whole.trim_ascii_end().len();
        // A cut within the last gloss takes nothing that is read.
        let gloss = whole
            .iter()
            .rposition(|&byte| byte == b'|')
            .map_or(trimmed, |bar| bar + 1);
        for length in 0..gloss.min(trimmed) {
            std::fs::write(&path, &whole[..length]).unwrap();
            let found = Thesaurus::wordnet(folder.path());
            assert!(
                matches!(found, Err(ThesaurusError::Database { .. })),
                "{file} cut at {length} of {}: {found:?}",
                whole.len()
            );
        }
    }
}

#[test]
fn a_line_that_the_index_lacks_is_found() {
    let cut = with("index.adv", |bytes| {
        let text = String::from_utf8(bytes).unwrap();
        let kept: Vec<&str> = text
            .lines()
            .filter(|line| !line.starts_with("rapidly"))
            .collect();
        (kept.join("\n") + "\n").into_bytes()
    });
    match cut {
        Err(ThesaurusError::Database { file, line, .. }) => {
            assert!(file.ends_with("data.adv"));
            assert_eq!(line, 2);
        }
        other => panic!("{other:?}"),
    }
}

proptest! {
    #[test]
    fn random_bytes_are_read_or_refused_and_never_a_panic(
        file in 0_usize..12,
        place in 0_usize..2000,
        taken in 0_usize..20,
        bytes in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..12),
            "[0-9a-z @|\n()']{0,12}".prop_map(String::into_bytes),
        ],
        text in "[a-zA-Z' ]{0,30}",
    ) {
        let found = with(Thesaurus::WORDNET_FILES[file], |mut whole| {
            let start = place % whole.len();
            let end = (start + taken).min(whole.len());
            whole.splice(start..end, bytes);
            whole
        });
        match found {
            Ok(thesaurus) => {
                let words: Vec<&str> = text.split(' ').chain(["film", "knives", "bigger", "gave"]).collect();
                for at in 0..words.len() {
                    thesaurus.synonyms(&words, at);
                }
            }
            Err(ThesaurusError::Database { file: named, line, .. }) => {
                prop_assert!(line > 0);
                let known = Thesaurus::WORDNET_FILES.iter().any(|name| named.ends_with(name));
                prop_assert!(known);
            }
            Err(other) => prop_assert!(false, "{other:?}"),
        }
    }
}

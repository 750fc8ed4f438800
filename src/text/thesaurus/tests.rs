//! A small database made here, whole and damaged; a user's list; and [`real`] on WordNet itself.

mod damage;
mod real;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use proptest::prelude::*;

use super::*;

/// Synsets: the type, and the words.
const SYNSETS: &[(&str, &[&str])] = &[
    ("n", &["film", "movie", "motion_picture"]),
    ("n", &["city", "metropolis"]),
    (
        "n",
        &["Paris", "City_of_Light", "French_capital", "Greater_Paris"],
    ),
    ("n", &["compact_disc", "CD"]),
    ("n", &["knife", "blade"]),
    ("n", &["egg", "ovum", "egg_cell"]),
    ("n", &["acting", "playing"]),
    ("v", &["film", "shoot", "take"]),
    ("v", &["stop", "halt", "give_up"]),
    ("v", &["act", "move"]),
    ("v", &["give"]),
    ("a", &["good", "big(a)", "alive(p)"]),
    ("s", &["large", "big"]),
    ("r", &["quickly", "rapidly", "in_haste"]),
];

const EXCEPTIONS: &[(&str, &str)] = &[
    ("noun", "knives knife\n"),
    (
        "verb",
        "gave give\ngiven give\nshot shoot\nstopped stop\nstopping stop\ntaken take\ntook take\n",
    ),
    ("adj", "better good\nbigger big\n"),
    ("adv", "best well\n"),
];

/// Writes the database into `folder`, as wndb(5WN) says.
fn write(folder: &Path) {
    for (suffix, types) in [("noun", "n"), ("verb", "v"), ("adj", "as"), ("adv", "r")] {
        let mut data = String::from("  1 A licence.  \n");
        let mut index: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (kind, words) in SYNSETS.iter().filter(|(kind, _)| types.contains(kind)) {
            let offset = data.len();
            write!(data, "{offset:08} 03 {kind} {:02x}", words.len()).unwrap();
            for word in *words {
                write!(data, " {word} 0").unwrap();
                let name = word.split('(').next().unwrap().to_lowercase();
                index.entry(name).or_default().push(offset);
            }
            data.push_str(" 001 @ 00000001 n 0000 | a gloss  \n");
        }
        let mut lines = String::from("  1 A licence.  \n");
        for (name, offsets) in index {
            let (kind, count) = (&types[..1], offsets.len());
            write!(lines, "{name} {kind} {count} 1 @ {count} 1").unwrap();
            for offset in offsets {
                write!(lines, " {offset:08}").unwrap();
            }
            lines.push_str("  \n");
        }
        let exceptions = EXCEPTIONS
            .iter()
            .find(|(name, _)| *name == suffix)
            .unwrap()
            .1;
        std::fs::write(folder.join(format!("data.{suffix}")), data).unwrap();
        std::fs::write(folder.join(format!("index.{suffix}")), lines).unwrap();
        std::fs::write(folder.join(format!("{suffix}.exc")), exceptions).unwrap();
    }
}

fn small() -> Thesaurus {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path());
    Thesaurus::wordnet(folder.path()).unwrap()
}

/// The synonyms of the word between the stars: `a *good* film`.
fn of(thesaurus: &Thesaurus, text: &str) -> Vec<String> {
    let place = text
        .split_whitespace()
        .position(|word| word.contains('*'))
        .unwrap();
    let text = text.replace('*', "");
    let words: Vec<&str> = text.split_whitespace().collect();
    thesaurus.synonyms(&words, place)
}

fn check(thesaurus: &Thesaurus, cases: &[(&str, &[&str])]) {
    for (text, expected) in cases {
        assert_eq!(of(thesaurus, text), *expected, "{text}");
    }
}

#[test]
fn a_noun_is_not_replaced_by_a_verb() {
    check(
        &small(),
        &[
            ("the *film* ends", &["movie", "motion picture"]),
            ("they will *film* it", &["shoot", "take"]),
            ("she *filmed* it", &["shot", "took"]),
            ("two *films*", &["movies", "motion pictures"]),
        ],
    );
}

#[test]
fn punctuation_stays_around_the_word() {
    check(
        &small(),
        &[
            ("a (good) *film*!\"", &["movie!\"", "motion picture!\""]),
            ("the *(film's* end", &["(movie's", "(motion picture's"]),
            ("the “*films*”…", &["“movies”…", "“motion pictures”…"]),
            ("*--*", &[]),
            ("#*film*", &[]),
            ("@*film*", &[]),
        ],
    );
}

#[test]
fn capitals_stay() {
    check(
        &small(),
        &[
            ("*Films* end", &["Movies", "Motion pictures"]),
            ("the *FILM* ends", &["MOVIE", "MOTION PICTURE"]),
            ("the *fIlm* ends", &[]),
        ],
    );
}

#[test]
fn names_are_given_only_where_a_name_is_written() {
    check(
        &small(),
        &[
            ("in *Paris* today", &["City of Light", "French capital"]),
            ("in *paris* today", &[]),
            ("*Paris* sleeps", &[]),
            ("the *CD* plays", &["compact disc"]),
            ("THE *CD* PLAYS", &[]),
            ("the *cd* plays", &[]),
        ],
    );
}

#[test]
fn an_adjective_stands_only_where_it_may() {
    check(
        &small(),
        &[
            ("a *good* film", &["big"]),
            ("an *good* film", &[]),
            ("this is *good*", &["alive"]),
            ("a *bigger* film", &["better", "larger"]),
        ],
    );
}

#[test]
fn an_article_fits_what_is_given() {
    check(
        &small(),
        &[
            ("an *ovum* splits", &["egg", "egg cell"]),
            ("an *egg* splits", &["ovum", "egg cell"]),
            ("a *ovum* splits", &[]),
        ],
    );
}

#[test]
fn what_has_no_synonyms_gives_none() {
    let thesaurus = small();
    check(
        &thesaurus,
        &[
            ("*the* film", &[]),
            ("*42* films", &[]),
            ("*don't* film", &[]),
            ("*unheard-of* films", &[]),
            ("*naïve* films", &[]),
        ],
    );
    assert_eq!(thesaurus.synonyms(&["film"], 1), Vec::<String>::new());
    assert_eq!(thesaurus.synonyms(&[], 0), Vec::<String>::new());
}

#[test]
fn the_files_are_those_that_are_read() {
    for missing in Thesaurus::WORDNET_FILES {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path());
        assert_eq!(
            folder.path().read_dir().unwrap().count(),
            Thesaurus::WORDNET_FILES.len()
        );
        std::fs::remove_file(folder.path().join(missing)).unwrap();
        match Thesaurus::wordnet(folder.path()) {
            Err(ThesaurusError::Unreadable { file, .. }) => assert!(file.ends_with(missing)),
            other => panic!("{missing}: {other:?}"),
        }
    }
    assert!(Thesaurus::WORDNET_FILES.is_sorted());
}

fn list(text: impl AsRef<[u8]>) -> Result<Thesaurus, ThesaurusError> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("synonyms.tsv");
    std::fs::write(&file, text).unwrap();
    Thesaurus::tsv(&file)
}

#[test]
fn a_list_is_looked_up_as_it_stands() {
    let thesaurus = list(
        "\u{feff}# ours\r\nglad\thappy\tover the moon\r\n\nGlad\tpleased\thappy\nu\tyou\n2\ttwo\nglad\tGlad\nFILM\tBluRay\n",
    )
    .unwrap();
    check(
        &thesaurus,
        &[
            ("so *glad*!", &["happy!", "over the moon!", "pleased!"]),
            ("*Glad*", &["Happy", "Over the moon", "Pleased"]),
            ("*GLAD*", &["HAPPY", "OVER THE MOON", "PLEASED"]),
            ("*gladly*", &[]),
            ("*u*", &["you"]),
            ("*2*", &["two"]),
            ("*film*", &["BluRay"]),
        ],
    );
}

#[test]
fn a_wrong_line_of_a_list_is_named() {
    for (text, line, said) in [
        ("glad\thappy\n\nalone\n", 3, "alone"),
        ("# c\nglad\t\thappy\n", 2, "empty field"),
        ("\thappy\n", 1, "\"\""),
        ("two words\thappy\n", 1, "two words"),
        ("glad\thappy\t\n", 1, "empty field"),
    ] {
        match list(text) {
            Err(error @ ThesaurusError::List { line: found, .. }) => {
                assert_eq!(found, line, "{text:?}");
                let message = error.to_string();
                assert!(
                    message.contains(said) && message.contains("synonyms.tsv"),
                    "{message}"
                );
            }
            other => panic!("{text:?}: {other:?}"),
        }
    }
    assert!(matches!(
        list(b"glad\t\xff\n"),
        Err(ThesaurusError::List { line: 1, .. })
    ));
    assert!(matches!(
        Thesaurus::tsv(Path::new("no/such/file")),
        Err(ThesaurusError::Unreadable { .. })
    ));
}

proptest! {
    #[test]
    fn any_text_is_answered_and_never_with_the_word_itself(
        words in proptest::collection::vec(
            prop_oneof!["\\PC{0,8}", "[(\"']?(film|Paris|knives|good|bigger|stopp?ing|gave|CD|to|the|n't|'s)[s,.!']{0,2}"],
            0..6,
        ),
        place in 0_usize..7,
    ) {
        let thesaurus = small();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let synonyms = thesaurus.synonyms(&words, place);
        prop_assert_eq!(&synonyms, &thesaurus.synonyms(&words, place));
        for (at, synonym) in synonyms.iter().enumerate() {
            prop_assert_ne!(synonym.to_lowercase(), words[place].to_lowercase());
            prop_assert!(!synonyms[..at].contains(synonym));
            prop_assert!(!synonym.contains("  ") && !synonym.contains('_'));
        }
    }

    #[test]
    fn a_garbled_list_is_read_or_refused(text in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Err(error) = list(&text) {
            let is_list = matches!(error, ThesaurusError::List { .. });
            prop_assert!(is_list);
        }
    }
}

//! On WordNet 3.0 itself, where `REFIT_TEST_ASSETS` says that it is: agreement with NLTK, the forms of words, and readings.
//!
//! `wordnet.json` holds, for some 540 words (at random from the index, from the exception lists, and from two data sets of
//! real text), what NLTK's `WordNetCorpusReader` answers on the same folder: for nouns, verbs, adjectives and adverbs, the
//! answer of `morphy`, and the lemma names of all synsets with spaces between.

use std::path::PathBuf;
use std::sync::OnceLock;

use super::super::inflect::{Form, inflected};
use super::super::wordnet::{Pos, WordNet};
use super::*;

/// The database, read once; `None`, said aloud, where it is not there.
fn wordnet() -> Option<&'static Thesaurus> {
    static READ: OnceLock<Option<Thesaurus>> = OnceLock::new();
    let folder = std::env::var_os("REFIT_TEST_ASSETS")
        .map(|assets| PathBuf::from(assets).join("data/wordnet-3.0"))
        .filter(|folder| folder.is_dir());
    let Some(folder) = folder else {
        assert!(
            std::env::var_os("REFIT_TEST_ALL").is_none(),
            "this test needs REFIT_TEST_ASSETS, a folder with `data/wordnet-3.0`"
        );
        eprintln!(
            "SKIPPED: set REFIT_TEST_ASSETS to the folder with `data/wordnet-3.0` to run this test"
        );
        return None;
    };
    READ.get_or_init(|| Some(Thesaurus::wordnet(&folder).unwrap()))
        .as_ref()
}

fn database(thesaurus: &Thesaurus) -> &WordNet {
    match &thesaurus.0 {
        Source::WordNet(wordnet) => wordnet,
        Source::List(_) => panic!("a list"),
    }
}

/// What `morphy` answers, and the words of each synset.
type Answer = (Option<String>, Vec<String>);

#[test]
fn lemmas_and_synsets_are_those_of_nltk() {
    let Some(thesaurus) = wordnet() else { return };
    let wordnet = database(thesaurus);
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/wordnet.json");
    let fixture = std::fs::read(path).unwrap();
    let words: BTreeMap<String, Vec<Answer>> = serde_json::from_slice(&fixture).unwrap();
    assert!(words.len() >= 500);
    let mut synsets = 0;
    for (word, answers) in &words {
        for (place, pos) in Pos::ALL.into_iter().enumerate() {
            let (lemma, expected) = answers.get(place).cloned().unwrap_or_default();
            assert_eq!(
                wordnet.morphy(word, pos),
                lemma.as_deref(),
                "morphy of {word:?}, {pos:?}"
            );
            let found: Vec<String> = wordnet
                .lemmas(word, pos)
                .iter()
                .map(|names| names.join(" "))
                .collect();
            assert_eq!(found, expected, "synsets of {word:?}, {pos:?}");
            synsets += found.len();
        }
    }
    assert!(synsets > 1500, "{synsets}");
}

#[test]
fn forms_are_those_of_english() {
    use Form::{Comparative, Ing, Participle, Past, PastOrParticiple, Plural, Superlative, Third};
    use Pos::{Adjective, Adverb, Noun, Verb};
    let Some(thesaurus) = wordnet() else { return };
    let wordnet = database(thesaurus);
    let cases: &[(&str, Pos, Form, Option<&str>)] = &[
        ("movie", Noun, Plural, Some("movies")),
        ("city", Noun, Plural, Some("cities")),
        ("day", Noun, Plural, Some("days")),
        ("box", Noun, Plural, Some("boxes")),
        ("knife", Noun, Plural, Some("knives")),
        ("belief", Noun, Plural, Some("beliefs")),
        ("hero", Noun, Plural, Some("heroes")),
        ("photo", Noun, Plural, Some("photos")),
        ("child", Noun, Plural, Some("children")),
        ("policeman", Noun, Plural, Some("policemen")),
        ("woman", Noun, Plural, Some("women")),
        ("human", Noun, Plural, Some("humans")),
        ("foot", Noun, Plural, Some("feet")),
        ("crisis", Noun, Plural, Some("crises")),
        ("criterion", Noun, Plural, Some("criteria")),
        ("stadium", Noun, Plural, Some("stadiums")),
        ("brother", Noun, Plural, Some("brothers")),
        ("bus", Noun, Plural, Some("buses")),
        ("genius", Noun, Plural, Some("geniuses")),
        ("motion picture", Noun, Plural, Some("motion pictures")),
        ("piece of cake", Noun, Plural, None),
        ("mother-in-law", Noun, Plural, None),
        ("information", Noun, Plural, None),
        ("happiness", Noun, Plural, None),
        ("weakness", Noun, Plural, Some("weaknesses")),
        ("feeling", Noun, Plural, Some("feelings")),
        ("acting", Noun, Plural, None),
        ("CD", Noun, Plural, Some("CDs")),
        ("politics", Noun, Plural, None),
        ("go", Verb, Third, Some("goes")),
        ("try", Verb, Third, Some("tries")),
        ("play", Verb, Third, Some("plays")),
        ("watch", Verb, Third, Some("watches")),
        ("have", Verb, Third, Some("has")),
        ("quiz", Verb, Third, Some("quizzes")),
        ("give up", Verb, Third, Some("gives up")),
        ("be", Verb, Third, None),
        ("stop", Verb, Past, Some("stopped")),
        ("visit", Verb, Past, Some("visited")),
        ("prefer", Verb, Past, Some("preferred")),
        ("panic", Verb, Past, Some("panicked")),
        ("carry", Verb, Past, Some("carried")),
        ("go", Verb, Past, Some("went")),
        ("go", Verb, Participle, Some("gone")),
        ("go", Verb, PastOrParticiple, None),
        ("sing", Verb, Past, Some("sang")),
        ("sing", Verb, Participle, Some("sung")),
        ("come", Verb, Participle, Some("come")),
        ("run", Verb, Past, Some("ran")),
        ("win", Verb, Participle, Some("won")),
        ("show", Verb, Past, Some("showed")),
        ("show", Verb, Participle, Some("shown")),
        ("put", Verb, Past, Some("put")),
        ("work", Verb, Past, Some("worked")),
        ("make", Verb, PastOrParticiple, Some("made")),
        ("bear", Verb, Participle, Some("borne")),
        ("understand", Verb, Past, Some("understood")),
        ("take off", Verb, Past, Some("took off")),
        ("beat", Verb, Past, Some("beat")),
        ("see", Verb, Ing, Some("seeing")),
        ("make", Verb, Ing, Some("making")),
        ("die", Verb, Ing, Some("dying")),
        ("run", Verb, Ing, Some("running")),
        ("sing", Verb, Ing, Some("singing")),
        ("open", Verb, Ing, Some("opening")),
        ("put up", Verb, Ing, Some("putting up")),
        ("big", Adjective, Comparative, Some("bigger")),
        ("happy", Adjective, Superlative, Some("happiest")),
        ("large", Adjective, Superlative, Some("largest")),
        ("good", Adjective, Comparative, Some("better")),
        ("beautiful", Adjective, Comparative, Some("more beautiful")),
        ("worn", Adjective, Comparative, Some("more worn")),
        ("small", Adjective, Superlative, Some("smallest")),
        ("great", Adjective, Comparative, Some("greater")),
        ("low", Adjective, Comparative, Some("lower")),
        ("off", Adjective, Comparative, None),
        ("lead", Verb, Past, Some("led")),
        ("mislead", Verb, Participle, Some("misled")),
        ("need", Verb, Past, Some("needed")),
        ("wiretap", Verb, Ing, Some("wiretapping")),
        ("target", Verb, Ing, Some("targeting")),
        ("carrying into action", Noun, Plural, None),
        ("kayak", Verb, Past, Some("kayaked")),
        ("arthritis", Noun, Plural, None),
        ("dead", Adjective, Comparative, None),
        ("later", Adjective, Superlative, None),
        ("well", Adverb, Superlative, Some("best")),
        ("rapidly", Adverb, Comparative, Some("more rapidly")),
    ];
    assert!(cases.len() >= 60);
    let wrong: Vec<_> = cases
        .iter()
        .map(|&(lemma, pos, form, expected)| {
            (lemma, form, expected, inflected(wordnet, lemma, pos, form))
        })
        .filter(|(_, _, expected, found)| found.as_deref() != *expected)
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn morphy_takes_back_the_forms_that_are_made() {
    let Some(thesaurus) = wordnet() else { return };
    let wordnet = database(thesaurus);
    let mut made = 0;
    let mut strange = Vec::new();
    for (pos, forms) in [
        (Pos::Noun, &[Form::Plural][..]),
        (
            Pos::Verb,
            &[Form::Third, Form::Past, Form::Participle, Form::Ing],
        ),
        (Pos::Adjective, &[Form::Comparative, Form::Superlative]),
    ] {
        for lemma in wordnet.all(pos) {
            if lemma.name.contains('_') {
                continue;
            }
            for &form in forms {
                let Some(word) = inflected(wordnet, lemma.name, pos, form) else {
                    continue;
                };
                made += 1;
                let known = wordnet
                    .bases(&word, pos)
                    .iter()
                    .any(|base| base.name == lemma.name);
                if !known && !word.contains(' ') {
                    strange.push(word);
                }
            }
        }
    }
    assert!(made > 100_000, "{made}");
    // What the lists lack (`partied`, `spammed`), or have as another word's form too (`axes`).
    assert!(
        strange.len() * 300 < made,
        "{} of {made}: {strange:?}",
        strange.len()
    );
}

#[test]
fn a_form_of_a_lemma_is_found_as_that_form_again() {
    let Some(thesaurus) = wordnet() else { return };
    let wordnet = database(thesaurus);
    for (verb, past, participle) in [
        ("take", "took", "taken"),
        ("begin", "began", "begun"),
        ("write", "wrote", "written"),
        ("see", "saw", "seen"),
        ("fly", "flew", "flown"),
        ("lie", "lay", "lain"),
    ] {
        for (word, form) in [(past, Form::Past), (participle, Form::Participle)] {
            assert_eq!(
                super::super::inflect::form(wordnet, word, verb, Pos::Verb),
                Some(form),
                "{word}"
            );
        }
    }
}

/// The word between stars, some synonyms that are given, and some that are not.
const READINGS: &[(&str, &[&str], &[&str])] = &[
    (
        "a *good* movie",
        &["respectable"],
        &["goodness", "commodity"],
    ),
    ("for the common *good*", &["goodness"], &["respectable"]),
    (
        "a *good* stepping stone for the director",
        &["respectable"],
        &["commodity"],
    ),
    ("the *film* was long", &["movie"], &["shoot"]),
    ("they want to *film* it in spring", &["shoot"], &["movie"]),
    ("a japanese *film* that explores", &["movie"], &["shoot"]),
    (
        "he *ran* home",
        &["scarpered"],
        &["runs", "running", "footrace"],
    ),
    ("two *runs* were scored", &["tallies"], &["scarpers"]),
    ("she *works* hard", &["acts"], &["deeds"]),
    ("the *works* of shakespeare", &["deeds"], &["acts"]),
    ("he *left* the room", &["departed"], &["leftover"]),
    ("i *saw* him", &["witnessed"], &["power saw"]),
    ("they bought a *saw*", &["proverb"], &["understood"]),
    ("he 's *leaving* today", &["departing"], &["leave-taking"]),
    ("he has *gone* home", &["travelled", "departed"], &["went"]),
    ("we *went* home", &["departed"], &["gone"]),
    ("he *put* it down", &["set"], &["puts", "put option"]),
    ("to *put* it mildly", &["set", "lay"], &["laid"]),
    ("very *funny*", &["amusing"], &["funny story"]),
    ("*quickly* written", &["rapidly"], &[]),
    (
        "the *happiest* people",
        &["most felicitous"],
        &["felicitous"],
    ),
    ("do n't *watch* this", &["observe"], &["ticker"]),
    ("my *watch* stopped", &["ticker"], &["observe"]),
    ("the *wolves* came", &["beasts", "brutes"], &[]),
    (
        "in *London* today",
        &["British capital"],
        &["Greater London", "Jack London"],
    ),
    ("Tiger *Woods* plays", &[], &["Forests"]),
    ("*Want* explicit photos", &["Desire"], &["Privation"]),
    ("is *going* to rain", &[], &["travelling"]),
    ("is *going* home", &["travelling"], &[]),
    (
        "the script *needs* more jokes",
        &["requires"],
        &["indigences"],
    ),
    (
        "has enough *flourishes* to make it",
        &["brandishes"],
        &["expands"],
    ),
    ("HI *HI* BABE", &["HELLO"], &["Hawaii"]),
];

#[test]
fn a_word_is_read_in_its_context() {
    let Some(thesaurus) = wordnet() else { return };
    let wrong: Vec<_> = READINGS
        .iter()
        .map(|&(text, given, absent)| (text, given, absent, of(thesaurus, text)))
        .filter(|(_, given, absent, found)| {
            let has = |word: &str| found.iter().any(|synonym| synonym == word);
            !given.iter().all(|word| has(word)) || absent.iter().any(|word| has(word))
        })
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

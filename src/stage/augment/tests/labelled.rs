//! Rows of which something is known word by word: tags and answers stay true, whatever happens to the words.

use super::*;
use crate::metrics::Entity;

const NAMES: [&str; 5] = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"];

fn names() -> Vec<String> {
    NAMES.iter().map(|name| name.to_string()).collect()
}

/// Each word says which word it was, and its tag.
fn tagged(rows: &[Vec<u32>]) -> Texts {
    let word = |row: usize, place: usize, tag: u32| format!("w{row}x{place}x{tag}");
    let words: Vec<Vec<String>> = rows
        .iter()
        .enumerate()
        .map(|(row, tags)| {
            let tags = tags.iter().enumerate();
            tags.map(|(place, &tag)| word(row, place, tag)).collect()
        })
        .collect();
    Texts {
        id: (0..rows.len() as u64).collect(),
        copy: vec![0; rows.len()],
        text: words.iter().map(|words| words.join(" ")).collect(),
        words: Some(words),
        tags: Some(rows.to_vec()),
        ..Texts::default()
    }
}

fn entities<'w>(words: &'w [String], tags: &[u32]) -> Vec<(&'static str, &'w [String])> {
    let tags: Vec<&'static str> = tags.iter().map(|&tag| NAMES[tag as usize]).collect();
    let found = Entity::find(&tags).into_iter();
    let mut found: Vec<_> = found
        .map(|entity| (entity.kind, &words[entity.start..entity.end]))
        .collect();
    found.sort_unstable();
    found
}

fn grow_tagged(settings: Value, train: &Texts) -> Texts {
    let (input, draft) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    Table {
        label_names: Some(names()),
        splits: [("train".to_owned(), train.to_frame().unwrap())].into(),
        ..Table::default()
    }
    .save(input.path())
    .unwrap();
    run(settings, input.path(), draft.path()).unwrap();
    table::texts(&Table::open(draft.path()).unwrap().splits["train"]).unwrap()
}

fn answered(context: &str, answers: &[(usize, usize)]) -> Texts {
    let characters: Vec<char> = context.chars().collect();
    let answer = |&(from, to): &(usize, usize)| Answer {
        start: from as u32,
        text: characters[from..to].iter().collect(),
    };
    Texts {
        id: vec![0],
        copy: vec![0],
        text: vec!["which of them?".to_owned()],
        text_pair: Some(vec![context.to_owned()]),
        answers: Some(vec![answers.iter().map(answer).collect()]),
        ..Texts::default()
    }
}

fn all_stand(rows: &Texts) -> bool {
    let contexts = rows.text_pair.as_ref().unwrap();
    let answers = rows.answers.as_ref().unwrap();
    contexts.iter().zip(answers).all(|(context, answers)| {
        answers.iter().all(|answer| {
            let rest: String = context.chars().skip(answer.start as usize).collect();
            rest.starts_with(&answer.text)
        })
    })
}

#[test]
fn tags_move_with_their_words_and_entities_stay_whole() {
    let train = tagged(&[vec![0, 1, 2, 2, 0, 0, 3, 0, 1, 0, 0, 0, 3, 4]]);
    let settings = json!({ "copies": 20, "random_swap": { "rate": 0.4 } });
    let grown = grow_tagged(settings, &train);
    assert_eq!(grown.len(), 21);
    let (words, tags) = (grown.words.unwrap(), grown.tags.unwrap());
    for (words, tags) in words.iter().zip(&tags) {
        for (word, tag) in words.iter().zip(tags) {
            assert!(word.ends_with(&format!("x{tag}")), "{word} has {tag}");
        }
        assert_eq!(entities(words, tags).len(), 4);
    }
    assert_eq!(grown.text[3], words[3].join(" "));
}

#[test]
fn entities_are_never_left_out() {
    let train = tagged(&[vec![1, 2, 0, 0, 3, 0]]);
    let grown = grow_tagged(json!({ "random_deletion": { "rate": 1.0 } }), &train);
    assert_eq!(grown.tags.unwrap()[1], [1, 2, 3]);
}

#[test]
fn adjoining_entities_of_iob1_do_not_become_one() {
    // I-PER beside I-PER would be one entity: such a copy is dropped.
    let tagging = Tagging {
        names: &["O", "I-PER"].map(str::to_owned),
        scheme: Some(Scheme::Iob1),
    };
    let words = ["Ann", "met", "Bob"].map(str::to_owned);
    let before = passage::of_words(&words, &[1, 0, 1], tagging, &HashSet::new());
    let mut moved = before.clone();
    moved.swap(1, 2);
    assert_eq!(passage::words(&moved, &before, tagging), None);
    moved.swap(0, 2);
    assert_eq!(passage::words(&moved, &before, tagging), None);
    assert!(passage::words(&before, &before, tagging).is_some());
}

#[test]
fn tags_that_mark_no_entities_go_with_single_words() {
    let words = ["She", "runs"].map(str::to_owned);
    let tagging = Tagging {
        names: &["PRP", "VBZ"].map(str::to_owned),
        scheme: None,
    };
    let mut units = passage::of_words(&words, &[0, 1], tagging, &HashSet::new());
    let before = units.clone();
    words::delete(
        &mut units,
        1.0,
        &mut Draw::of_row(1, 1).generator("random_deletion"),
    );
    let (words, tags) = passage::words(&units, &before, tagging).unwrap();
    assert_eq!(tags, [u32::from(words[0] == "runs")]);
}

#[test]
fn an_inserted_synonym_has_the_tag_of_its_word() {
    let words: Vec<String> = (0..6).map(|n| format!("w{n}")).collect();
    let names: Vec<String> = (0..6).map(|n| format!("T{n}")).collect();
    let tagging = Tagging {
        names: &names,
        scheme: None,
    };
    let before = passage::of_words(&words, &[0, 1, 2, 3, 4, 5], tagging, &HashSet::new());
    let find = |words: &[&str], place: usize| vec![words[place].replace('w', "s")];
    for seed in 0..20 {
        let mut units = before.clone();
        let generator = &mut Draw::of_row(seed, 1).generator("random_insertion");
        words::insert(&mut units, 1.0, &find, generator);
        let (new, tags) = passage::words(&units, &before, tagging).unwrap();
        assert_eq!(new.len(), 12);
        for (word, tag) in new.iter().zip(tags) {
            assert_eq!(word[1..], tag.to_string());
        }
    }
}

#[test]
fn answers_keep_their_letters_and_are_found_again() {
    let context = "In  1801 Anna\u{a0}Müller (1770–1850) left Köln\nfor the «Neue Welt», they say";
    let start = context.chars().position(|c| c == 'A').unwrap();
    let train = answered(
        context,
        &[(4, 8), (start, start + 11), (start + 5, start + 11)],
    );
    assert_eq!(train.answers.as_ref().unwrap()[0][2].text, "Müller");
    let settings = json!({
        "copies": 30, "random_deletion": { "rate": 0.5 }, "word_shuffle": { "window": 3 }, "character_noise": { "rate": 0.5 },
    });
    let grown = grow(settings, &train);
    assert_eq!(grown.len(), 31);
    assert!(all_stand(&grown));
    for answers in &grown.answers.as_ref().unwrap()[1..] {
        let texts = |answers: &[Answer]| -> Vec<String> {
            answers.iter().map(|answer| answer.text.clone()).collect()
        };
        assert_eq!(texts(answers), texts(&train.answers.as_ref().unwrap()[0]));
    }
    let moved = grown.answers.unwrap();
    assert!(moved.iter().any(|answers| answers[0].start != 4));
}

#[test]
fn questions_without_an_answer_stay_without_one() {
    let mut train = answered(LONG, &[]);
    train.answers = Some(vec![vec![]]);
    let grown = grow(json!({ "random_deletion": { "rate": 0.3 } }), &train);
    assert_eq!(grown.answers.unwrap(), [vec![], vec![]]);
    assert_ne!(grown.text_pair.unwrap()[1], LONG);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn tags_stay_valid_after_every_operation(
        rows in prop::collection::vec(prop::collection::vec(0_u32..3, 1..12), 1..4),
        rates in prop::array::uniform3(0.0..=1.0),
        window in 1_u32..5,
        seed in any::<u64>(),
    ) {
        // 0 is outside, 1 a person of one word, 2 a place of two.
        let tags = |kinds: &Vec<u32>| -> Vec<u32> {
            let tags = kinds.iter().map(|kind| match kind { 0 => vec![0], 1 => vec![1], _ => vec![3, 4] });
            tags.flatten().collect()
        };
        let train = tagged(&rows.iter().map(tags).collect::<Vec<_>>());
        let settings = json!({
            "copies": 2, "seed": seed, "random_deletion": { "rate": rates[0] }, "random_swap": { "rate": rates[1] },
            "word_shuffle": { "window": window }, "character_noise": { "rate": rates[2] / 10.0, "drop": false, "double": false },
        });
        let grown = grow_tagged(settings, &train);
        let (words, tags) = (grown.words.as_ref().unwrap(), grown.tags.as_ref().unwrap());
        for row in 0..grown.len() {
            prop_assert_eq!(words[row].len(), tags[row].len());
            prop_assert_eq!(&words[row].join(" "), &grown.text[row]);
            let origin = table::origin(grown.id[row]) as usize;
            let kinds = |row: usize| {
                let found = entities(&words[row], &tags[row]).into_iter();
                let mut kinds: Vec<_> = found.map(|(kind, words)| (kind, words.len())).collect();
                kinds.sort_unstable();
                kinds
            };
            prop_assert_eq!(kinds(row), kinds(origin));
        }
    }

    #[test]
    fn answers_stay_valid_after_every_operation(
        context in "[aéß]{1,4}([ \n\u{a0}]{1,2}[aéß,.]{1,4}){0,12}",
        places in prop::collection::vec((0.0..1.0, 0.0..1.0), 0..4),
        rate in 0.0..=1.0,
        window in 1_u32..5,
        seed in any::<u64>(),
    ) {
        let length = context.chars().count();
        let place = |&(from, size): &(f64, f64)| {
            let from = (from * length as f64) as usize;
            let to = from + 1 + (size * (length - from - 1) as f64) as usize;
            (from, to)
        };
        let train = answered(&context, &places.iter().map(place).collect::<Vec<_>>());
        prop_assert!(all_stand(&train));
        let settings = json!({
            "copies": 3, "seed": seed, "random_deletion": { "rate": rate }, "random_swap": { "rate": rate },
            "word_shuffle": { "window": window }, "character_noise": { "rate": rate },
        });
        let grown = grow(settings, &train);
        prop_assert!(all_stand(&grown), "{:?}", grown);
        prop_assert_eq!(grown.answers.unwrap().iter().map(Vec::len).max(), Some(places.len()));
    }
}

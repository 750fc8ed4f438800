//! Every flaw is found where it was planted, and nowhere in the same data without it.

mod planted;

use super::*;
use crate::table::Answer;

/// Ids of rows begin here, so that a place is not taken for an id.
const FIRST_ID: u64 = 100;

/// A data set that a test may spoil.
#[derive(Clone)]
struct Data {
    splits: BTreeMap<String, Texts<String>>,
    label_names: Option<Vec<String>>,
    target_names: Option<Vec<String>>,
    tokens: BTreeMap<String, Vec<u32>>,
    max_length: Option<usize>,
    left_out: Vec<LeftOut>,
}

impl Data {
    fn split(&mut self, name: &str) -> &mut Texts<String> {
        self.splits.get_mut(name).unwrap()
    }

    fn inspected(&self) -> Inspection {
        fn all(texts: &[String]) -> Vec<&str> {
            texts.iter().map(String::as_str).collect()
        }
        let splits: BTreeMap<String, Texts<&str>> = self
            .splits
            .iter()
            .map(|(name, texts)| {
                let rows = Texts {
                    id: texts.id.clone(),
                    copy: texts.copy.clone(),
                    text: all(&texts.text),
                    text_pair: texts.text_pair.as_deref().map(all),
                    label: texts.label.clone(),
                    labels: texts.labels.clone(),
                    target: texts.target.clone(),
                    words: texts
                        .words
                        .as_ref()
                        .map(|rows| rows.iter().map(|row| all(row)).collect()),
                    tags: texts.tags.clone(),
                    answers: texts.answers.as_ref().map(|rows| {
                        rows.iter()
                            .map(|row| {
                                row.iter()
                                    .map(|answer| Answer {
                                        start: answer.start,
                                        text: answer.text.as_str(),
                                    })
                                    .collect()
                            })
                            .collect()
                    }),
                    name: None,
                    further: BTreeMap::new(),
                };
                (name.clone(), rows)
            })
            .collect();
        inspect(&Facts {
            load: "reviews",
            splits: &splits,
            label_names: self.label_names.as_deref(),
            target_names: self.target_names.as_deref(),
            tokens: &self.tokens,
            max_length: self.max_length,
            left_out: &self.left_out,
        })
    }

    /// The findings, each as code, split, count, and ids less [`FIRST_ID`].
    fn found(&self) -> Vec<(Code, String, usize, Vec<u64>)> {
        let findings = self.inspected().findings;
        for finding in &findings {
            assert!(
                !finding.message.is_empty() && !finding.advice.is_empty(),
                "{finding:?}"
            );
        }
        let plain = |finding: Finding| {
            let rows = finding
                .rows
                .iter()
                .map(|id| id.saturating_sub(FIRST_ID))
                .collect();
            (finding.code, finding.split, finding.count, rows)
        };
        findings.into_iter().map(plain).collect()
    }

    /// That this is all that is found.
    fn has_only(&self, code: Code, split: &str, rows: &[u64]) {
        assert_eq!(
            self.found(),
            [(code, split.to_owned(), rows.len(), rows.to_vec())]
        );
    }

    fn is_clean(&self) {
        assert_eq!(self.found(), []);
    }
}

/// Made-up words, the same for the same number.
fn word(number: u64) -> String {
    const SYLLABLES: [&str; 16] = [
        "ba", "do", "ke", "li", "mu", "na", "pe", "ri", "so", "tu", "va", "we", "xo", "yi", "za",
        "go",
    ];
    let mut bits = number
        .wrapping_mul(0x9E37_79B9_7F4A_7C15)
        .rotate_left(23)
        .wrapping_mul(0xD6E8_FEB8_6659_FD93);
    let mut word = String::new();
    for _ in 0..2 + number % 3 {
        bits = bits.rotate_left(4);
        word.push_str(SYLLABLES[usize::try_from(bits % 16).unwrap()]);
    }
    word
}

/// Eight to twelve words.
fn sentence(number: u64) -> Vec<String> {
    (0..8 + number % 5)
        .map(|place| word(number * 31 + place * 7919))
        .collect()
}

fn rows(first: u64, count: u64) -> Texts<String> {
    Texts {
        id: (0..count).map(|row| FIRST_ID + row).collect(),
        copy: vec![0; usize::try_from(count).unwrap()],
        text: (first..first + count)
            .map(|number| sentence(number).join(" "))
            .collect(),
        ..Texts::default()
    }
}

/// 60 rows to train, 40 to test; each split is finished by `finish`.
fn data(label_names: &[&str], finish: impl Fn(&mut Texts<String>, u64)) -> Data {
    let mut splits = BTreeMap::new();
    for (name, first, count) in [("train", 0, 60), ("test", 1000, 40)] {
        let mut texts = rows(first, count);
        finish(&mut texts, first);
        splits.insert(name.to_owned(), texts);
    }
    Data {
        splits,
        label_names: (!label_names.is_empty())
            .then(|| label_names.iter().map(|name| (*name).to_owned()).collect()),
        target_names: None,
        tokens: BTreeMap::new(),
        max_length: None,
        left_out: Vec::new(),
    }
}

fn alternating(texts: &Texts<String>) -> Vec<u32> {
    (0..2).cycle().take(texts.id.len()).collect()
}

fn single() -> Data {
    data(&["negative", "positive"], |texts, _| {
        texts.label = Some(alternating(texts))
    })
}

fn pairs() -> Data {
    data(&["negative", "positive"], |texts, first| {
        texts.label = Some(alternating(texts));
        texts.text_pair = Some(rows(first + 5000, texts.id.len() as u64).text);
    })
}

fn multi() -> Data {
    data(&["joy", "fear", "love"], |texts, _| {
        let sets = [vec![0], vec![1], vec![0, 2], vec![], vec![1, 2]];
        texts.labels = Some(sets.iter().cycle().take(texts.id.len()).cloned().collect());
    })
}

fn regression() -> Data {
    let mut data = data(&[], |texts, _| {
        texts.target = Some(
            (0..texts.id.len())
                .map(|row| vec![(row * 7 % 11) as f64, row as f64])
                .collect(),
        );
    });
    data.target_names = Some(vec!["price".to_owned(), "age".to_owned()]);
    data
}

/// The tags O, B-PER, I-PER, B-LOC, I-LOC.
fn tagged() -> Data {
    data(
        &["O", "B-PER", "I-PER", "B-LOC", "I-LOC"],
        |texts, first| {
            let words: Vec<Vec<String>> = (first..first + texts.id.len() as u64)
                .map(sentence)
                .collect();
            let tags = |words: &Vec<String>| {
                let mut tags = vec![0, 1, 2, 0, 3, 4, 4];
                tags.resize(words.len(), 0);
                tags
            };
            texts.tags = Some(words.iter().map(tags).collect());
            texts.words = Some(words);
        },
    )
}

/// Four questions about each context, the last of them without an answer.
fn questions() -> Data {
    data(&[], |texts, first| {
        let contexts: Vec<String> = (0..texts.id.len() as u64)
            .map(|row| format!("É {}", sentence(first + 9000 + row / 4).join(" ")))
            .collect();
        let answers = |(row, context): (usize, &String)| {
            let text = context.split(' ').nth(row % 4 + 1).unwrap().to_owned();
            let byte = context.find(&format!(" {text} ")).unwrap() + 1;
            let start = u32::try_from(context[..byte].chars().count()).unwrap();
            if row % 4 == 3 {
                Vec::new()
            } else {
                vec![Answer { start, text }]
            }
        };
        texts.answers = Some(contexts.iter().enumerate().map(answers).collect());
        texts.text_pair = Some(contexts);
    })
}

#[test]
fn clean_data_of_every_kind_have_no_findings() {
    for data in [
        single(),
        pairs(),
        multi(),
        regression(),
        tagged(),
        questions(),
    ] {
        data.is_clean();
    }
}

#[test]
fn an_inspection_is_plain_json() {
    let mut data = single();
    data.split("test").text[3] = String::new();
    let json = serde_json::to_value(data.inspected()).unwrap();
    assert_eq!(json["splits"]["train"]["rows"], 60);
    assert_eq!(json["splits"]["train"]["classes"]["positive"], 30);
    assert_eq!(json["splits"]["train"]["words"]["max"], 12);
    assert!(json["splits"]["train"].get("tokens").is_none());
    let finding = &json["findings"][0];
    assert_eq!(
        (&finding["code"], &finding["split"], &finding["count"]),
        (&"empty_text".into(), &"test".into(), &1.into())
    );
    assert_eq!(finding["rows"][0], 103);
    for code in Code::ALL {
        assert_eq!(serde_json::to_value(code).unwrap(), code.name());
    }
}

#[test]
fn a_rendering_shows_numbers_and_advice_and_no_control_characters() {
    assert!(render(&single().inspected()).ends_with("no findings"));
    let mut data = single();
    data.label_names.as_mut().unwrap()[0] = "neg\u{1b}[2J".to_owned();
    data.split("train").text[4].push('\u{7}');
    data.tokens = BTreeMap::from([("train".to_owned(), vec![20; 60])]);
    let text = render(&data.inspected());
    assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text}");
    for part in [
        "train",
        "60",
        "tokens: p50",
        "positive",
        "suspicious_encoding",
        "→ ",
        "load.reviews",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let order = |name: &str| text.find(name).unwrap();
    assert!(order(" train ") < order(" test "));
}

#[test]
fn the_number_of_threads_does_not_matter() {
    let mut data = tagged();
    let texts = data.split("train").text.clone();
    data.split("test").text[..30].clone_from_slice(&texts[10..40]);
    data.split("train").text[20..30].clone_from_slice(&texts[..10]);
    let with = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        pool.build().unwrap().install(|| data.inspected())
    };
    assert!(with(1).findings.len() >= 2);
    assert_eq!(with(1), with(4));
}

#[test]
fn nothing_at_all_can_be_inspected() {
    let mut data = single();
    data.splits.clear();
    data.is_clean();
    data.splits.insert("train".to_owned(), Texts::default());
    data.is_clean();
    // Columns of unequal length do not stop it.
    let mut data = questions();
    data.split("train").text.truncate(3);
    data.split("train").id.truncate(50);
    let _ = render(&data.inspected());
}

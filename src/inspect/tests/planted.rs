//! One flaw at a time, planted in clean data.

use super::*;

#[test]
fn a_text_of_nothing_visible_is_found() {
    let mut data = single();
    data.split("test").text[3] = " \u{200B}\n".to_owned();
    data.has_only(Code::EmptyText, "test", &[3]);
    let mut data = pairs();
    data.split("train").text_pair.as_mut().unwrap()[7] = String::new();
    data.has_only(Code::EmptyText, "train", &[7]);
    // Several are not repeats of one another.
    let mut data = single();
    data.split("train").text[3] = " ".to_owned();
    data.split("train").text[5] = " ".to_owned();
    data.has_only(Code::EmptyText, "train", &[3, 5]);
}

#[test]
fn a_row_that_is_repeated_is_found_and_an_augmented_copy_is_not() {
    for mut data in [
        single(),
        regression(),
        questions(),
        tagged(),
        pairs(),
        multi(),
    ] {
        let train = data.split("train");
        let repeated: Vec<usize> = (0..60).chain([4, 4]).collect();
        *train = train.take(&repeated);
        (train.id[60], train.id[61]) = (FIRST_ID + 60, FIRST_ID + 61);
        data.has_only(Code::DuplicateRow, "train", &[60, 61]);
        data.split("train").copy[61] = 1;
        data.has_only(Code::DuplicateRow, "train", &[60]);
        data.split("train").copy[60] = 1;
        data.is_clean();
    }
}

#[test]
fn one_text_with_two_labels_is_found() {
    let mut data = single();
    let train = data.split("train");
    train.text[11] = train.text[4].clone();
    data.has_only(Code::ConflictingLabel, "train", &[4, 11]);

    let mut data = multi();
    let train = data.split("train");
    train.text[11] = train.text[4].clone();
    data.has_only(Code::ConflictingLabel, "train", &[4, 11]);

    let mut data = regression();
    let train = data.split("train");
    train.text[50] = train.text[4].clone();
    data.has_only(Code::ConflictingLabel, "train", &[4, 50]);
    // A rating that differs a little is scatter.
    data.split("train").target.as_mut().unwrap()[50] = vec![6.5, 4.5];
    data.is_clean();

    let mut data = questions();
    let train = data.split("train");
    train.text[3] = train.text[0].clone();
    data.has_only(Code::ConflictingLabel, "train", &[0, 3]);
    // The same question about another context is another question.
    let mut data = questions();
    let train = data.split("train");
    train.text[7] = train.text[0].clone();
    data.is_clean();
}

#[test]
fn a_text_of_train_in_another_split_is_found() {
    let mut data = single();
    let text = data.split("train").text[4].clone();
    data.split("test").text[6] = text.clone();
    data.has_only(Code::SplitOverlap, "test", &[6]);
    assert_eq!(
        data.inspected().findings[0].against.as_deref(),
        Some("train")
    );
    // An odd row has the other label.
    data.split("test").text[7] = text;
    data.split("test").text[6] = sentence(7777).join(" ");
    let both = [Code::ConflictingLabel, Code::SplitOverlap]
        .map(|code| (code, "test".to_owned(), 1, vec![7]));
    assert_eq!(data.found(), both);
    data.split("test").copy[7] = 1;
    data.is_clean();
}

#[test]
fn a_context_of_train_in_another_split_is_found() {
    let mut data = questions();
    let (context, answers) = {
        let train = data.split("train");
        (
            train.text_pair.as_ref().unwrap()[0].clone(),
            train.answers.as_ref().unwrap()[0].clone(),
        )
    };
    let test = data.split("test");
    test.text_pair.as_mut().unwrap()[8] = context;
    test.answers.as_mut().unwrap()[8] = answers;
    data.has_only(Code::SplitOverlap, "test", &[8]);
}

#[test]
fn nearly_a_text_of_train_in_another_split_is_found() {
    let mut data = single();
    let text = data.split("train").text[4].to_uppercase();
    data.split("test").text[6] = format!("{text}!!");
    data.has_only(Code::NearOverlap, "test", &[6]);
    let mut data = pairs();
    let train = data.split("train");
    let (text, pair) = (
        format!("{}.", train.text[4]),
        train.text_pair.as_ref().unwrap()[4].clone(),
    );
    data.split("test").text[6] = text;
    data.is_clean();
    data.split("test").text_pair.as_mut().unwrap()[6] = pair;
    data.has_only(Code::NearOverlap, "test", &[6]);
}

#[test]
fn a_label_that_never_occurs_or_only_in_test_is_found() {
    let mut data = single();
    data.label_names.as_mut().unwrap().push("mixed".to_owned());
    assert_eq!(
        data.found(),
        [(Code::RareLabel, "train".to_owned(), 1, vec![])]
    );
    data.split("test").label.as_mut().unwrap()[9] = 2;
    let here = |split: &str, rows: &[u64]| (Code::RareLabel, split.to_owned(), 1, rows.to_vec());
    assert_eq!(data.found(), [here("train", &[]), here("test", &[9])]);
    let findings = data.inspected().findings;
    assert_eq!(findings[0].examples, ["mixed: 0 rows"]);
    assert_eq!(findings[1].examples, ["mixed: 1 row, none in train"]);
}

#[test]
fn a_label_with_few_rows_is_found() {
    let mut data = tagged();
    for (row, tags) in data
        .split("train")
        .tags
        .as_mut()
        .unwrap()
        .iter_mut()
        .enumerate()
    {
        if row >= 9 {
            tags[4..7].fill(0);
        }
    }
    let rows: Vec<u64> = (0..9).collect();
    assert_eq!(
        data.found(),
        [(Code::RareLabel, "train".to_owned(), 2, rows)]
    );
    let mut data = single();
    data.split("test").label.as_mut().unwrap()[10..].fill(1);
    assert_eq!(
        data.found(),
        [(Code::RareLabel, "test".to_owned(), 1, vec![0, 2, 4, 6, 8])]
    );
}

#[test]
fn a_majority_is_found_with_the_accuracy_of_always_answering_it() {
    let mut data = single();
    data.split("train").label.as_mut().unwrap()[24..].fill(0);
    let rows: Vec<u64> = (1..24).step_by(2).collect();
    data.has_only(Code::Imbalance, "train", &rows);
    let finding = &data.inspected().findings[0];
    assert_eq!(
        (
            finding.numbers["ratio"],
            finding.numbers["baseline_accuracy"]
        ),
        (4.0, 0.8)
    );
    data.split("train").label.as_mut().unwrap()[25] = 1;
    data.is_clean();
}

#[test]
fn rows_that_are_cut_are_found_and_with_them_answers() {
    let mut data = single();
    data.tokens = BTreeMap::from([
        ("train".to_owned(), vec![20; 60]),
        ("test".to_owned(), vec![20; 40]),
    ]);
    data.max_length = Some(32);
    data.is_clean();
    data.tokens.get_mut("train").unwrap()[7] = 33;
    data.tokens.get_mut("train").unwrap()[8] = 32;
    data.has_only(Code::Truncation, "train", &[7]);
    let tokens = data.inspected().splits["train"].tokens.clone().unwrap();
    assert_eq!(
        (tokens.truncated_share, tokens.lengths.max),
        (Some(1.0 / 60.0), 33)
    );
    data.max_length = None;
    data.is_clean();

    let mut data = questions();
    data.tokens = BTreeMap::from([("train".to_owned(), vec![30; 60])]);
    data.max_length = Some(20);
    let finding = &data.inspected().findings[0];
    assert_eq!((finding.code, finding.count), (Code::Truncation, 60));
    // Twenty of thirty tokens reach beyond some of the answers, and not beyond others.
    let cut = finding.numbers["answers_cut"];
    assert!(cut > 0.0 && cut < 45.0, "{cut}");
}

#[test]
fn wrong_decoding_and_markup_are_found() {
    let mut data = single();
    data.split("train").text[2].push_str(" cafÃ©");
    data.has_only(Code::SuspiciousEncoding, "train", &[2]);
    data.split("train").text[2] = format!("{} café „Spaß“", sentence(2).join(" "));
    data.is_clean();
    data.split("test").text[2].push_str("<br/>");
    data.split("test").text[5].push_str(" &amp;c");
    data.has_only(Code::Markup, "test", &[2, 5]);
    data.split("test").text[2] = format!("{} <3", sentence(1002).join(" "));
    data.split("test").text[5] = format!("{} a < b & c", sentence(1005).join(" "));
    data.is_clean();
}

#[test]
fn tags_in_an_impossible_order_are_found() {
    let mut data = tagged();
    data.split("train").tags.as_mut().unwrap()[3][0] = 4;
    data.split("train").tags.as_mut().unwrap()[5][5] = 2;
    data.has_only(Code::TagMisalignment, "train", &[3, 5]);
    let mut data = tagged();
    // In IOB1 every entity begins with `I-`.
    for texts in data.splits.values_mut() {
        for tags in texts.tags.as_mut().unwrap() {
            tags.iter_mut()
                .filter(|tag| **tag == 1 || **tag == 3)
                .for_each(|tag| *tag += 1);
        }
    }
    data.label_names = Some(
        ["O", "I-X", "I-PER", "I-Y", "I-LOC"]
            .map(str::to_owned)
            .to_vec(),
    );
    assert!(
        data.found()
            .iter()
            .all(|(code, ..)| *code != Code::TagMisalignment)
    );
}

#[test]
fn an_entity_that_is_not_ended_is_found() {
    let mut data = tagged();
    data.label_names = Some(
        ["O", "B-PER", "E-PER", "B-LOC", "I-LOC", "E-LOC"]
            .map(str::to_owned)
            .to_vec(),
    );
    for texts in data.splits.values_mut() {
        texts
            .tags
            .as_mut()
            .unwrap()
            .iter_mut()
            .for_each(|tags| tags[6] = 5);
    }
    data.is_clean();
    data.split("test").tags.as_mut().unwrap()[8][6] = 0;
    data.has_only(Code::TagMisalignment, "test", &[8]);
}

#[test]
fn an_answer_beside_its_start_is_found() {
    let mut data = questions();
    data.split("test").answers.as_mut().unwrap()[5][0].start += 1;
    data.has_only(Code::AnswerMismatch, "test", &[5]);
    data.split("test").answers.as_mut().unwrap()[5][0].start = u32::MAX;
    data.has_only(Code::AnswerMismatch, "test", &[5]);
}

#[test]
fn what_loading_left_out_is_passed_on() {
    for code in [Code::TagMisalignment, Code::AnswerMismatch] {
        let mut data = single();
        let rows = (FIRST_ID..FIRST_ID + 30).collect();
        data.left_out = vec![LeftOut {
            split: "train".to_owned(),
            code,
            reason: "3 tags for 4 words".to_owned(),
            count: 30,
            rows,
        }];
        assert_eq!(
            data.found(),
            [(code, "train".to_owned(), 30, (0..20).collect())]
        );
        assert!(
            data.inspected().findings[0]
                .message
                .contains("3 tags for 4 words")
        );
    }
}

#[test]
fn a_column_that_says_nothing_is_found() {
    let first = |count: u64| (0..count.min(20)).collect::<Vec<u64>>();
    let mut data = pairs();
    data.split("train")
        .text_pair
        .as_mut()
        .unwrap()
        .fill("same".to_owned());
    assert!(
        data.found()
            .contains(&(Code::ConstantColumn, "train".to_owned(), 60, first(60)))
    );
    let mut data = regression();
    data.split("test")
        .target
        .as_mut()
        .unwrap()
        .iter_mut()
        .for_each(|row| row[1] = 2.0);
    assert_eq!(
        data.found(),
        [(Code::ConstantColumn, "test".to_owned(), 40, first(40))]
    );
    assert_eq!(data.inspected().findings[0].examples, ["target age"]);
    let mut data = single();
    data.split("test").label.as_mut().unwrap().fill(0);
    let found = data.found();
    assert!(
        found.contains(&(Code::ConstantColumn, "test".to_owned(), 40, first(40))),
        "{found:?}"
    );
}

#[test]
fn a_label_written_into_its_text_is_found() {
    let mut data = single();
    let names = data.label_names.clone().unwrap();
    let train = data.split("train");
    for (row, text) in train.text.iter_mut().enumerate().skip(20) {
        *text = format!("label: {} {text}", names[row % 2]);
    }
    assert_eq!(
        data.found(),
        [(Code::LabelLeak, "train".to_owned(), 40, (20..40).collect())]
    );
    // In all rows of a class as a word.
    let mut data = single();
    for text in data.split("train").text.iter_mut().skip(1).step_by(2) {
        text.push_str(" quite positive then");
    }
    assert_eq!(
        data.found(),
        [(
            Code::LabelLeak,
            "train".to_owned(),
            30,
            (0..20).map(|row| 2 * row + 1).collect()
        )]
    );
}

#[test]
fn a_label_that_is_a_matter_of_the_topic_is_no_leak() {
    let mut data = single();
    for (row, text) in data.split("train").text.iter_mut().enumerate() {
        if row % 2 == 1 && row < 42 || row == 0 {
            text.push_str(" positive it is");
        }
    }
    data.is_clean();
}

#[test]
fn longer_rows_in_another_split_are_found_and_a_trifle_is_not() {
    let mut data = single();
    for (row, text) in data.split("test").text.iter_mut().enumerate() {
        text.push(' ');
        text.push_str(&sentence(3000 + row as u64).join(" "));
    }
    let found = data.inspected().findings;
    assert_eq!(
        (found.len(), found[0].code, found[0].count),
        (1, Code::LengthShift, 40)
    );
    assert!(found[0].numbers["d"] > 0.9 && found[0].numbers["p"] < 1e-6);
    // Of very many rows one word more in a tenth of them is significant, and no matter.
    let mut data = single();
    let many = rows(20_000, 6000);
    *data.split("train") = Texts {
        label: Some(alternating(&many)),
        ..many
    };
    let mut many = rows(40_000, 6000);
    many.text
        .iter_mut()
        .step_by(10)
        .for_each(|text| text.push_str(" go"));
    *data.split("test") = Texts {
        label: Some(alternating(&many)),
        ..many
    };
    assert!(
        data.found()
            .iter()
            .all(|(code, ..)| *code != Code::LengthShift)
    );
}

//! What counts as the same, the quadratic oracle, and the promised rate of misses.

use proptest::prelude::*;

use super::*;

#[test]
fn case_space_and_punctuation_do_not_count() {
    assert_eq!(normalised("  Don't  STOP -- now!! "), "dont stop now");
    assert_eq!(normalised("Don’t stop… now"), "dont stop now");
    assert_eq!(
        normalised("ﬁne\u{200B}ly\u{00A0}CAFE\u{0301}"),
        "finely café"
    );
    assert_eq!(normalised("well-known, 5€ 😀 𝒢"), "well known 5€ 😀 g");
    assert_eq!(normalised(" :-) "), ":-)");
    assert_eq!(normalised("\u{200B} "), "");
}

#[test]
fn short_texts_are_alike_only_when_the_same() {
    let texts = [
        "ok", "Ok!", "on", "no", "yes", "yes yes", "", " ", ":)", ":(",
    ];
    let near = near_duplicates(&texts, 0.8);
    assert_eq!(near[1], Some((0, 1.0)));
    assert!(
        near.iter()
            .enumerate()
            .all(|(row, near)| row == 1 || near.is_none())
    );
}

#[test]
fn the_similarity_is_the_jaccard_index_of_the_grams() {
    // " abcdef " has the grams " abcd", "abcde", "bcdef", "cdef "; " abcdeg " shares two of six.
    assert_eq!(similarity("abcdef", "abcdeg"), 2.0 / 6.0);
    assert_eq!(similarity("", ""), 0.0);
    assert_eq!(similarity("The same.", "the SAME"), 1.0);
}

#[test]
fn the_earliest_is_named_even_for_a_copy_of_a_later_text() {
    let first = "please call our customer service representative on this free number today to claim the prize";
    let second = "please call our customer service representative on this free number today to claim a prize";
    let near = near_duplicates(&[first, "something else altogether", second, second], 0.8);
    let alike = similarity(first, second);
    assert!(alike > 0.8 && alike < 1.0);
    assert_eq!(near, [None, None, Some((0, alike)), Some((0, alike))]);
    let across = between(&[second, first], &[first, "new"], 0.8);
    assert_eq!(across, [Some((0, alike)), None]);
    assert_eq!(between(&[first], &[second, second], 1.0), [None, None]);
    assert_eq!(between(&[], &[first, first], 0.8), [None, None]);
}

#[test]
fn bands_keep_the_promise_at_every_threshold() {
    for percent in 10..=100 {
        let threshold = f64::from(percent) / 100.0;
        let Banding { bands, hashes } = banding(threshold);
        let shared = threshold.powi(i32::try_from(hashes).unwrap());
        let missed = (1.0 - shared).powi(i32::try_from(bands).unwrap());
        assert!(missed <= MISSED, "{threshold}: {missed}");
        assert!(bands * hashes <= HASHES);
    }
}

#[test]
fn pairs_near_the_threshold_are_hardly_ever_missed() {
    // Texts of random words, and copies of them with one word changed.
    let word = |n: u64| {
        let letters = mixed(n);
        let letter =
            |place: u64| char::from(b'a' + u8::try_from((letters >> (5 * place)) % 26).unwrap());
        (0..3 + letters % 6).map(letter).collect::<String>()
    };
    let text = |seed: u64, changed: u64| {
        let words =
            (0..20).map(|place| word(mixed(seed * 100 + place) + u64::from(place == changed)));
        words.collect::<Vec<_>>().join(" ")
    };
    let train: Vec<String> = (0..4000).map(|n| text(n, 99)).collect();
    let test: Vec<String> = (0..4000).map(|n| text(n, n % 20)).collect();
    let (train, test): (Vec<&str>, Vec<&str>) = (
        train.iter().map(String::as_str).collect(),
        test.iter().map(String::as_str).collect(),
    );
    for threshold in [0.8, 0.85, 0.9] {
        let found = between(&train, &test, threshold);
        let (mut pairs, mut missed) = (0, 0);
        for (row, found) in found.iter().enumerate() {
            if similarity(train[row], test[row]) >= threshold {
                pairs += 1;
                missed += usize::from(found.is_none());
            }
        }
        assert!(pairs > 200, "{threshold}: {pairs}");
        assert!(
            missed as f64 <= 0.003 * f64::from(pairs),
            "{threshold}: {missed} of {pairs}"
        );
    }
}

#[test]
fn the_number_of_threads_does_not_matter() {
    let texts: Vec<String> = (0..2000)
        .map(|n| format!("the {} message of about {} words", n % 50, n % 7))
        .collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let with = |threads| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| near_duplicates(&texts, 0.7))
    };
    assert_eq!(with(1), with(4));
}

/// Texts over few words, so that many are alike.
fn some_texts() -> impl Strategy<Value = Vec<String>> {
    let word = prop::sample::select(vec![
        "alpha", "beta", "gamma", "delta", "Ω", "ok", "not", "42", "naïve", "...",
    ]);
    let text = prop::collection::vec(word, 0..12).prop_map(|words| words.join(" "));
    prop::collection::vec(text, 0..30)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, rng_seed: proptest::test_runner::RngSeed::Fixed(7), ..ProptestConfig::default() })]

    #[test]
    fn it_finds_what_comparing_all_pairs_finds(texts in some_texts(), percent in 50..=100u32) {
        let threshold = f64::from(percent) / 100.0;
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let oracle = |row: usize, among: usize| (0..among)
            .map(|other| (other, similarity(texts[other], texts[row])))
            .find(|(_, alike)| *alike >= threshold);
        for (row, found) in near_duplicates(&texts, threshold).into_iter().enumerate() {
            prop_assert_eq!(found, oracle(row, row));
        }
        let cut = texts.len() / 2;
        let (train, test) = texts.split_at(cut);
        for (row, found) in between(train, test, threshold).into_iter().enumerate() {
            prop_assert_eq!(found, oracle(cut + row, cut));
        }
    }

    #[test]
    fn any_text_can_be_normalised(text in any::<String>()) {
        let form = normalised(&text);
        prop_assert_eq!(form.trim(), &form);
        prop_assert!(!form.contains("  "));
        prop_assert!(form.chars().all(|c| !c.is_control()));
    }
}

proptest! {
    #[test]
    fn the_nearest_is_what_comparing_all_finds(
        train in prop::collection::vec("[ab ]{0,14}", 0..12),
        test in prop::collection::vec("[ab ]{0,14}", 0..8),
        threshold in 0.1_f64..1.0,
    ) {
        let train: Vec<&str> = train.iter().map(String::as_str).collect();
        let test: Vec<&str> = test.iter().map(String::as_str).collect();
        let wanted = test.iter().map(|text| {
            let mut best: Option<(usize, f64)> = None;
            for (row, other) in train.iter().enumerate() {
                let alike = similarity(text, other);
                if alike >= threshold && best.is_none_or(|(_, most)| alike > most) {
                    best = Some((row, alike));
                }
            }
            best
        });
        prop_assert_eq!(nearest(&train, &test, threshold), wanted.collect::<Vec<_>>());
    }
}

//! The Porter stemmer: `happily` and `happiness` become `happili` and `happi`, `caresses` becomes `caress`.
//!
//! M. F. Porter, *An algorithm for suffix stripping* (Program 14, 1980), with his later changes and those of NLTK's
//! `PorterStemmer`, whose stems these are: a few irregular words, words of two letters that stay, and `ies` after one letter.
//!
//! Deliberately absent: other languages.

/// Words that the rules would take for others.
const IRREGULAR: &[(&str, &str)] = &[
    ("sky", "sky"),
    ("skies", "sky"),
    ("dying", "die"),
    ("lying", "lie"),
    ("tying", "tie"),
    ("news", "news"),
    ("innings", "inning"),
    ("inning", "inning"),
    ("outings", "outing"),
    ("outing", "outing"),
    ("cannings", "canning"),
    ("canning", "canning"),
    ("howe", "howe"),
    ("proceed", "proceed"),
    ("exceed", "exceed"),
    ("succeed", "succeed"),
];

/// The stem of a word, in small letters.
pub(super) fn stem(word: &str) -> String {
    let word = word.to_lowercase();
    if let Some((_, stem)) = IRREGULAR.iter().find(|(known, _)| *known == word) {
        return (*stem).to_owned();
    }
    let mut letters: Vec<char> = word.chars().collect();
    if letters.len() <= 2 {
        return word;
    }
    for step in [plurals, past_and_progressive, final_y, double_suffixes] {
        step(&mut letters);
    }
    for step in [single_suffixes, residues, final_e, final_ll] {
        step(&mut letters);
    }
    letters.into_iter().collect()
}

type Letters = Vec<char>;

fn is_consonant(word: &[char], at: usize) -> bool {
    match word[at] {
        'a' | 'e' | 'i' | 'o' | 'u' => false,
        'y' => at == 0 || !is_consonant(word, at - 1),
        _ => true,
    }
}

/// m of the paper: how many times a vowel is followed by a consonant.
fn measure(stem: &[char]) -> usize {
    let kinds: Vec<bool> = (0..stem.len()).map(|at| is_consonant(stem, at)).collect();
    kinds.windows(2).filter(|pair| !pair[0] && pair[1]).count()
}

fn has_vowel(stem: &[char]) -> bool {
    (0..stem.len()).any(|at| !is_consonant(stem, at))
}

fn ends_in_double_consonant(word: &[char]) -> bool {
    match word {
        [.., a, b] => a == b && is_consonant(word, word.len() - 1),
        _ => false,
    }
}

/// Consonant, vowel, consonant, the last not w, x or y; of two letters vowel and consonant.
fn ends_short(word: &[char]) -> bool {
    let kind = |from_end: usize| is_consonant(word, word.len() - from_end);
    match word.len() {
        0 | 1 => false,
        2 => !kind(2) && kind(1),
        _ => {
            let last = word.last();
            kind(3) && !kind(2) && kind(1) && !matches!(last, Some('w' | 'x' | 'y'))
        }
    }
}

fn ends_with(word: &[char], suffix: &str) -> bool {
    let length = suffix.chars().count();
    word.len() >= length
        && word[word.len() - length..]
            .iter()
            .copied()
            .eq(suffix.chars())
}

/// What stands before a suffix that is there.
fn before<'w>(word: &'w [char], suffix: &str) -> &'w [char] {
    &word[..word.len() - suffix.chars().count()]
}

fn replace(word: &mut Letters, suffix: &str, by: &str) {
    word.truncate(word.len() - suffix.chars().count());
    word.extend(by.chars());
}

/// The first suffix that the word has decides; it is replaced where its stem fits.
fn first_of(word: &mut Letters, rules: &[(&str, &str)], fits: impl Fn(&str, &[char]) -> bool) {
    let found = rules.iter().find(|(suffix, _)| ends_with(word, suffix));
    if let Some((suffix, by)) = found
        && fits(suffix, before(word, suffix))
    {
        replace(word, suffix, by);
    }
}

/// Step 1a.
fn plurals(word: &mut Letters) {
    if word.len() == 4 && ends_with(word, "ies") {
        return replace(word, "ies", "ie");
    }
    let rules = [("sses", "ss"), ("ies", "i"), ("ss", "ss"), ("s", "")];
    first_of(word, &rules, |_, _| true);
}

/// Step 1b.
fn past_and_progressive(word: &mut Letters) {
    if ends_with(word, "ied") {
        let by = if word.len() == 4 { "ie" } else { "i" };
        return replace(word, "ied", by);
    }
    if ends_with(word, "eed") {
        if measure(before(word, "eed")) > 0 {
            replace(word, "eed", "ee");
        }
        return;
    }
    let suffix = ["ed", "ing"].into_iter();
    let Some(suffix) = suffix
        .filter(|suffix| ends_with(word, suffix))
        .find(|suffix| has_vowel(before(word, suffix)))
    else {
        return;
    };
    replace(word, suffix, "");
    for (ending, by) in [("at", "ate"), ("bl", "ble"), ("iz", "ize")] {
        if ends_with(word, ending) {
            return replace(word, ending, by);
        }
    }
    if ends_in_double_consonant(word) {
        if !matches!(word.last(), Some('l' | 's' | 'z')) {
            word.pop();
        }
    } else if measure(word) == 1 && ends_short(word) {
        word.push('e');
    }
}

/// Step 1c: `y` behind a consonant that is not the first letter.
fn final_y(word: &mut Letters) {
    if let [stem @ .., 'y'] = &word[..]
        && stem.len() > 1
        && is_consonant(stem, stem.len() - 1)
    {
        replace(word, "y", "i");
    }
}

/// Step 2.
fn double_suffixes(word: &mut Letters) {
    if ends_with(word, "alli") && measure(before(word, "alli")) > 0 {
        replace(word, "alli", "al");
        return double_suffixes(word);
    }
    let rules = [
        ("ational", "ate"),
        ("tional", "tion"),
        ("enci", "ence"),
        ("anci", "ance"),
        ("izer", "ize"),
        ("bli", "ble"),
        ("alli", "al"),
        ("entli", "ent"),
        ("eli", "e"),
        ("ousli", "ous"),
        ("ization", "ize"),
        ("ation", "ate"),
        ("ator", "ate"),
        ("alism", "al"),
        ("iveness", "ive"),
        ("fulness", "ful"),
        ("ousness", "ous"),
        ("aliti", "al"),
        ("iviti", "ive"),
        ("biliti", "ble"),
        ("fulli", "ful"),
        ("logi", "log"),
    ];
    let whole = word.clone();
    first_of(word, &rules, |suffix, stem| match suffix {
        // The `l` belongs to what is measured.
        "logi" => measure(before(&whole, "ogi")) > 0,
        _ => measure(stem) > 0,
    });
}

/// Step 3.
fn single_suffixes(word: &mut Letters) {
    let rules = [
        ("icate", "ic"),
        ("ative", ""),
        ("alize", "al"),
        ("iciti", "ic"),
        ("ical", "ic"),
        ("ful", ""),
        ("ness", ""),
    ];
    first_of(word, &rules, |_, stem| measure(stem) > 0);
}

/// Step 4.
fn residues(word: &mut Letters) {
    let rules = [
        "al", "ance", "ence", "er", "ic", "able", "ible", "ant", "ement", "ment", "ent", "ion",
        "ou", "ism", "ate", "iti", "ous", "ive", "ize",
    ]
    .map(|suffix| (suffix, ""));
    first_of(word, &rules, |suffix, stem| {
        let after = suffix != "ion" || matches!(stem.last(), Some('s' | 't'));
        measure(stem) > 1 && after
    });
}

/// Step 5a.
fn final_e(word: &mut Letters) {
    if let [stem @ .., 'e'] = &word[..] {
        let measured = measure(stem);
        if measured > 1 || (measured == 1 && !ends_short(stem)) {
            word.pop();
        }
    }
}

/// Step 5b.
fn final_ll(word: &mut Letters) {
    if ends_with(word, "ll") && measure(before(word, "l")) > 1 {
        word.pop();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::fixture;
    use super::*;

    #[test]
    fn stems_are_nltks() {
        let stems = fixture().stems;
        assert!(stems.len() >= 400);
        for (word, theirs) in stems {
            assert_eq!(stem(&word), theirs, "{word}");
        }
    }

    proptest! {
        #[test]
        fn any_word_has_a_stem_that_is_not_longer_by_more_than_an_e(word in "\\PC{0,20}|[a-z]{0,20}") {
            let length = word.to_lowercase().chars().count();
            prop_assert!(stem(&word).chars().count() <= length + 1);
        }
    }
}

//! The closed classes of English words: those that are left alone, and those that tell how the word beside them is read.
//!
//! All lists are in lower case and in order, for binary search. Contractions stand in all three ways that texts write
//! them: `don't`, `dont`, and the pieces of a tokenized text (`do n't`).
//!
//! Deliberately absent: other languages, and words that are merely frequent.

/// Whether `word` (lower case, without the punctuation around it) is a function word or an auxiliary.
pub(super) fn is_stop(word: &str) -> bool {
    contains(STOP, word)
        || [
            DETERMINERS,
            POSSESSIVES,
            PREPOSITIONS,
            MODALS,
            BE,
            HAVE,
            THIRD,
            OTHERS,
            OBJECTS,
            DEGREES,
        ]
        .iter()
        .any(|list| contains(list, word))
}

pub(super) fn contains(list: &[&str], word: &str) -> bool {
    list.binary_search(&word).is_ok()
}

pub(super) const DETERMINERS: &[&str] = &[
    "a", "all", "an", "another", "any", "both", "each", "either", "every", "few", "many",
    "neither", "no", "several", "some", "such", "that", "the", "these", "this", "those", "what",
    "whatever", "which",
];

/// Of [`DETERMINERS`], those that one thing follows.
pub(super) const SINGULAR: &[&str] = &["a", "an", "another", "each", "every", "this"];

/// Of [`DETERMINERS`], those that many things follow.
pub(super) const PLURAL: &[&str] = &["both", "few", "many", "several", "these", "those"];

pub(super) const POSSESSIVES: &[&str] = &[
    "her", "his", "its", "my", "our", "their", "ur", "whose", "your",
];

pub(super) const PREPOSITIONS: &[&str] = &[
    "about",
    "above",
    "across",
    "after",
    "against",
    "along",
    "alongside",
    "amid",
    "among",
    "around",
    "at",
    "before",
    "behind",
    "below",
    "beneath",
    "beside",
    "besides",
    "between",
    "beyond",
    "by",
    "despite",
    "during",
    "for",
    "from",
    "in",
    "inside",
    "into",
    "near",
    "of",
    "off",
    "on",
    "onto",
    "out",
    "outside",
    "over",
    "per",
    "through",
    "throughout",
    "toward",
    "towards",
    "under",
    "until",
    "upon",
    "via",
    "with",
    "within",
    "without",
];

/// What a bare infinitive follows.
pub(super) const MODALS: &[&str] = &[
    "'d",
    "'ll",
    "ca",
    "can",
    "can't",
    "cannot",
    "cant",
    "could",
    "couldn't",
    "couldnt",
    "did",
    "didn't",
    "didnt",
    "do",
    "does",
    "doesn't",
    "doesnt",
    "don't",
    "dont",
    "he'll",
    "i'd",
    "i'll",
    "it'll",
    "let's",
    "lets",
    "may",
    "might",
    "must",
    "mustn't",
    "shall",
    "she'll",
    "should",
    "shouldn't",
    "shouldnt",
    "that'll",
    "they'd",
    "they'll",
    "we'd",
    "we'll",
    "who'd",
    "who'll",
    "will",
    "wo",
    "won't",
    "wont",
    "would",
    "wouldn't",
    "wouldnt",
    "you'd",
    "you'll",
];

pub(super) const BE: &[&str] = &[
    "'m", "'re", "ain't", "aint", "am", "are", "aren't", "arent", "be", "been", "being", "he's",
    "how's", "i'm", "im", "is", "isn't", "isnt", "it's", "she's", "that's", "thats", "there's",
    "they're", "was", "wasn't", "wasnt", "we're", "were", "weren't", "werent", "what's", "where's",
    "who's", "you're", "youre",
];

pub(super) const HAVE: &[&str] = &[
    "'ve", "had", "hadn't", "hadnt", "has", "hasn't", "hasnt", "have", "haven't", "havent",
    "having", "i've", "ive", "they've", "we've", "who've", "you've",
];

/// Subjects of a verb in -s.
pub(super) const THIRD: &[&str] = &[
    "anybody",
    "anyone",
    "anything",
    "everybody",
    "everyone",
    "everything",
    "he",
    "it",
    "nobody",
    "nothing",
    "she",
    "somebody",
    "someone",
    "something",
    "who",
];

/// Subjects of a verb without -s.
pub(super) const OTHERS: &[&str] = &["i", "they", "u", "we", "you"];

/// Pronouns that a verb acts on.
pub(super) const OBJECTS: &[&str] = &[
    "anyone",
    "anything",
    "everyone",
    "everything",
    "her",
    "him",
    "himself",
    "it",
    "itself",
    "me",
    "myself",
    "nothing",
    "someone",
    "something",
    "them",
    "themselves",
    "u",
    "us",
    "ya",
    "you",
    "yourself",
];

/// What is an auxiliary when `to` follows: `going to`, `used to`.
pub(super) const BEFORE_TO: &[&str] = &["able", "going", "got", "supposed", "used"];

/// What stands before an adjective or an adverb.
pub(super) const DEGREES: &[&str] = &[
    "as", "enough", "how", "less", "more", "most", "quite", "rather", "so", "somewhat", "too",
    "very",
];

/// What may stand between an auxiliary and its verb.
pub(super) const SKIPPED: &[&str] = &[
    "again", "almost", "already", "also", "always", "even", "ever", "just", "n't", "never", "not",
    "now", "often", "only", "still", "then",
];

/// The rest: conjunctions, other pronouns, particles, and pieces of contractions.
const STOP: &[&str] = &[
    "'s",
    "again",
    "ago",
    "almost",
    "already",
    "also",
    "although",
    "always",
    "and",
    "anyway",
    "anywhere",
    "away",
    "back",
    "because",
    "but",
    "d",
    "down",
    "else",
    "even",
    "ever",
    "everywhere",
    "except",
    "further",
    "here",
    "hers",
    "herself",
    "him",
    "himself",
    "however",
    "if",
    "itself",
    "just",
    "least",
    "like",
    "ll",
    "m",
    "me",
    "mine",
    "much",
    "myself",
    "n't",
    "never",
    "none",
    "nor",
    "not",
    "now",
    "nowhere",
    "often",
    "once",
    "one",
    "only",
    "or",
    "other",
    "others",
    "ought",
    "ours",
    "ourselves",
    "own",
    "perhaps",
    "quite",
    "re",
    "s",
    "same",
    "since",
    "somewhere",
    "still",
    "t",
    "than",
    "theirs",
    "them",
    "themselves",
    "then",
    "there",
    "therefore",
    "they",
    "though",
    "thus",
    "till",
    "to",
    "together",
    "unless",
    "up",
    "us",
    "ve",
    "when",
    "whenever",
    "where",
    "wherever",
    "whether",
    "while",
    "whom",
    "why",
    "yes",
    "yet",
    "yours",
    "yourself",
    "yourselves",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_are_in_order_for_binary_search() {
        for list in [
            DETERMINERS,
            SINGULAR,
            PLURAL,
            POSSESSIVES,
            PREPOSITIONS,
            MODALS,
            BE,
            HAVE,
            THIRD,
            OTHERS,
            OBJECTS,
            BEFORE_TO,
            DEGREES,
            SKIPPED,
            STOP,
        ] {
            for pair in list.windows(2) {
                assert!(pair[0] < pair[1], "{pair:?}");
            }
        }
    }

    #[test]
    fn function_words_are_stop_words_and_content_words_are_not() {
        for word in [
            "the", "of", "don't", "has", "which", "nobody", "very", "than", "n't",
        ] {
            assert!(is_stop(word), "{word}");
        }
        for word in ["film", "good", "run", "quickly", "not-so-good", "thesis"] {
            assert!(!is_stop(word), "{word}");
        }
    }
}

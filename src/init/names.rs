//! What columns are usually called: in the data sets of GLUE, of the hub and of Kaggle, in spreadsheets and exports.
//!
//! In each list the name that says most comes first. Case does not count.
//!
//! Deliberately absent: names that could be anything, such as `name` or `value`.

pub(super) const TEXTS: &[&str] = &[
    "text",
    "sentence",
    "sms",
    "tweet",
    "review_text",
    "review",
    "comment_text",
    "comment",
    "message",
    "utterance",
    "content",
    "body",
    "document",
    "description",
    "abstract",
    "question",
    "query",
    "headline",
    "post",
    "passage",
    "article",
    "title",
];

/// The first and the second text of a pair.
pub(super) const PAIRS: &[(&str, &str)] = &[
    ("text", "text_pair"),
    ("sentence1", "sentence2"),
    ("sentence_1", "sentence_2"),
    ("sentence_a", "sentence_b"),
    ("premise", "hypothesis"),
    ("question1", "question2"),
    ("text1", "text2"),
    ("text_1", "text_2"),
    ("text_a", "text_b"),
    ("question", "sentence"),
    ("question", "passage"),
    ("query", "passage"),
    ("query", "document"),
];

pub(super) const LABELS: &[&str] = &[
    "label",
    "labels",
    "label_text",
    "class",
    "category",
    "intent",
    "sentiment",
    "emotions",
    "emotion",
    "topic",
    "target",
    "gold_label",
    "classes",
    "categories",
    "genres",
    "tags",
    "score",
    "similarity",
    "rating",
    "stars",
    "similarity_score",
];

/// Of [`LABELS`] those that are numbers on a scale where they have many values.
pub(super) const SCALES: &[&str] = &[
    "score",
    "similarity",
    "similarity_score",
    "rating",
    "stars",
    "target",
];

pub(super) const TOKENS: &[&str] = &["tokens", "words", "token", "word", "sentence"];

pub(super) const TAGS: &[&str] = &[
    "ner_tags",
    "tags",
    "labels",
    "label",
    "entities",
    "pos_tags",
    "upos",
    "chunk_tags",
    "ner",
];

pub(super) const IDS: &[&str] = &[
    "id",
    "idx",
    "index",
    "uid",
    "guid",
    "uuid",
    "key",
    "unnamed: 0",
    "",
];

/// Files that list the names of labels, without their ending.
pub(super) const OF_LABELS: &[&str] = &[
    "labels",
    "label_names",
    "label",
    "classes",
    "class_names",
    "categories",
    "label_list",
    "tags",
    "id2label",
    "label2id",
    "emotions",
    "intents",
];

/// Words of a file's or a folder's name, and the split that they say.
pub(super) const SPLITS: &[(&str, &[&str])] = &[
    ("train", &["train", "training", "trn"]),
    (
        "validation",
        &["validation", "valid", "val", "dev", "devel", "development"],
    ),
    ("test", &["test", "testing", "tst", "eval", "evaluation"]),
];

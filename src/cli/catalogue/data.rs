//! Samples of what is wrong with rows, texts and tokens.

use std::path::Path;
use std::time::Duration;

use super::{Sample, absent, denied, sample, within};
use crate::table::condition::ConditionError;
use crate::table::error::{Fields, Way};
use crate::table::{Place, TableError};
use crate::text::TextError;
use crate::text::thesaurus::ThesaurusError;
use crate::translate::{Fault, TranslateError};

pub(super) fn samples() -> Vec<Sample> {
    let mut samples = files();
    samples.extend(cells());
    samples.extend(labels());
    samples.extend(tags_and_answers());
    samples.extend(splits());
    samples.extend(conditions());
    samples.extend(tokenizers());
    samples.extend(thesauri());
    samples.extend(translators());
    samples
}

fn csv() -> &'static Path {
    Path::new("data/train.csv")
}

fn line(number: usize) -> Place {
    Place::line(csv(), number)
}

fn row(number: usize) -> Place {
    Place::row(Path::new("data/train.parquet"), number)
}

fn question() -> Place {
    let way = Way {
        line: 41,
        path: "data[3].paragraphs[2].qas[5]".to_owned(),
    };
    Place::within(Path::new("data/squad.json"), &way)
}

fn files() -> Vec<Sample> {
    [
        TableError::Unreadable {
            file: csv().into(),
            source: denied(),
        },
        TableError::Unwritable {
            file: "/store/drafts/7f3a/train.parquet".into(),
            message: "no space left on device".into(),
        },
        TableError::Damaged {
            file: "/store/objects/7f3a/train.parquet".into(),
            message: "it holds no column `id`".into(),
        },
        TableError::Empty { file: csv().into() },
        TableError::HeaderOnly { file: csv().into() },
        TableError::NotUtf8 {
            place: line(7),
            byte: 233,
            help: "convert the file, for example `iconv -f ISO-8859-1 -t UTF-8`; or state its `format` if it is not text".into(),
        },
        TableError::Ragged {
            place: line(7),
            found: Fields(3),
            wanted: Fields(2),
            help: "enclose fields that hold a comma in quotes".into(),
        },
        TableError::BlankLine { place: line(7) },
        TableError::UnclosedQuote { place: line(7) },
        TableError::StrayQuote {
            place: line(7),
            field: 2,
        },
        TableError::NotJson {
            place: line(7),
            message: "not JSON: expected `:` at column 12".into(),
            help: "mend the file; `python -m json.tool` shows the place too".into(),
        },
        TableError::NotParquet {
            file: "data/train.parquet".into(),
            message: "its last four bytes are not PAR1".into(),
        },
        TableError::NotUnpacked {
            file: "data/train.csv.gz".into(),
            compression: "gzip".into(),
            message: "corrupt deflate stream".into(),
        },
        TableError::TooLarge {
            file: "data/train.csv.gz".into(),
            packed: 12000,
            limit: 1073741824,
        },
        TableError::Undecodable {
            file: csv().into(),
            format: "csv".into(),
            message: "could not parse `x` as dtype `i64`".into(),
        },
        TableError::MissingColumn {
            file: csv().into(),
            column: "`txt`".into(),
            help: "the file has `text`, `label`; did you mean `text`?".into(),
        },
        TableError::AmbiguousColumn {
            file: csv().into(),
            column: "text".into(),
        },
        TableError::WrongFormat {
            file: "data/squad.json".into(),
            format: "squad".into(),
            wanted: "labels",
        },
        TableError::NoColumns {
            file: "data/train.conll".into(),
            format: "conll".into(),
            setting: "where",
        },
        TableError::MixedFiles {
            file: "data/more.csv".into(),
            found: "no column of labels".into(),
            first: csv().into(),
            wanted: "one".into(),
        },
    ]
    .into_iter()
    .map(sample)
    .collect()
}

fn cells() -> Vec<Sample> {
    [
        TableError::Null {
            place: row(7),
            column: "`text`".into(),
        },
        TableError::WrongType {
            file: "data/train.parquet".into(),
            column: "`text`".into(),
            found: "lists".into(),
            wanted: "text",
            help: "name the column that holds the text, or write its values as text".into(),
        },
        TableError::WrongValue {
            place: line(7),
            column: "`text`".into(),
            found: "an object".into(),
            wanted: "a text",
            help: "write the value as a text in quotes",
        },
        TableError::NotANumber {
            place: line(7),
            column: "`stars`".into(),
            value: "four".into(),
        },
        TableError::NotFinite {
            place: line(7),
            column: "`stars`".into(),
            value: "inf".into(),
        },
        TableError::MixedTimes {
            place: line(7),
            found: "a time without an offset",
            first: line(2),
            wanted: "one with an offset from UTC",
        },
    ]
    .into_iter()
    .map(sample)
    .collect()
}

fn labels() -> Vec<Sample> {
    [
        TableError::FloatLabel {
            place: line(7),
            column: "`label`".into(),
            value: "0.5".into(),
        },
        TableError::UnnamedLabel {
            place: line(7),
            label: "Sprots".into(),
            help: "`label_names` has `World`, `Sports`: add it or correct the row; did you mean `Sports`?".into(),
        },
        TableError::NoClass {
            place: row(7),
            label: "4".into(),
            help: "labels are numbers from 0 to 1 or names of its 2 classes, `World`, `Sports`; state `label_names` if these are others".into(),
        },
        TableError::Withheld {
            place: row(7),
            split: "test".into(),
        },
        TableError::MiscountedNames {
            file: csv().into(),
            names: 2,
            count: 3,
            labels: "0, 1, 2".into(),
        },
        TableError::UnseenLabel {
            place: line(7),
            label: "Sprots".into(),
            split: "test".into(),
            help: "train has `World`, `Sports`; did you mean `Sports`?".into(),
        },
        TableError::UnlabelledTraining {
            split: "validation".into(),
            what: "labels",
            help: "give the files of `train` labels too, or load the others in a stage of their own",
        },
        TableError::NoLabels,
        TableError::EmptyLabel {
            place: line(7),
            column: "`topics`".into(),
        },
        TableError::NothingToBalance {
            operation: "oversample",
            found: "tags instead",
        },
    ]
    .into_iter()
    .map(sample)
    .collect()
}

fn tags_and_answers() -> Vec<Sample> {
    let conll = || Place::line(Path::new("data/train.conll"), 12);
    [
        TableError::Uneven {
            place: row(7),
            tokens: 5,
            tags: 4,
        },
        TableError::NoTokens { place: row(7) },
        TableError::HalfALine {
            place: conll(),
            found: "a token without a tag".into(),
        },
        TableError::ImpossibleTag {
            place: conll(),
            found: "I-PER behind O".into(),
            scheme: "BIO".into(),
            help: "an entity begins with B-PER; correct the tag, or leave such rows out with `skip_invalid = true`".into(),
        },
        TableError::UnevenAnswers {
            place: row(7),
            texts: 2,
            starts: 1,
        },
        TableError::EmptyAnswer { place: question() },
        TableError::AnswerNotThere {
            place: question(),
            answer: "Denver Broncos".into(),
            start: 177,
            found: "Carolina Panth".into(),
            help: "`answer_start` counts characters from 0; the text stands at 170".into(),
        },
        TableError::AnswerOutside {
            place: question(),
            answer: "Denver Broncos".into(),
            start: 900,
            length: 512,
            help: "`answer_start` counts characters from 0; the text stands at 170".into(),
        },
        TableError::NotWordnet {
            place: Place::line(Path::new("data/data.noun"), 31),
            message: "no gloss after `|`".into(),
        },
        TableError::NotSquad {
            place: question(),
            message: "no `question`".into(),
            help: "a question is an object with `id`, `question` and `answers`".into(),
        },
        TableError::RepeatedId {
            place: question(),
            id: "56be4db0acb80014".into(),
            first: Place::line(Path::new("data/other.json"), 9),
        },
    ]
    .into_iter()
    .map(sample)
    .collect()
}

fn splits() -> Vec<Sample> {
    [
        TableError::MixedSplits {
            split: "test".into(),
            found: "questions",
            wanted: "texts",
        },
        TableError::NothingLeft {
            split: "validation".into(),
            skipped: 20,
            reason: "without a value",
            first: line(2),
        },
        TableError::EmptySplit {
            split: "validation".into(),
            share: 0.05,
            rows: 8,
        },
        TableError::TooManyFolds {
            folds: 10,
            found: 8,
            what: "rows",
        },
    ]
    .into_iter()
    .map(sample)
    .collect()
}

fn conditions() -> Vec<Sample> {
    let text = || "length > 10".to_owned();
    [
        ConditionError::Unparsable {
            text: "length >".into(),
            message: "an expression is expected at the end".into(),
        },
        ConditionError::TooLong { found: 2048 },
        ConditionError::Query {
            text: "id IN (SELECT id FROM other)".into(),
        },
        ConditionError::NoColumn {
            text: "1 < 2".into(),
        },
        ConditionError::Failed {
            text: text(),
            file: csv().into(),
            message: "texts and numbers cannot be compared".into(),
        },
        ConditionError::NotBoolean {
            text: "length + 1".into(),
            file: csv().into(),
            found: "a number".into(),
        },
        ConditionError::Value {
            place: line(7),
            column: "tags".into(),
            found: "a list".into(),
        },
    ]
    .into_iter()
    .map(sample)
    .collect()
}

fn tokenizers() -> Vec<Sample> {
    let vocabulary = || "models/bert/vocab.txt".into();
    let json = || "models/bert/tokenizer.json".into();
    [
        TextError::NoTokenizer {
            folder: "models/bert".into(),
            found: vec!["config.json".into(), "model.safetensors".into()],
        },
        TextError::Read {
            path: vocabulary(),
            source: denied(),
        },
        TextError::Write {
            path: "/store/drafts/7f3a/tokens.json".into(),
            source: denied(),
        },
        TextError::NotJson {
            path: "models/bert/tokenizer_config.json".into(),
            message: "expected value at line 1 column 1".into(),
        },
        TextError::NotATokenizer {
            path: json(),
            message: "missing field `model`".into(),
        },
        TextError::VocabularyNotUtf8 {
            path: vocabulary(),
            line: 412,
        },
        TextError::TokenTwice {
            path: vocabulary(),
            token: "the".into(),
            first: 1996,
            again: 30523,
        },
        TextError::TokensMissing {
            path: vocabulary(),
            tokens: vec!["[CLS]".into(), "[SEP]".into()],
        },
        TextError::NoMerges {
            path: "models/roberta/vocab.json".into(),
        },
        TextError::NotAMerge {
            path: "models/roberta/merges.txt".into(),
            line: 12,
        },
        TextError::NotSentencePiece {
            path: "models/xlmr/sentencepiece.bpe.model".into(),
            problem: "it ends within a piece".into(),
        },
        TextError::OtherClass {
            path: "models/fnet/spiece.model".into(),
            class: "FNetTokenizer".into(),
        },
        TextError::NoPadToken {
            path: json(),
            name: "[PAD]".into(),
        },
        TextError::NoRoom {
            max_length: 2,
            added: 3,
        },
        TextError::StrideTooLong {
            stride: 30,
            max_length: 32,
            added: 3,
        },
        TextError::NoWindows,
        TextError::NoMask,
        TextError::Row {
            row: 7,
            message: "the text is too long".into(),
        },
        TextError::NothingToLearnFrom,
        TextError::NotLearnt {
            message: "tokenizers gave up: likelihood is NAN".into(),
        },
        TextError::VocabularyTooSmall {
            vocab_size: 60,
            needed: 105,
            characters: 100,
        },
        TextError::Damaged {
            path: "/store/objects/7f3a/tokens.json".into(),
            problem: "expected value at line 1 column 1".into(),
        },
        TextError::Interrupted,
    ]
    .into_iter()
    .map(sample)
    .collect()
}

fn thesauri() -> Vec<Sample> {
    [
        ThesaurusError::Unreadable {
            file: "/usr/share/wordnet/index.noun".into(),
            source: absent(),
        },
        ThesaurusError::Database {
            file: "/usr/share/wordnet/data.noun".into(),
            line: 31,
            found: "nothing behind the word".into(),
            expected: "a number of two digits",
        },
        ThesaurusError::List {
            file: "synonyms.tsv".into(),
            line: 3,
            found: "a word alone".into(),
            expected: "a word and its synonyms",
        },
    ]
    .into_iter()
    .map(sample)
    .collect()
}

fn translators() -> Vec<Sample> {
    let program = || "./translate.py".to_owned();
    let url = || "http://localhost:5000".to_owned();
    let file = || "/store/kept/translations/7f3a.jsonl".into();
    let errors = [
        TranslateError::NoProgram {
            program: program(),
            folder: "/project".into(),
        },
        TranslateError::NotExecutable { program: program() },
        TranslateError::NoFolder {
            folder: "/project/tools".into(),
        },
        TranslateError::CannotStart {
            program: program(),
            folder: "/project".into(),
            source: std::io::Error::from_raw_os_error(8),
        },
        stopped(Fault::Closed),
        TranslateError::Address {
            url: "localhost:5000".into(),
            reason: "it does not begin with http:// or https://".into(),
        },
        TranslateError::Refused {
            url: url(),
            reason: "403 Forbidden: invalid API key".into(),
            done: 12,
            total: 100,
        },
        TranslateError::Unreachable {
            url: url(),
            reason: "connection refused".into(),
            attempts: 5,
            done: 12,
            total: 100,
        },
        TranslateError::Answer {
            url: url(),
            reason: "it has no `translatedText`".into(),
            done: 12,
            total: 100,
        },
        TranslateError::Interrupted,
        TranslateError::Read {
            file: file(),
            source: denied(),
        },
        TranslateError::Write {
            file: file(),
            source: denied(),
        },
        TranslateError::Lock {
            file: file(),
            source: std::io::Error::from_raw_os_error(95),
        },
    ];
    let faults = [
        Fault::Ended { status: None },
        Fault::Closed,
        Fault::Silent {
            timeout: Duration::from_secs(60),
        },
        Fault::Garbage {
            reason: "it is not JSON".into(),
            line: "Loading model".into(),
        },
    ];
    let errors = errors.into_iter().map(sample);
    let faults = faults.into_iter().map(|fault| within(fault, stopped));
    errors.chain(faults).collect()
}

fn stopped(fault: Fault) -> TranslateError {
    TranslateError::Program {
        program: "./translate.py".into(),
        fault: Box::new(fault),
        attempts: 3,
        done: 12,
        total: 100,
        text: "Oil prices rose".into(),
        stderr: vec!["CUDA out of memory".into()],
    }
}

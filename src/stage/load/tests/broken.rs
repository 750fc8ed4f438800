//! Every broken file under `tests/broken_data`: what the error says, and that there is help.

use super::*;

/// Each broken file, the settings of its spec as JSON, and what the error must say.
fn broken() -> Vec<(&'static str, Value, &'static str)> {
    vec![
        (
            "ragged_long",
            json!({ "train": ["ragged_long.csv"] }),
            "ragged_long.csv, line 4: 3 fields instead of 2 fields",
        ),
        (
            "ragged_short",
            json!({ "train": ["ragged_short.tsv"] }),
            "ragged_short.tsv, line 3: 1 field instead of 2 fields",
        ),
        (
            "blank_line",
            json!({ "train": ["blank_line.csv"] }),
            "blank_line.csv, line 3: blank line",
        ),
        (
            "bad_utf8",
            json!({ "train": ["bad_utf8.csv"] }),
            "bad_utf8.csv, line 3: not UTF-8 (byte 0xe9)",
        ),
        (
            "utf16",
            json!({ "train": ["utf16.csv"] }),
            "utf16.csv, line 1: not UTF-8 (byte 0xff)",
        ),
        (
            "unclosed_quote",
            json!({ "train": ["unclosed_quote.csv"] }),
            "unclosed_quote.csv, line 3: the quote that opens here is never closed",
        ),
        (
            "stray_quote",
            json!({ "train": ["stray_quote.tsv"] }),
            "stray_quote.tsv, line 2, field 1: a quote inside a field",
        ),
        (
            "null_text",
            json!({ "train": ["null_text.jsonl"] }),
            "null_text.jsonl, line 2, column `text`: no value",
        ),
        (
            "null_label",
            json!({ "train": ["null_label.csv"] }),
            "null_label.csv, line 3, column `label`: no value",
        ),
        (
            "missing_column",
            json!({ "train": ["missing_column.csv"] }),
            "missing_column.csv: no column `text`",
        ),
        (
            "column_number",
            json!({ "train": ["column_number.tsv"], "header": false, "columns": { "text": 0, "label": 3 } }),
            "column_number.tsv: no column 3",
        ),
        (
            "duplicate_column",
            json!({ "train": ["duplicate_column.csv"] }),
            "duplicate_column.csv: two columns are named `text`",
        ),
        (
            "float_label",
            json!({ "train": ["float_label.csv"] }),
            "float_label.csv, line 2, column `label`: the label 1.0 is not a whole number",
        ),
        (
            "unseen_label",
            json!({ "train": ["unseen_label.csv"], "test": ["unseen_label_test.csv"] }),
            "unseen_label_test.csv, line 3: the label `spamm` is in test but never in train",
        ),
        (
            "empty_file",
            json!({ "train": ["empty_file.csv"] }),
            "empty_file.csv is empty",
        ),
        (
            "header_only",
            json!({ "train": ["header_only.csv"] }),
            "header_only.csv has a header and no rows",
        ),
        (
            "json_line",
            json!({ "train": ["json_line.jsonl"] }),
            "json_line.jsonl, line 3: not JSON: ",
        ),
        (
            "json_scalar",
            json!({ "train": ["json_scalar.json"] }),
            "json_scalar.json, row 2: not an object",
        ),
        (
            "json_lines_as_json",
            json!({ "train": ["json_lines_as_json.json"] }),
            "json_lines_as_json.json, line 2: not JSON: ",
        ),
        (
            "json_nested",
            json!({ "train": ["json_nested.json"] }),
            "json_nested.json, line 1: nested deeper than a table",
        ),
        (
            "truncated",
            json!({ "train": ["truncated.parquet"] }),
            "truncated.parquet is not a Parquet file: it does not end with PAR1",
        ),
        (
            "damaged",
            json!({ "train": ["damaged.parquet"] }),
            "damaged.parquet",
        ),
        (
            "not_parquet",
            json!({ "train": ["not_parquet.parquet"] }),
            "not_parquet.parquet is not a Parquet file: it does not begin with PAR1",
        ),
        (
            "text_of_numbers",
            json!({ "train": ["text_of_numbers.jsonl"] }),
            "text_of_numbers.jsonl, column `text`: integers instead of text",
        ),
        (
            "label_of_lists",
            json!({ "train": ["label_of_lists.jsonl"] }),
            "label_of_lists.jsonl, column `label`: lists instead of text, integers or booleans",
        ),
        (
            "unnamed_label",
            json!({ "train": ["unnamed_label.csv"], "label_names": ["ham", "spam"] }),
            "unnamed_label.csv, line 4: the label `eggs` is not in `label_names`",
        ),
        (
            "miscounted_names",
            json!({ "train": ["miscounted_names.csv"], "label_names": ["low", "high"] }),
            "`label_names` has 2 names, but ",
        ),
        (
            "mixed_columns",
            json!({ "train": ["mixed_columns_1.csv", "mixed_columns_2.csv"], "header": false, "columns": { "text": 0, "label": 1 } }),
            "mixed_columns_2.csv has 3 columns, but ",
        ),
        (
            "mixed_labels",
            json!({ "train": ["mixed_labels_1.csv", "mixed_labels_2.csv"] }),
            "mixed_labels_2.csv has names as labels, but ",
        ),
        (
            "unlabelled_training",
            json!({ "train": ["unlabelled_training.txt"], "test": ["unlabelled_training_test.csv"] }),
            "test has labels, train has none",
        ),
        (
            "empty_split",
            json!({ "train": ["empty_split.csv"], "split": { "validation": 0.1 } }),
            "validation would be empty: 0.1 of 3 rows",
        ),
        (
            "tags_without_tokens",
            json!({ "train": ["tags_without_tokens.jsonl"], "columns": {"tokens": "tokens", "tags": "tags"} }),
            "tags_without_tokens.jsonl, line 2, column `tokens`: no value",
        ),
        (
            "conll_ragged",
            json!({ "train": ["conll_ragged.conll"] }),
            "conll_ragged.conll, line 4: 3 fields instead of 2 fields",
        ),
        (
            "conll_short",
            json!({ "train": ["conll_short.conll"] }),
            "conll_short.conll, line 5: 2 fields instead of 4 fields",
        ),
        (
            "conll_lone_tag",
            json!({ "train": ["conll_lone_tag.conll"] }),
            "conll_lone_tag.conll, line 4: the tag `B-PER` has no token",
        ),
        (
            "conll_empty",
            json!({ "train": ["conll_empty.conll"] }),
            "conll_empty.conll is empty",
        ),
        (
            "impossible_tag",
            json!({ "train": ["impossible_tag.conll"] }),
            "impossible_tag.conll, line 9: `I-LOC` after `O` is impossible in BIO",
        ),
        (
            "impossible_end",
            json!({ "train": ["impossible_end.jsonl"], "columns": {"tokens": "tokens", "tags": "tags"} }),
            "impossible_end.jsonl, line 3: `I-LOC` at the end of a sentence (tag 3) is impossible in BIOES",
        ),
        (
            "two_schemes",
            json!({ "train": ["two_schemes.conll"] }),
            "two_schemes.conll, line 5: `B-PER` at the beginning of a sentence is impossible in IOB1",
        ),
        (
            "uneven_tags",
            json!({ "train": ["uneven_tags.jsonl"], "columns": {"tokens": "tokens", "tags": "tags"} }),
            "uneven_tags.jsonl, line 2: 3 tokens, but 2 tags",
        ),
        (
            "null_token",
            json!({ "train": ["null_token.json"], "columns": {"tokens": "tokens", "tags": "tags"} }),
            "null_token.json, row 2, column `tokens`, item 2: no value",
        ),
        (
            "empty_sentence",
            json!({ "train": ["empty_sentence.jsonl"], "columns": {"tokens": "tokens", "tags": "tags"} }),
            "empty_sentence.jsonl, line 2: a sentence without tokens",
        ),
        (
            "tokens_as_text",
            json!({ "train": ["tokens_as_text.csv"], "columns": {"tokens": "tokens", "tags": "tags"} }),
            "tokens_as_text.csv, line 2, column `tokens`: text instead of a list of tokens",
        ),
        (
            "tokens_in_text",
            json!({ "train": ["tokens_in_text.txt"], "columns": {"tokens": "tokens", "tags": "tags"} }),
            "`text` files hold no sentences of tokens",
        ),
        (
            "unknown_tag",
            json!({ "train": ["unknown_tag.conll"], "test": ["unknown_tag_test.conll"] }),
            "unknown_tag_test.conll, line 2: the label `B-PER` is in test but never in train",
        ),
        (
            "untagged_training",
            json!({ "train": ["untagged_training.conll"], "test": ["untagged_training_test.conll"] }),
            "test has tags, train has none",
        ),
        (
            "mixed_tasks",
            json!({ "train": ["mixed_tasks.conll"], "test": ["mixed_tasks_test.csv"] }),
            "test holds texts, but train holds sentences of tokens",
        ),
        (
            "unknown_label_id",
            json!({ "train": ["unknown_label_id.csv"], "columns": {"labels": "labels"}, "label_names": ["sadness", "joy", "anger"] }),
            "`label_names` has 3 names, but ",
        ),
        (
            "unseen_label_id",
            json!({ "train": ["unseen_label_id.tsv"], "test": ["unseen_label_id_test.tsv"], "header": false, "quote": "", "columns": {"text": 0, "labels": 1} }),
            "unseen_label_id_test.tsv, line 2: the label `3` is in test but never in train",
        ),
        (
            "labels_of_objects",
            json!({ "train": ["labels_of_objects.jsonl"], "columns": {"labels": "labels"} }),
            "labels_of_objects.jsonl, line 2, column `labels`: an object instead of labels",
        ),
        (
            "fraction_in_labels",
            json!({ "train": ["fraction_in_labels.jsonl"], "columns": {"labels": "labels"} }),
            "fraction_in_labels.jsonl, line 2, column `labels`, item 1: the label 0.5 is not a whole number",
        ),
        (
            "empty_label",
            json!({ "train": ["empty_label.csv"], "columns": {"labels": "labels"} }),
            "empty_label.csv, line 4, column `labels`: an empty label beside a separator",
        ),
        (
            "no_label",
            json!({ "train": ["no_label.csv"], "columns": {"labels": "labels"} }),
            "no row of train has a label",
        ),
        (
            "target_not_a_number",
            json!({ "train": ["target_not_a_number.csv"], "columns": {"target": "score"} }),
            "target_not_a_number.csv, line 3, column `score`: `2,5` is not a number",
        ),
        (
            "target_infinite",
            json!({ "train": ["target_infinite.csv"], "columns": {"target": "score"} }),
            "target_infinite.csv, line 3, column `score`: inf is not finite",
        ),
        (
            "target_null",
            json!({ "train": ["target_null.jsonl"], "columns": {"target": ["valence", "arousal"]} }),
            "target_null.jsonl, line 2, column `arousal`: no value",
        ),
        (
            "missing_target",
            json!({ "train": ["missing_target.csv"], "columns": {"target": ["valence", "arousal"]} }),
            "missing_target.csv: no column `arousal`",
        ),
        (
            "answer_not_there",
            json!({ "train": ["answer_not_there.jsonl"], "columns": {"question": "question", "context": "context", "answers": "answers", "id": "id"} }),
            "answer_not_there.jsonl, line 2: the answer \"nach\" should start at character 33, where \"h Sü\" stands",
        ),
        (
            "answer_elsewhere",
            json!({ "train": ["answer_elsewhere.jsonl"], "columns": {"question": "question", "context": "context", "answers": "answers"} }),
            "answer_elsewhere.jsonl, line 1: the answer \"durch\" should start at character 18, where \"urch \" stands",
        ),
        (
            "negative_start",
            json!({ "train": ["negative_start.jsonl"], "columns": {"question": "question", "context": "context", "answers": "answers"} }),
            "negative_start.jsonl, line 1: the answer \"Rhône\" should start at character -1 of a context of ",
        ),
        (
            "start_too_large",
            json!({ "train": ["start_too_large.json"], "columns": {"question": "question", "context": "context", "answers": "answers"} }),
            "start_too_large.json, row 2: the answer \"Rhône\" should start at character 400 of a context of ",
        ),
        (
            "uneven_answers",
            json!({ "train": ["uneven_answers.jsonl"], "columns": {"question": "question", "context": "context", "answers": "answers"} }),
            "uneven_answers.jsonl, line 2: 2 texts of answers, but 1 start",
        ),
        (
            "answers_as_text",
            json!({ "train": ["answers_as_text.jsonl"], "columns": {"question": "question", "context": "context", "answers": "answers"} }),
            "answers_as_text.jsonl, line 1, column `answers`: text instead of answers",
        ),
        (
            "squad_without_data",
            json!({ "train": ["squad_without_data.json"], "format": "squad" }),
            "squad_without_data.json, line 1: no `data`",
        ),
        (
            "squad_without_context",
            json!({ "train": ["squad_without_context.json"], "format": "squad" }),
            "squad_without_context.json, line 7, data[0].paragraphs[0]: no `context`",
        ),
        (
            "squad_without_question",
            json!({ "train": ["squad_without_question.json"], "format": "squad" }),
            "data[0].paragraphs[0].qas[1]: no `question`",
        ),
        (
            "squad_repeated_id",
            json!({ "train": ["squad_repeated_id.json"], "format": "squad" }),
            "data[0].paragraphs[0].qas[2]: the id `q1` is also that of ",
        ),
        (
            "squad_answer_moved",
            json!({ "train": ["squad_answer_moved.json"], "columns": {"question": "question", "context": "context", "answers": "answers"} }),
            "squad_answer_moved.json, line 1, data[0].paragraphs[0].qas[1]: the answer \"Genève\" should start at character 22",
        ),
        (
            "squad_contradiction",
            json!({ "train": ["squad_contradiction.json"], "format": "squad" }),
            "data[0].paragraphs[0].qas[1]: `is_impossible`, and still there are answers",
        ),
        (
            "squad_partly_answered",
            json!({ "train": ["squad_partly_answered.json"], "format": "squad" }),
            "data[0].paragraphs[0].qas[1]: no `answers`, unlike the first question",
        ),
        (
            "squad_syntax",
            json!({ "train": ["squad_syntax.json"], "format": "squad" }),
            "squad_syntax.json, line 17: not JSON: ",
        ),
        (
            "squad_deep",
            json!({ "train": ["squad_deep.json"], "format": "squad" }),
            "squad_deep.json, line 2: nested deeper than questions are",
        ),
        (
            "repeated_key",
            json!({ "train": ["repeated_key.jsonl"], "columns": {"labels": "labels"} }),
            "repeated_key.jsonl, line 2: the key `text` stands twice",
        ),
        (
            "all_invalid",
            json!({ "train": ["all_invalid.jsonl"], "columns": {"tokens": "tokens", "tags": "tags"}, "skip_invalid": true }),
            "train has no row left: all 2 are invalid, among them rows ",
        ),
        (
            "skipped_but_ragged",
            json!({ "train": ["skipped_but_ragged.conll"], "skip_invalid": true }),
            "skipped_but_ragged.conll, line 4: 3 fields instead of 2 fields",
        ),
    ]
}

#[test]
fn every_broken_file_gives_a_clear_error() {
    let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/broken_data");
    let notes = std::fs::read_to_string(base.join("README.md")).unwrap();
    for (name, settings, wanted) in broken() {
        match load(&base, settings) {
            Err(StageError::Table(error)) => {
                let said = error.to_string();
                assert!(said.contains(wanted), "{name}: {said}");
                assert!(
                    miette::Diagnostic::help(&error).is_some(),
                    "{name}: no help"
                );
            }
            Err(other) => panic!("{name}: {other}"),
            Ok(_) => panic!("{name} was read"),
        }
        assert!(
            base.join(format!("{name}.toml")).is_file(),
            "{name} has no spec"
        );
        assert!(
            notes.contains(&format!("`{name}`")),
            "{name} is not in the README"
        );
    }
}

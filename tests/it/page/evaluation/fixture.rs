//! What the pages of these tests show: news of four labels, wrong in every tenth row.

use refit::report::evaluation::{
    PageBin, PageConfused, PageCurves, PageData, PageDoubt, PageEvaluation, PageLabel, PageLengths,
    PageNear, PageRows, PageScore, PageSlice, PageSplit, PageStep, PageThresholds, PageTokens,
    PageTraining, Previous, ReportPage,
};
use serde_json::{Value, json};

pub(super) const LABELS: [&str; 4] = ["World", "Sports", "Business", "Sci/Tech"];

pub(super) fn named(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// So many rows of four labels in turn; every tenth is answered with the next label, and the surer the later it stands.
pub(super) fn rows(count: usize) -> PageRows {
    let right = |row: usize| (row % 4) as u16;
    let wrong = |row: usize| row.is_multiple_of(10);
    let strings = (0..count).map(|row| {
        let filler = "word ".repeat(row % 30);
        format!("Text {row} of {}. {filler}", LABELS[row % 4])
    });
    PageRows {
        id: (0..count as u64).map(|row| 1000 + row).collect(),
        strings: strings.collect(),
        text: (0..count as u32).map(Some).collect(),
        wrong: (0..count).map(wrong).collect(),
        confidence: (0..count).map(|row| (row * 1000 / count) as u16).collect(),
        words: (0..count as u32).map(|row| 4 + row % 30).collect(),
        right: (0..count).map(right).collect(),
        answered: (0..count)
            .map(|row| (right(row) + u16::from(wrong(row))) % 4)
            .collect(),
        ..PageRows::default()
    }
}

pub(super) fn confusion_of(rows: &PageRows, labels: usize) -> Vec<Vec<u64>> {
    let mut confusion = vec![vec![0; labels]; labels];
    for (right, answered) in rows.right.iter().zip(&rows.answered) {
        confusion[usize::from(*right)][usize::from(*answered)] += 1;
    }
    confusion
}

pub(super) fn slice(by: &str, value: &str, rows: Vec<u32>, support: usize) -> PageSlice {
    PageSlice {
        by: by.to_owned(),
        value: value.to_owned(),
        support,
        error: 0.5,
        low: 0.4,
        high: 0.6,
        elsewhere: 0.1,
        p_value: 0.0004,
        rows,
    }
}

pub(super) fn thresholds(label: usize) -> PageThresholds {
    PageThresholds {
        label,
        chosen: 0.4,
        in_force: [60, 120, 40, 80],
        // With each step one of the first hundred is lost, and two of the others.
        counts: (0..=100)
            .map(|at| [100 - at, 200 - 2 * at, at, 2 * at])
            .collect(),
    }
}

/// Attention of one layer after another, head after head: each token reads one other, and the head says which.
pub(super) fn example(row: u32, layers: usize, heads: usize) -> Value {
    let tokens = ["[CLS]", "stocks", "fell", "[SEP]"];
    let size = tokens.len();
    let mut bytes = Vec::new();
    for at in 0..layers * heads {
        for query in 0..size {
            let read = (query + at) % size;
            bytes.extend((0..size).map(|key| if key == read { 204u8 } else { 17 }));
        }
    }
    json!({
        "row": row, "id": 1000 + u64::from(row), "chosen": "wrong", "tokens": tokens,
        "places": [null, [0, 6], [7, 11], null], "segment": [0, 0, 0, 0], "output": "Business", "about": [],
        "value": 0.75, "baseline": 0.25, "delta": 0.01,
        "gradient_x_input": [0.0, 0.3, -0.2, 0.0], "integrated_gradients": [0.01, 0.6, -0.1, 0.0],
        "layers": layers, "heads": heads, "attended": size, "attention": base64(&bytes), "why_no_attention": null,
    })
}

/// The same of pieces whose places are not known, two of which the output is of.
pub(super) fn in_pieces(mut example: Value) -> Value {
    example["tokens"] = json!(["[CLS]", "stock", "##s", "[SEP]"]);
    example["places"] = json!([null, null, null, null]);
    example["about"] = json!([1, 2]);
    example
}

pub(super) fn base64(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::prelude::BASE64_STANDARD.encode(bytes)
}

pub(super) fn evaluation(rows: &PageRows) -> PageEvaluation {
    let count = rows.wrong.len();
    let confusion = confusion_of(rows, 4);
    let curve = |label| PageCurves {
        label,
        roc: vec![(0.0, 0.0), (0.1, 0.8), (1.0, 1.0)],
        roc_auc: Some(0.9),
        precision_recall: vec![(1.0, 0.4), (0.5, 0.9), (0.0, 1.0)],
        average_precision: Some(0.8 + 0.01 * label as f64),
    };
    let score = |metric: &str, value| PageScore {
        metric: metric.to_owned(),
        value,
        low: Some(value - 0.02),
        high: Some(value + 0.01),
        higher_is_better: metric != "loss",
    };
    PageEvaluation {
        stage: "scores".to_owned(),
        model: Some("classifier".to_owned()),
        split: "test".to_owned(),
        task: "classification".to_owned(),
        rows: count,
        scores: vec![
            score("f1_macro", 0.9),
            score("accuracy", 0.91),
            score("loss", 0.3),
        ],
        level: 0.95,
        resamples: 1000,
        labels: named(&LABELS),
        per_label: (0..4)
            .map(|label| PageLabel {
                label,
                precision: 0.9 - 0.01 * label as f64,
                recall: 0.8 + 0.01 * label as f64,
                f1: 0.85 - 0.1 * f64::from(label == 2),
                support: confusion[label].iter().sum(),
            })
            .collect(),
        confusion,
        curves: (0..4).map(curve).collect(),
        calibration: vec![
            PageBin {
                low: 0.4,
                high: 0.5,
                confidence: 0.46,
                accuracy: 0.4,
                rows: 30,
            },
            PageBin {
                low: 0.9,
                high: 1.0,
                confidence: 0.95,
                accuracy: 0.9,
                rows: 300,
            },
        ],
        calibration_error: Some(0.05),
        slices: vec![
            slice("length", "over 30 words", vec![29, 59, 89], 9),
            slice(
                "label",
                "Business",
                (0..count as u32).filter(|row| row % 4 == 2).collect(),
                count / 4,
            ),
        ],
        confused: vec![PageConfused {
            right: 2,
            answered: 3,
            count: 10,
            share: 0.1,
        }],
        doubtful: vec![PageDoubt {
            row: 10,
            given: 2,
            suggested: 3,
            given_probability: 0.05,
            suggested_probability: 0.9,
        }],
        near: vec![PageNear {
            row: 10,
            id: 77,
            text: "Text 10 of Business, almost.".to_owned(),
            label: "Sci/Tech".to_owned(),
            similarity: 0.87,
        }],
        explanations: vec![example(10, 2, 2), in_pieces(example(20, 1, 3))],
        attributed_to: Some("The attributions are of a probability.".to_owned()),
        notes: vec!["Curves of the training rows are not kept.".to_owned()],
        packed: rows.packed(),
        ..PageEvaluation::default()
    }
}

pub(super) fn step(stage: &str, kind: &str, reads: &[&str]) -> PageStep {
    PageStep {
        stage: stage.to_owned(),
        kind: kind.to_owned(),
        key: "0123456789abcdef".repeat(4),
        outcome: "built".to_owned(),
        reason: "an input changed".to_owned(),
        seconds: Some(83.0),
        reads: named(reads),
    }
}

/// The page with all that a pipeline has besides its evaluations.
pub(super) fn page(evaluations: Vec<PageEvaluation>) -> ReportPage {
    let log = (1..200).map(|step| json!({ "step": step, "epoch": 0.01 * f64::from(step), "loss": 2.0 / f64::from(step), "learning_rate": 1e-5 * f64::from(step), "gradient_norm": 1.5 }));
    let validations = [100, 200].map(|step| json!({ "step": step, "epoch": 1.0, "validation": { "loss": 0.4, "accuracy": 0.8, "f1_macro": 0.7 } }));
    ReportPage {
        pipeline: "news".to_owned(),
        spec: "pipelines/news.toml".to_owned(),
        made_by: "refit 0.1.0".to_owned(),
        evaluations,
        trainings: vec![PageTraining {
            stage: "classifier".to_owned(),
            log: log.chain(validations).collect(),
            seconds: Some(120.0),
            rows_per_second: Some(80.0),
            steps: 200,
            parameters: Some(22_000_000),
        }],
        data: vec![PageData {
            stage: "rows".to_owned(),
            splits: vec![PageSplit {
                name: "train".to_owned(),
                rows: 900,
                labels: LABELS
                    .iter()
                    .map(|label| ((*label).to_owned(), 225))
                    .collect(),
                words: vec![(0, 10, 300), (10, 20, 600)],
            }],
        }],
        tokens: vec![PageTokens {
            stage: "tokens".to_owned(),
            max_length: 64,
            vocab_size: 30522,
            splits: vec![PageLengths {
                name: "train".to_owned(),
                rows: 900,
                lengths: vec![(0, 16, 500), (16, 32, 399), (64, 80, 1)],
                mean: 14.2,
                longest: 71,
                cut: 1,
                unknown: 0.0001,
            }],
        }],
        steps: vec![
            step("rows", "load", &[]),
            step("tokens", "tokenize", &["rows"]),
            step("classifier", "train", &["tokens"]),
            step("scores", "evaluate", &["classifier", "tokens"]),
        ],
        text: "version = 1\nname = \"news\"\n".to_owned(),
        previous: Some(Previous {
            run: "3f2a".to_owned(),
            when: "2026-11-26 18:04".to_owned(),
            lines: vec![
                ('=', "version = 1".to_owned()),
                ('-', "name = \"old\"".to_owned()),
                ('+', "name = \"news\"".to_owned()),
            ],
        }),
    }
}

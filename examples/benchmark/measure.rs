//! Times the library's training loop, its prediction and its loading of weights, for `compare`.
//!
//!     measure step ENCODER ROWS BATCH [--device NAME] [--precision NAME]
//!     measure predict MODEL TEXTS [--device NAME]
//!     measure load ENCODER [--device NAME]
//!     measure device NAME
//!
//! `step` trains one epoch on ROWS, a file with one row a line (the label's number, then the ids), and prints the seconds
//! from each step's end to the next one's, the first counted from the start, and the order in which the rows were taken.
//! ENCODER is a folder in the Hugging Face layout; without `model.safetensors`, weights are drawn. `predict` tokenizes and
//! answers TEXTS, a JSON list, and prints the seconds and the number of each text's label. `load` prints the seconds, the bytes
//! of the weights on disk and in memory, and the most memory that the process ever held, in bytes (Linux's VmHWM; null
//! elsewhere). `device` says whether a device can be had.
//!
//! Promise: one JSON line on stdout, and nothing of what is timed is the benchmark's own. Deliberately absent: medians and
//! comparisons, which are for the scripts beside this file.

use std::error::Error;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

use refit::device::{self, Chosen};
use refit::learn::{
    BatchSettings, Course, CrossEntropy, EvaluateEvery, Event, Judgement, Keep, LearnError, Length,
    Material, Objective, OptimizerSettings, Precision, Predictions, Recipe, Rows, ScheduleName,
    ScheduleSettings, fit, predict, shuffled,
};
use refit::metrics::Metric;
use refit::model::{self, Classifier, EncoderConfig, EncoderFiles, HeadSettings, named_parameters};
use refit::text::Tokenizer;
use serde_json::json;

const USAGE: &str = "usage: measure step ENCODER ROWS BATCH | predict MODEL TEXTS | load ENCODER | device NAME, \
                     then [--device NAME] [--precision NAME]";
const LABELS: usize = 4;
const SEED: u64 = 13;
const WARM_TEXTS: usize = 64;
/// In a batch of texts to be answered.
const TOKENS: usize = 4096;

fn main() -> Result<(), Box<dyn Error>> {
    let mut words: Vec<String> = std::env::args().skip(1).collect();
    let device = device::choose(&option(&mut words, "--device")?.unwrap_or("auto".to_owned()));
    let precision = option(&mut words, "--precision")?.unwrap_or("fp32".to_owned());
    let precision: Precision = serde_json::from_value(json!(precision))?;
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let line = match words[..] {
        ["step", encoder, rows, batch] => step(
            encoder.as_ref(),
            rows.as_ref(),
            batch.parse()?,
            precision,
            &device?,
        )?,
        ["predict", model, texts] => answer(model.as_ref(), texts.as_ref(), &device?)?,
        ["load", encoder] => load(encoder.as_ref(), &device?)?,
        ["device", name] => {
            let chosen = device::choose(name)?;
            if !precision.runs_on(&chosen.device) {
                return Err(format!("{} does not compute in {precision}", chosen.name).into());
            }
            json!({ "device": chosen.name })
        }
        _ => return Err(USAGE.into()),
    };
    println!("{line}");
    Ok(())
}

/// Takes `name` and the word after it out of the command line.
fn option(words: &mut Vec<String>, name: &str) -> Result<Option<String>, Box<dyn Error>> {
    let Some(place) = words.iter().position(|word| word == name) else {
        return Ok(None);
    };
    words.remove(place);
    if place == words.len() {
        return Err(format!("{name} needs a value; {USAGE}").into());
    }
    Ok(Some(words.remove(place)))
}

fn step(
    encoder: &Path,
    rows: &Path,
    batch: u32,
    precision: Precision,
    chosen: &Chosen,
) -> Result<serde_json::Value, Box<dyn Error>> {
    let rows = Listed::read(rows)?;
    let files = EncoderFiles::in_folder(encoder);
    let head = HeadSettings::default().over_texts(LABELS);
    let classifier = if files.weights.is_file() {
        Classifier::pretrained(&files, &head, SEED, &chosen.device)?.0
    } else {
        let config = EncoderConfig::read(&files.config)?;
        Classifier::initialised(&config, &head, SEED, &chosen.device)?
    };
    let label_names: Vec<String> = (0..LABELS).map(|label| label.to_string()).collect();
    let unasked = |_: &Classifier, _: &Predictions| -> Result<Judgement, LearnError> {
        Ok(Judgement {
            scores: serde_json::Map::new(),
            thresholds: None,
        })
    };
    let material = Material {
        train: &rows,
        validation: None,
        objective: &Objective::Label(CrossEntropy::default()),
        judge: &unasked,
        metric: Metric::Loss,
        label_names: &label_names,
        pad_id: 0,
        max_length: 512,
    };
    let recipe = Recipe {
        length: Length::Epochs(1),
        batch: BatchSettings {
            size: batch,
            group_by_length: false,
            ..BatchSettings::default()
        },
        optimizer: OptimizerSettings::default(),
        schedule: ScheduleSettings {
            name: ScheduleName::Constant,
            warmup: Some(0.0),
            ..ScheduleSettings::default()
        },
        evaluate_every: EvaluateEvery::default(),
        early_stopping: None,
        keep: Keep::default(),
        keep_last: 0,
        ema: None,
        frozen: None,
        gradient_checkpointing: false,
        precision,
        seed: SEED,
    };
    let mut seconds = Vec::new();
    let mut last = Instant::now();
    fit(
        classifier,
        &material,
        &recipe,
        &chosen.device,
        Course::default(),
        &mut |event| {
            if let Event::Step(_) = event {
                seconds.push(last.elapsed().as_secs_f64());
                last = Instant::now();
            }
            ControlFlow::Continue(())
        },
    )?;
    let order = shuffled(rows.rows(), SEED, 1);
    Ok(json!({ "device": chosen.name, "seconds": seconds, "order": order }))
}

fn load(encoder: &Path, chosen: &Chosen) -> Result<serde_json::Value, Box<dyn Error>> {
    let files = EncoderFiles::find(encoder).map_err(|mut errors| errors.remove(0))?;
    let mut disk = 0;
    for (name, path) in files.named() {
        if !name.ends_with(".json") {
            disk += std::fs::metadata(path)?.len();
        }
    }
    let head = HeadSettings::default().over_texts(LABELS);
    let begin = Instant::now();
    let (classifier, _, report) = Classifier::pretrained(&files, &head, SEED, &chosen.device)?;
    let seconds = begin.elapsed().as_secs_f64();
    let memory: usize = named_parameters(&classifier)
        .iter()
        .map(|parameter| parameter.shape.iter().product::<usize>() * size_of::<f32>())
        .sum();
    Ok(json!({
        "device": chosen.name,
        "seconds": seconds,
        "loaded": report.loaded,
        "disk": disk,
        "memory": memory,
        "peak": most_resident(),
    }))
}

/// The most bytes of memory that this process ever held.
fn most_resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kibibytes * 1024)
}

fn answer(
    folder: &Path,
    texts: &Path,
    chosen: &Chosen,
) -> Result<serde_json::Value, Box<dyn Error>> {
    let texts: Vec<String> = serde_json::from_slice(&std::fs::read(texts)?)?;
    let (classifier, _, info) = model::open(folder, &chosen.device)?;
    let tokenizer = Tokenizer::open(&folder.join("tokenizer"))?;
    let ask = |texts: &[String]| -> Result<Vec<u32>, Box<dyn Error>> {
        let on_rows = &mut |_| ControlFlow::Continue(());
        let encoded = tokenizer.encode_columns(texts, None, info.max_length, on_rows)?;
        let pad_id = tokenizer.pad_id();
        Ok(predict(
            &classifier,
            &encoded,
            pad_id,
            TOKENS,
            &chosen.device,
            on_rows,
        )?
        .labels())
    };
    ask(&texts[..WARM_TEXTS.min(texts.len())])?;
    let begin = Instant::now();
    let labels = ask(&texts)?;
    let seconds = begin.elapsed().as_secs_f64();
    Ok(json!({ "device": chosen.name, "seconds": seconds, "labels": labels }))
}

/// Rows in memory.
struct Listed {
    /// Label and ids.
    rows: Vec<(u32, Vec<u32>)>,
    /// Segments, for the longest row: there are no pairs.
    zeros: Vec<u8>,
}

impl Listed {
    fn read(path: &Path) -> Result<Listed, Box<dyn Error>> {
        let mut rows = Vec::new();
        for line in std::fs::read_to_string(path)?.lines() {
            let numbers: Result<Vec<u32>, _> = line.split(' ').map(str::parse).collect();
            let mut numbers = numbers?.into_iter();
            let label = numbers.next().ok_or("a row without a label")?;
            rows.push((label, numbers.collect::<Vec<u32>>()));
        }
        let longest = rows.iter().map(|(_, ids)| ids.len()).max().unwrap_or(0);
        Ok(Listed {
            rows,
            zeros: vec![0; longest],
        })
    }
}

impl Rows for Listed {
    fn rows(&self) -> usize {
        self.rows.len()
    }

    fn ids(&self, row: usize) -> &[u32] {
        &self.rows[row].1
    }

    fn type_ids(&self, row: usize) -> &[u8] {
        &self.zeros[..self.rows[row].1.len()]
    }

    fn label(&self, row: usize) -> Option<u32> {
        Some(self.rows[row].0)
    }

    fn id(&self, row: usize) -> u64 {
        row as u64
    }
}

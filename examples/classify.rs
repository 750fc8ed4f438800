//! Classifies texts with a trained model, through the library alone.
//!
//!     cargo run --release --example classify -- "$(refit path pipelines/quickstart.toml router)" "the app crashes on start"
//!
//! The folder is a model artifact, as `refit path SPEC STAGE` prints it for a train stage.

use std::error::Error;
use std::ops::ControlFlow;
use std::path::PathBuf;

use refit::device;
use refit::learn::predict;
use refit::model;
use refit::text::Tokenizer;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(
        arguments
            .next()
            .ok_or("usage: classify MODEL_FOLDER TEXT…")?,
    );
    let texts: Vec<String> = arguments.collect();

    let device = device::choose("auto")?.device;
    let (classifier, _, info) = model::open(&folder, &device)?;
    let tokenizer = Tokenizer::open(&folder.join("tokenizer"))?;

    let rows: Vec<(String, Option<String>)> =
        texts.iter().map(|text| (text.clone(), None)).collect();
    let encoded = tokenizer.encode(&rows, info.max_length)?;
    let on_rows = &mut |_| ControlFlow::Continue(());
    let predictions = predict(
        &classifier,
        &encoded,
        tokenizer.pad_id(),
        4096,
        &device,
        on_rows,
    )?;
    for ((text, label), probabilities) in texts
        .iter()
        .zip(predictions.labels())
        .zip(predictions.probabilities())
    {
        let label = label as usize;
        println!(
            "{:.3}  {}  {text}",
            probabilities[label], info.label_names[label]
        );
    }
    Ok(())
}

//! Event files in a folder, a folder in it for each training.
//!
//! A training's first file in its folder begins with the spec and the settings. Each begins by declaring void what earlier
//! ones hold behind the step where it begins, so that a training that was killed, or is run again, has one curve. What
//! evaluates a model has a file of its own beside them, in place of the one before.
//!
//! Deliberately absent: appending to a file of another process, which a reader may have given up.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::event_file::{self, EventFile};
use super::{Entry, Sink, Told, Training, Trouble};

/// The end of the names of files that hold a training's numbers, and of those that hold its model's scores.
const TRAINING: &str = "refit";
const EVALUATION: &str = "evaluate";

pub(super) struct TensorBoard {
    folder: PathBuf,
    /// Those that run, by their names.
    running: BTreeMap<String, Running>,
}

/// A training's curves.
struct Running {
    /// After how many steps it began here.
    after: u64,
    /// None until it could be written.
    file: Option<EventFile>,
}

impl TensorBoard {
    pub(super) fn new(folder: PathBuf) -> Self {
        TensorBoard {
            folder,
            running: BTreeMap::new(),
        }
    }

    fn write(&mut self, training: &Training, entries: &[Entry]) -> io::Result<()> {
        let name = training.name();
        let folder = self.folder.join(&name);
        let mut records = Vec::new();
        let mut ended = false;
        for entry in entries {
            match &entry.told {
                Told::Begun { after } => {
                    let (after, file) = (*after, None);
                    self.running.insert(name.clone(), Running { after, file });
                }
                Told::Drawn { step, numbers } => {
                    records.extend(event_file::scalars(entry.time, *step, numbers));
                }
                Told::Evaluated { stage, numbers } => {
                    evaluated(&folder, entry.time, stage, numbers)?;
                }
                Told::Ended(_) => ended = true,
            }
        }
        let written = match self.running.get_mut(&name) {
            Some(running) if !records.is_empty() => running.write(&folder, training, &records),
            _ => Ok(()),
        };
        if ended {
            self.running.remove(&name);
        }
        written
    }
}

impl Sink for TensorBoard {
    fn take(&mut self, training: &Training, entries: &[Entry]) -> Result<(), Trouble> {
        let written = self.write(training, entries);
        // The next numbers try their luck by themselves.
        written.map_err(|error| Trouble::ForGood(error.to_string()))
    }

    fn pause(&self) -> Duration {
        Duration::ZERO
    }
}

impl Running {
    fn write(&mut self, folder: &Path, training: &Training, records: &[u8]) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            none => {
                let is_one = |path: PathBuf| path.extension().is_some_and(|end| end == TRAINING);
                let first = !event_file::written(folder).any(is_one);
                let mut file = EventFile::create(folder, TRAINING)?;
                let now = SystemTime::now();
                let mut beginning = event_file::restart(now, self.after + 1);
                if first {
                    let text = training.spec.text.trim_end();
                    let text = format!("```toml\n{text}\n```\n");
                    beginning.extend(event_file::text(now, "spec", &text));
                    let settings = format!("```json\n{:#}\n```\n", training.settings);
                    beginning.extend(event_file::text(now, "settings", &settings));
                }
                file.write(&beginning)?;
                none.insert(file)
            }
        };
        file.write(records)
    }
}

/// Writes the scores of a training's model, in place of those that the same stage gave it before.
fn evaluated(
    folder: &Path,
    time: SystemTime,
    stage: &str,
    numbers: &[(String, f64)],
) -> io::Result<()> {
    let ending = format!("{stage}.{EVALUATION}");
    let is_earlier = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| name.ends_with(&format!(".{ending}")))
    };
    let earlier: Vec<PathBuf> = event_file::written(folder).filter(is_earlier).collect();
    let mut file = EventFile::create(folder, &ending)?;
    let named = |(metric, number): &(String, f64)| (format!("evaluate/{stage}/{metric}"), *number);
    let numbers: Vec<(String, f64)> = numbers.iter().map(named).collect();
    file.write(&event_file::scalars(time, 0, &numbers))?;
    for path in earlier {
        std::fs::remove_file(path)?;
    }
    Ok(())
}

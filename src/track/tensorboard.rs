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

    /// Writes what it can. The first error, and how many numbers were lost to it or others.
    fn write(&mut self, training: &Training, entries: &[Entry]) -> Result<(), (io::Error, usize)> {
        let name = training.name();
        let folder = self.folder.join(&name);
        let mut records = Vec::new();
        let mut drawn = 0;
        let mut ended = false;
        let mut written = Ok(());
        let mut note = |result: io::Result<()>, lost: usize| {
            if let Err(error) = result {
                written = match std::mem::replace(&mut written, Ok(())) {
                    Ok(()) => Err((error, lost)),
                    Err((first, before)) => Err((first, before + lost)),
                };
            }
        };
        for entry in entries {
            match &entry.told {
                Told::Begun { after } => {
                    let (after, file) = (*after, None);
                    self.running.insert(name.clone(), Running { after, file });
                }
                Told::Drawn { step, numbers } => {
                    records.extend(event_file::scalars(entry.time, *step, numbers));
                    drawn += entry.weight();
                }
                Told::Evaluated { stage, numbers } => {
                    let done = evaluated(&folder, entry.time, stage, numbers);
                    note(done, entry.weight());
                }
                Told::Ended(_) => ended = true,
            }
        }
        if let Some(running) = self.running.get_mut(&name).filter(|_| drawn > 0) {
            note(running.write(&folder, training, &records), drawn);
        }
        if ended {
            self.running.remove(&name);
        }
        written
    }
}

impl Sink for TensorBoard {
    fn take(
        &mut self,
        training: &Training,
        entries: &[Entry],
        _goes_on: &dyn Fn() -> bool,
    ) -> Result<(), Trouble> {
        let written = self.write(training, entries);
        // The next numbers try their luck by themselves.
        written.map_err(|(error, lost)| Trouble::ForGood {
            reason: error.to_string(),
            lost,
        })
    }

    fn is_well(&mut self) -> bool {
        true
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
                let now = SystemTime::now();
                let mut beginning = event_file::restart(now, self.after + 1);
                if first {
                    let text = training.spec.text.trim_end();
                    let text = format!("```toml\n{text}\n```\n");
                    beginning.extend(event_file::text(now, "spec", &text));
                    let settings = format!("```json\n{:#}\n```\n", training.settings);
                    beginning.extend(event_file::text(now, "settings", &settings));
                }
                none.insert(EventFile::create(folder, TRAINING, &beginning)?)
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
    let named = |(metric, number): &(String, f64)| (format!("evaluate/{stage}/{metric}"), *number);
    let numbers: Vec<(String, f64)> = numbers.iter().map(named).collect();
    EventFile::create(folder, &ending, &event_file::scalars(time, 0, &numbers))?;
    for path in earlier {
        std::fs::remove_file(path)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::track::sample::{begun, drawn, evaluated, finished, training};

    fn take(board: &mut TensorBoard, entries: &[Entry]) -> Option<usize> {
        match board.take(&entries[0].training, entries, &|| true) {
            Ok(()) => None,
            Err(Trouble::ForGood { lost, .. }) => Some(lost),
            Err(other) => panic!("{other:?}"),
        }
    }

    fn files(folder: &Path) -> Vec<PathBuf> {
        event_file::written(folder).collect()
    }

    #[test]
    fn scores_that_cannot_be_written_cost_no_steps() {
        let runs = tempfile::tempdir().unwrap();
        let mut board = TensorBoard::new(runs.path().to_owned());
        let one = training("one");
        let folder = runs.path().join(one.name());
        assert_eq!(take(&mut board, &[begun(&one), drawn(&one, 1)]), None);
        // Earlier scores that cannot be removed.
        let earlier = "events.out.tfevents.0000000001.1.scores.evaluate";
        fs::create_dir(folder.join(earlier)).unwrap();
        let before = fs::read(
            files(&folder)
                .into_iter()
                .find(|path| path.is_file())
                .unwrap(),
        );
        let entries = [
            drawn(&one, 2),
            evaluated(&one),
            drawn(&one, 3),
            finished(&one),
        ];
        assert_eq!(take(&mut board, &entries), Some(1));
        let training_file = files(&folder)
            .into_iter()
            .find(|path| path.extension().unwrap() == TRAINING)
            .unwrap();
        let wanted = [
            before.unwrap(),
            event_file::scalars(entries[0].time, 2, &numbers_of(&entries[0])),
            event_file::scalars(entries[2].time, 3, &numbers_of(&entries[2])),
        ];
        assert_eq!(fs::read(training_file).unwrap(), wanted.concat());
        assert!(board.running.is_empty(), "its end was heard");
    }

    fn numbers_of(entry: &Entry) -> Vec<(String, f64)> {
        match &entry.told {
            Told::Drawn { numbers, .. } => numbers.clone(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_folder_that_can_be_written_again_gets_what_comes_then() {
        let runs = tempfile::tempdir().unwrap();
        let mut board = TensorBoard::new(runs.path().to_owned());
        let one = training("one");
        let folder = runs.path().join(one.name());
        fs::write(runs.path().join("one"), "no folder").unwrap();
        assert_eq!(take(&mut board, &[begun(&one), drawn(&one, 1)]), Some(2));
        fs::remove_file(runs.path().join("one")).unwrap();
        let next = drawn(&one, 2);
        assert_eq!(take(&mut board, std::slice::from_ref(&next)), None);
        let [file] = &files(&folder)[..] else {
            panic!("one file")
        };
        let step = event_file::scalars(next.time, 2, &numbers_of(&next));
        assert!(fs::read(file).unwrap().ends_with(&step));
    }
}

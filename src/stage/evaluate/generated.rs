//! Scoring generated texts: the table's `text` against its `text_pair`, row by row.
//!
//! Deliberately absent: generating.

use std::path::Path;

use super::{Evaluate, WithoutModel, write_scores};
use crate::metrics::generated::{GeneratedSettings, generated};
use crate::stage::{Context, Fault, Files, StageError, find_split};
use crate::table::{self, Cells, Table, Texts};
use crate::task::Scored;
use crate::text::thesaurus::Thesaurus;

const WORDNET: &str = "wordnet/";

/// What belongs to a model stands apart from what belongs to texts.
pub(super) fn faults(settings: &Evaluate) -> Vec<Fault> {
    let Evaluate {
        model,
        task,
        generation,
        wordnet,
        ..
    } = settings;
    let mut faults = Vec::new();
    let mut fault = |field: &str, message: &str, help: &str| {
        faults.push(Fault::new(field, message, help));
    };
    match (task, model) {
        (None, None) => fault(
            "",
            "no model is named that could be scored",
            "name a train stage, `model = \"…\"`, or set `task = \"generation\"` to score texts that stand in a table",
        ),
        (Some(WithoutModel::Generation), Some(_)) => fault(
            "model",
            "generated texts are scored as they stand, without a model",
            "remove `model`, or `task` to score the model by its own task",
        ),
        _ => {}
    }
    if task.is_none() {
        let only = "set `task = \"generation\"`, or remove it";
        if *generation != GeneratedSettings::default() {
            fault(
                "generation",
                "`generation` is for generated texts alone",
                only,
            );
        }
        if wordnet.is_some() {
            fault("wordnet", "`wordnet` is for generated texts alone", only);
        }
    }
    faults
}

/// The files of the WordNet database, where one is named.
pub(super) fn files(settings: &Evaluate, base: &Path) -> Result<Files, Fault> {
    let Some(folder) = &settings.wordnet else {
        return Ok(Files::new());
    };
    match Thesaurus::wordnet_files(&base.join(folder)) {
        Ok(files) => Ok(files
            .into_iter()
            .map(|(name, path)| (format!("{WORDNET}{name}"), path))
            .collect()),
        Err(missing) => Err(Fault::new(
            "wordnet",
            format!("`{folder}` is no WordNet database: {missing} is missing"),
            "name the folder that holds index.noun, data.noun and their like, such as Debian's /usr/share/wordnet",
        )),
    }
}

pub(super) fn run(settings: &Evaluate, context: &Context) -> Result<(), StageError> {
    let table = Table::open(context.input("input"))?;
    let there: Vec<&str> = table.splits.keys().map(String::as_str).collect();
    let found = table.splits.get(&settings.split);
    let found = found.map(table::borrowed).transpose()?;
    let rows = find_split(&settings.split, found.as_ref(), Texts::len, "table", &there)?;
    let Some(references) = &rows.text_pair else {
        return Err(StageError::Mismatch {
            message: format!(
                "the rows of {:?} have no second text, so there is nothing to compare the first with",
                settings.split
            ),
            help: "name both in the load stage: `columns = { text = \"prediction\", text_pair = \"reference\", label = \"\" }`"
                .to_owned(),
        });
    };
    let mut files = context.files.iter();
    let folder =
        files.find_map(|(role, path)| role.starts_with(WORDNET).then(|| path.parent()).flatten());
    let thesaurus = folder.map(Thesaurus::wordnet).transpose()?;
    let synonyms = |word: &str| {
        let found = thesaurus
            .as_ref()
            .map(|thesaurus| thesaurus.of_any_sense(word));
        found.unwrap_or_default()
    };
    context.progress.start("scoring", rows.len() as u64, "rows");
    let scored = generated(&rows.text, references, &settings.generation, &synonyms);
    context.progress.advance(rows.len() as u64);
    context.checkpoint()?;
    let mut details = scored.details();
    details.insert("meteor_synonyms".to_owned(), thesaurus.is_some().into());
    details.insert(
        "generation".to_owned(),
        serde_json::to_value(settings.generation).unwrap_or_default(),
    );
    let whole = Scored {
        flat: scored.flat(),
        details,
    };
    write_scores(context, whole, rows.len(), &settings.split)?;
    let own = |texts: &[&str]| {
        let texts = texts.iter().map(|&text| Some(text.to_owned()));
        Cells::Texts(texts.collect())
    };
    let mut columns = vec![("id".to_owned(), Cells::Ids(rows.id.clone()))];
    if let Some(names) = &rows.name {
        columns.push(("name".to_owned(), own(names)));
    }
    columns.push(("generated".to_owned(), own(&rows.text)));
    columns.push(("reference".to_owned(), own(references)));
    for (name, values) in scored.of_rows() {
        let values = values.into_iter().map(Some).collect();
        columns.push((name.to_owned(), Cells::Numbers(values)));
    }
    table::write_columns(&context.draft.join("predictions.parquet"), columns)?;
    Ok(())
}

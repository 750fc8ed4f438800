//! Explanations of some of the answers: `explanations.json`.
//!
//! Which answers: those that the spec names, then wrong ones that the model was sure of, since these show most, and right
//! ones of all degrees of sureness beside them. Equally sure ones come in the order of their ids, so that the choice is the
//! same every time.
//!
//! Deliberately absent: what is computed (`learn::attribution`), and where tokens of texts stand that the tokens do not keep:
//! of texts that are classified there are only ids.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Context, Evaluate, StageError, advance};
use crate::learn::attribution::Explainer;
use crate::learn::{Predictions, Rows};
use crate::model::Classifier;
use crate::stage::Fault;
use crate::task::explanations::{
    self, Chosen, EXPLANATIONS, Explanation, Explanations, FORMAT, packed, rounded,
};
use crate::task::{Answers, Asked, Decisive, Outcome, Task};
use crate::text::{NONE, TextError, Tokenizer, Tokens};

/// Which answers are explained, and how exactly.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExplainSettings {
    /// How many rows are chosen, beside those that are named: half of them wrong answers that the model was surest of, the
    /// others right ones; of numbers, those furthest off and those no further off than the median. Default 8.
    #[serde(default = "eight")]
    #[schemars(range(min = 0, max = 200))]
    pub examples: usize,
    /// Rows to explain whatever was answered, by their ids: those in `predictions.parquet`. Default none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 200), extend("default" = []))]
    pub ids: Vec<u64>,
    /// How many steps the path of integrated gradients has. More of them make the attributions add up better, which `delta`
    /// in the file tells, and take longer: each goes through the model once forth and back. Default 64.
    #[serde(default = "super::super::sixty_four")]
    #[schemars(range(min = 1, max = 10000))]
    pub steps: usize,
}

fn eight() -> usize {
    8
}

/// What the schema cannot say.
pub(super) fn faults(evaluate: &Evaluate) -> Option<Fault> {
    let settings = evaluate.explain.as_ref()?;
    let without_model = evaluate.task.is_some();
    let fault = |message: &str, help: &str| Some(Fault::new("explain", message, help));
    match settings {
        _ if without_model => fault(
            "generated texts come from no model here that could be explained",
            "remove `explain`",
        ),
        ExplainSettings {
            examples: 0, ids, ..
        } if ids.is_empty() => fault(
            "there is nothing to explain: no examples and no ids",
            "set `examples` to at least 1, name rows in `ids`, or remove `explain`",
        ),
        _ => None,
    }
}

/// Whether all rows that are named are there; `ids` are those of the split.
pub(super) fn check_ids(
    settings: &ExplainSettings,
    ids: &[u64],
    split: &str,
) -> Result<(), StageError> {
    if settings.ids.is_empty() {
        return Ok(());
    }
    let there: BTreeSet<u64> = ids.iter().copied().collect();
    let unknown = settings.ids.iter().filter(|id| !there.contains(id));
    let unknown: Vec<String> = unknown.map(u64::to_string).collect();
    if unknown.is_empty() {
        return Ok(());
    }
    let range = match (there.first(), there.last()) {
        (Some(first), Some(last)) => {
            format!("{} rows with ids from {first} to {last}", there.len())
        }
        _ => "no rows".to_owned(),
    };
    Err(StageError::Mismatch {
        message: format!(
            "`explain.ids` names rows that the split {split:?} does not have: {}",
            unknown.join(", ")
        ),
        help: format!(
            "it has {range}; take ids from the column `id` of predictions.parquet, or from `refit preview`"
        ),
    })
}

/// Which examples are explained, ascending.
fn choose(
    settings: &ExplainSettings,
    outcomes: &[Option<Outcome>],
    ids: &[u64],
) -> Vec<(usize, Chosen)> {
    let is_named = |&example: &usize| ids.get(example).is_some_and(|id| settings.ids.contains(id));
    let surest_first = |right: bool| {
        let all = (0..outcomes.len().min(ids.len())).filter(|example| !is_named(example));
        let known = all.filter_map(|example| Some((example, outcomes[example]?)));
        let mut those: Vec<(usize, Outcome)> = known
            .filter(|(_, outcome)| outcome.right == right)
            .collect();
        those.sort_by(|(a, of_a), (b, of_b)| {
            let by_sureness = of_b.sure.total_cmp(&of_a.sure);
            by_sureness.then(ids[*a].cmp(&ids[*b]))
        });
        let those = those.into_iter().map(|(example, _)| example);
        those.collect::<Vec<usize>>()
    };
    let (wrong, right) = (surest_first(false), surest_first(true));
    // Half each, or more of the one where there are too few of the other.
    let half = settings.examples.div_ceil(2);
    let of_right = right.len().min(settings.examples - half.min(wrong.len()));
    let of_wrong = wrong.len().min(settings.examples - of_right);
    let named = (0..ids.len())
        .filter(is_named)
        .map(|example| (example, Chosen::Named));
    let wrong = wrong
        .iter()
        .take(of_wrong)
        .map(|&example| (example, Chosen::Wrong));
    let right = spread(&right, of_right).map(|&example| (example, Chosen::Right));
    let mut chosen: Vec<(usize, Chosen)> = named.chain(wrong).chain(right).collect();
    chosen.sort_by_key(|&(example, _)| example);
    chosen
}

/// So many of all, the first, the last and those at equal distances between them.
fn spread<T>(all: &[T], count: usize) -> impl Iterator<Item = &T> {
    let (last, gaps) = (all.len().saturating_sub(1), count.saturating_sub(1).max(1));
    (0..count).filter_map(move |number| all.get((number * last + gaps / 2) / gaps))
}

/// An evaluation whose answers are to be explained.
pub(super) struct Evaluated<'a> {
    pub(super) task: Task,
    pub(super) model: &'a Classifier,
    /// Of each layer of its encoder.
    pub(super) heads: usize,
    pub(super) tokens: &'a Tokens,
    pub(super) asked: &'a Asked<'a>,
    pub(super) answers: &'a dyn Answers,
    pub(super) outputs: &'a Predictions,
    pub(super) outcomes: &'a [Option<Outcome>],
    /// How many tokens may go through the model at once.
    pub(super) tokens_at_once: usize,
    pub(super) device: &'a burn::tensor::Device,
}

/// Writes `explanations.json`.
pub(super) fn write(
    settings: &ExplainSettings,
    evaluated: &Evaluated,
    context: &Context,
) -> Result<(), StageError> {
    let ids = evaluated.asked.ids();
    let chosen = choose(settings, evaluated.outcomes, &ids);
    let steps = settings.steps * chosen.len();
    context.progress.start("explaining", steps as u64, "steps");
    let tokenizer = Tokenizer::open(evaluated.tokens.tokenizer_folder())?;
    let explainer = Explainer::new(
        evaluated.model,
        evaluated.tokens.pad_id(),
        evaluated.tokens_at_once.min(MOST_TOKENS),
        evaluated.device,
    );
    let count = chosen.len();
    let mut examples = Vec::with_capacity(count);
    for (row, chosen) in chosen {
        let id = ids.get(row).copied().unwrap_or_default();
        let decisive = evaluated
            .answers
            .decisive(evaluated.asked, evaluated.outputs, row);
        let Some(decisive) = decisive else {
            context.progress.warn(&format!(
                "row {id} is not explained: nothing in it could be answered"
            ));
            context.progress.advance(settings.steps as u64);
            continue;
        };
        let named = (row, id, chosen, count);
        let explained = explained(
            settings, evaluated, &explainer, &tokenizer, named, decisive, context,
        )?;
        if explained.is_none() {
            context.progress.warn(&format!(
                "row {id} is not explained: its gradients are not finite"
            ));
        }
        examples.extend(explained);
    }
    let explanations = Explanations {
        format: FORMAT,
        attributed_to: explanations::attributed_to(evaluated.task).to_owned(),
        examples,
    };
    let path = context.draft.join(EXPLANATIONS);
    let mut json = serde_json::to_vec(&explanations).expect("numbers and texts are JSON");
    json.push(b'\n');
    std::fs::write(&path, json).map_err(|source| StageError::Write { path, source })
}

/// Gradients take several times the memory of answers.
const MOST_TOKENS: usize = 4096;

/// One of `count` rows; none where its gradients are not finite.
fn explained(
    settings: &ExplainSettings,
    evaluated: &Evaluated,
    explainer: &Explainer,
    tokenizer: &Tokenizer,
    (row, id, chosen, count): (usize, u64, Chosen, usize),
    decisive: Decisive,
    context: &Context,
) -> Result<Option<Explanation>, StageError> {
    let rows = evaluated.asked.rows;
    let window = decisive.row;
    let special = special(tokenizer);
    let is_text: Vec<bool> = rows
        .ids(window)
        .iter()
        .map(|id| !special.contains(id))
        .collect();
    let on_steps = &mut advance(context);
    let attribution = explainer.attribute(
        rows,
        window,
        &decisive.output,
        &is_text,
        settings.steps,
        on_steps,
    );
    // Whatever an interrupted gradient comes to, the user asked to stop.
    context.checkpoint()?;
    let attribution = attribution?;
    let delta = attribution.delta();
    let both = [
        &attribution.gradient_x_input,
        &attribution.integrated_gradients,
    ];
    let all = both
        .into_iter()
        .flatten()
        .chain([&attribution.value, &attribution.baseline]);
    if !all.copied().all(f64::is_finite) {
        return Ok(None);
    }
    let length = rows.length(window);
    let fitting = |heads: usize| explanations::attended(length, heads, count);
    let (attention, why_no_attention) =
        match explanations::why_no_attention(length, evaluated.heads) {
            Some(why) => (None, Some(why)),
            None => {
                let attention = explainer.attention(rows, window, fitting);
                context.checkpoint()?;
                let attention = attention?;
                let why = "this encoder has no attention weights to show";
                let why = attention.is_none().then(|| why.to_owned());
                (attention, why)
            }
        };
    let rounded_all = |numbers: Vec<f64>| numbers.into_iter().map(rounded).collect();
    let attention = attention.unwrap_or_default();
    let of_token = evaluated.model.head.pooling().is_none();
    let places = places(evaluated, tokenizer, row, window, &is_text);
    Ok(Some(Explanation {
        row,
        id,
        chosen,
        tokens: tokenizer.readable(rows.ids(window)),
        places: places.unwrap_or_else(|_| vec![None; length]),
        segment: segments(tokenizer, rows, window, &is_text),
        output: decisive.name,
        about: match of_token {
            true => decisive.output.iter().map(|&(token, _)| token).collect(),
            false => Vec::new(),
        },
        value: rounded(attribution.value),
        baseline: rounded(attribution.baseline),
        delta: rounded(delta),
        gradient_x_input: rounded_all(attribution.gradient_x_input),
        integrated_gradients: rounded_all(attribution.integrated_gradients),
        layers: attention.layers,
        heads: attention.heads,
        attended: attention.kept,
        attention: why_no_attention
            .is_none()
            .then(|| packed(attention.weights)),
        why_no_attention,
    }))
}

/// The ids that stand around texts. A masked or unknown word is still a word.
fn special(tokenizer: &Tokenizer) -> Vec<u32> {
    let special = tokenizer.special_ids().into_iter();
    let around = special.filter(|(role, _)| ["cls", "sep", "pad"].contains(role));
    around.map(|(_, (_, id))| id).collect()
}

/// Which text each token is of. Where types do not tell, the second one begins behind the first separator.
fn segments(tokenizer: &Tokenizer, rows: &dyn Rows, row: usize, is_text: &[bool]) -> Vec<u8> {
    let types = rows.type_ids(row);
    if types.iter().any(|&type_id| type_id > 0) {
        return types.iter().map(|&type_id| type_id.min(1)).collect();
    }
    if tokenizer.token_types(true) > 1 {
        // There is one text, and a separator in it is the text's own.
        return vec![0; is_text.len()];
    }
    let separator = tokenizer.special_ids().get("sep").map(|(_, id)| *id);
    // What begins a row may be the same token.
    let mut behind = rows.ids(row).iter().skip(1);
    let first = behind.position(|&id| Some(id) == separator);
    let second = first.map_or(is_text.len(), |first| first + 2);
    let is_pair = is_text.iter().skip(second).any(|&is_text| is_text);
    let of_token = |token: usize| u8::from(is_pair && token >= second);
    (0..is_text.len()).map(of_token).collect()
}

/// Where each token of a window stands in its text, where that is known.
fn places(
    evaluated: &Evaluated,
    tokenizer: &Tokenizer,
    example: usize,
    window: usize,
    is_text: &[bool],
) -> Result<Vec<Option<[u32; 2]>>, TextError> {
    let rows = evaluated.asked.rows;
    let ids = rows.ids(window);
    let mut places = vec![None; ids.len()];
    let Some(texts) = evaluated.asked.examples else {
        return Ok(places);
    };
    // Known tokens of the text that begin at a token of the row.
    let mut lay = |known: &[(u32, [u32; 2])], first: usize| {
        let own = places.iter_mut().zip(ids).zip(is_text).skip(first);
        for (((place, &id), &is_text), &(known, at)) in own.zip(known) {
            if !is_text || id != known {
                break;
            }
            *place = Some(at);
        }
    };
    if let Some((from, to)) = rows.characters(window) {
        let question = texts.text.get(example).copied().unwrap_or_default();
        let first = is_text.iter().position(|&is_text| is_text);
        lay(&tokenizer.places_in(question)?, first.unwrap_or(ids.len()));
        for (place, (&from, &to)) in places.iter_mut().zip(from.iter().zip(to)) {
            if from != NONE {
                *place = Some([from, to]);
            }
        }
    } else if let (Some(own), Some(lists)) = (rows.words(window), &texts.words) {
        // Words have one space between them.
        let (mut known, mut firsts, mut next) = (Vec::new(), Vec::new(), 0_u32);
        for word in lists.get(example).into_iter().flatten() {
            let length = u32::try_from(word.chars().count()).unwrap_or(u32::MAX);
            let of_word = tokenizer.places_in(word)?;
            firsts.push(known.len());
            if of_word.is_empty() {
                // What a tokenizer makes nothing of is one token all the same.
                let unknown = tokenizer.special_ids().get("unk").map(|(_, id)| *id);
                known.push((
                    unknown.unwrap_or(evaluated.tokens.pad_id()),
                    [next, next.saturating_add(length)],
                ));
            }
            let moved =
                |(id, place): (u32, [u32; 2])| (id, place.map(|at| next.saturating_add(at)));
            known.extend(of_word.into_iter().map(moved));
            next = next.saturating_add(length).saturating_add(1);
        }
        let begun = own.iter().position(|&word| word != NONE);
        let first_text = is_text.iter().position(|&is_text| is_text);
        if let (Some(token), Some(first)) = (begun, first_text) {
            let of_word = firsts.get(own[token] as usize).copied().unwrap_or_default();
            // The window may begin within a word that another one owns.
            let from = (of_word + first).saturating_sub(token);
            lay(known.get(from..).unwrap_or_default(), first);
        }
    }
    Ok(places)
}

#[cfg(test)]
mod tests;

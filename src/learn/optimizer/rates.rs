//! The learning rate and the decay of each parameter: groups by name, decay from layer to layer, the head's own rate.
//!
//! Sources: the decay from layer to layer is that of BEiT (Bao et al., 2022, <https://arxiv.org/abs/2106.08254>, its
//! `LayerDecayValueAssigner`): with n layers, rate × decayⁿ⁺¹ for the embeddings, × decayⁿ⁻ⁱ for the layer i counted from 0,
//! and the full rate for all else. (ELECTRA's program, where the idea comes from, goes down one step more below its head.)
//!
//! Where a parameter stands is read from its name alone, so that every family of encoders has it.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::OptimizerSettings;
use crate::learn::LearnError;
use crate::model;
pub(in crate::learn) use crate::model::fits;

/// Parameters with a rate or a decay of their own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ParameterGroup {
    /// Which parameters: patterns over their names in a checkpoint, such as `bert.encoder.layer.0.*` or `*.bias`; `*` stands
    /// for any characters, `?` for one. A name must fit as a whole.
    #[serde(rename = "match")]
    #[schemars(length(min = 1), inner(length(min = 1)))]
    pub patterns: Vec<String>,
    /// Their highest learning rate, whatever `layer_decay` and `head_learning_rate` say; it follows the schedule. 0 leaves them
    /// as they are. Left out: as without the group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 10.0))]
    pub learning_rate: Option<f64>,
    /// How strongly they are pulled towards zero, biases and norms among them. Left out: as without the group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 10.0))]
    pub weight_decay: Option<f64>,
}

/// What is a parameter's own.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rate {
    /// Its learning rate over that of the settings.
    pub(super) factor: f64,
    pub(super) weight_decay: f64,
}

/// The rate of a parameter that no group names, in a model without layers.
pub(super) fn plain(settings: &OptimizerSettings, name: &str) -> Rate {
    Rate {
        factor: 1.0,
        weight_decay: match model::decays(name) {
            true => settings.decay(),
            false => 0.0,
        },
    }
}

/// The rate of each of the parameters `names`, which are all of a model.
///
/// # Errors
/// A pattern that fits none of them.
pub(super) fn rates(
    settings: &OptimizerSettings,
    names: &[String],
) -> Result<BTreeMap<String, Rate>, LearnError> {
    for group in &settings.groups {
        check_patterns("optimizer.groups", &group.patterns, names)?;
    }
    let places = places(names);
    let layers = places.values().filter_map(|place| match place {
        Place::Layer(layer) => Some(layer + 1),
        _ => None,
    });
    let layers = layers.max().unwrap_or(0);
    let of = |name: &String| {
        let place = places.get(name.as_str()).copied().unwrap_or(Place::Head);
        let below = match place {
            Place::Embeddings => layers + 1,
            Place::Layer(layer) => layers - layer,
            Place::Above | Place::Head => 0,
        };
        let own = match place {
            Place::Head => settings.head_learning_rate,
            _ => None,
        };
        let mut rate = plain(settings, name);
        rate.factor = own.unwrap_or(settings.learning_rate) / settings.learning_rate
            * settings.layer_decay.powi(below as i32);
        let named = |pattern: &String| fits(pattern, name);
        if let Some(group) = settings
            .groups
            .iter()
            .find(|group| group.patterns.iter().any(named))
        {
            if let Some(own) = group.learning_rate {
                rate.factor = own / settings.learning_rate;
            }
            rate.weight_decay = group.weight_decay.unwrap_or(rate.weight_decay);
        }
        (name.clone(), rate)
    };
    Ok(names.iter().map(of).collect())
}

/// What is called by one name, and its rate over that of the settings, where it is another one.
pub(super) fn groups(
    settings: &OptimizerSettings,
    rates: &BTreeMap<String, Rate>,
) -> Vec<(String, f64)> {
    let names: Vec<&String> = rates.keys().collect();
    let places = places(&names);
    let group = |name: &str| {
        let named = |group: &ParameterGroup| group.patterns.iter().any(|one| fits(one, name));
        let number = settings.groups.iter().position(named)?;
        settings.groups[number].learning_rate.map(|_| number)
    };
    let mut found = BTreeMap::new();
    for (name, rate) in rates.iter().filter(|(_, rate)| rate.factor != 1.0) {
        let place = places.get(name.as_str()).copied().unwrap_or(Place::Head);
        let (order, called) = match group(name) {
            Some(number) => ((Some(number), None), format!("group_{number}")),
            None => {
                let called = match place {
                    Place::Embeddings => "embeddings".to_owned(),
                    Place::Layer(layer) => format!("layer_{layer:02}"),
                    Place::Above => "above".to_owned(),
                    Place::Head => "head".to_owned(),
                };
                ((None, Some(place)), called)
            }
        };
        found.insert(order, (called, rate.factor));
    }
    found.into_values().collect()
}

/// Whether each of the patterns that `field` states fits one of the parameters `names`.
///
/// # Errors
/// The first that fits none.
pub(in crate::learn) fn check_patterns(
    field: &'static str,
    patterns: &[String],
    names: &[String],
) -> Result<(), LearnError> {
    let fits_none = |pattern: &&String| !names.iter().any(|name| fits(pattern, name));
    match patterns.iter().find(fits_none) {
        Some(pattern) => Err(LearnError::NoSuchParameter {
            field,
            pattern: pattern.clone(),
            near: near(pattern, names),
        }),
        None => Ok(()),
    }
}

/// Where a parameter stands in a model, from the ground up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// In the tables that ids are looked up in, and what belongs to them.
    Embeddings,
    /// In a block of weights that computes a layer of the encoder, or several; counted from 0.
    Layer(usize),
    /// In the encoder above its layers or beside them: a pooler, a last norm.
    Above,
    /// In what stands on the encoder.
    Head,
}

/// Where each of the parameters `names` stands, which are all of a model.
///
/// A layer's names have `.layer.N.` or `.layers.N.` in them (or a longer word with that ending, as ALBERT has), those of
/// embeddings the word. What shares their first word (`bert`, `roberta`, …) is the encoder's, all else the head's.
pub fn places<S: AsRef<str>>(names: &[S]) -> BTreeMap<&str, Place> {
    let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
    let root = |name: &str| name.split('.').next().unwrap_or_default().to_owned();
    let roots: BTreeSet<String> = names
        .iter()
        .filter(|name| inner(name).is_some())
        .map(|name| root(name))
        .collect();
    let in_group = names
        .iter()
        .filter_map(|name| group(name))
        .map(|(_, block)| block + 1);
    let in_group = in_group.max().unwrap_or(0);
    let of = |&name: &&'_ str| match inner(name) {
        Some(place) => match group(name) {
            Some((group, block)) => Place::Layer(group * in_group + block),
            None => place,
        },
        None if roots.contains(&root(name)) => Place::Above,
        None => Place::Head,
    };
    names.iter().map(|name| (*name, of(name))).collect()
}

/// The group, and the block in it, that a name of ALBERT states.
fn group(name: &str) -> Option<(usize, usize)> {
    let (group, rest) = name.split_once("layer_groups.")?.1.split_once('.')?;
    let (block, _) = rest.split_once("layers.")?.1.split_once('.')?;
    Some((group.parse().ok()?, block.parse().ok()?))
}

/// The place that a name states by itself.
fn inner(name: &str) -> Option<Place> {
    let parts: Vec<&str> = name.split('.').collect();
    let layer = parts.windows(2).find_map(|pair| match pair {
        [word, number] if word.ends_with("layer") || word.ends_with("layers") => {
            number.parse().ok()
        }
        _ => None,
    });
    match layer {
        Some(layer) => Some(Place::Layer(layer)),
        None => name.contains("embedding").then_some(Place::Embeddings),
    }
}

/// How many names a message shows.
const SHOWN: usize = 3;

/// The names most like a pattern that fits none.
fn near(pattern: &str, names: &[String]) -> Vec<String> {
    let plain: String = pattern.chars().filter(|&c| c != '*' && c != '?').collect();
    let mut scored: Vec<(f64, &String)> = names
        .iter()
        .map(|name| (strsim::normalized_damerau_levenshtein(&plain, name), name))
        .collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    let shown = scored.into_iter().take(SHOWN);
    shown.map(|(_, name)| name.clone()).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_what_learns_at_a_rate_of_its_own_is_a_group() {
        let names = [
            "bert.embeddings.word_embeddings.weight",
            "bert.encoder.layer.0.output.dense.weight",
            "bert.encoder.layer.1.output.dense.weight",
            "bert.encoder.layer.1.output.dense.bias",
            "bert.pooler.dense.weight",
            "classifier.weight",
        ]
        .map(str::to_owned);
        let of = |settings: OptimizerSettings| {
            let rates = rates(&settings, &names).unwrap();
            groups(&settings, &rates)
        };
        assert_eq!(of(OptimizerSettings::default()), []);
        let settings = OptimizerSettings {
            learning_rate: 1e-4,
            layer_decay: 0.5,
            head_learning_rate: Some(1e-3),
            groups: vec![
                ParameterGroup {
                    patterns: vec!["*pooler*".to_owned()],
                    learning_rate: None,
                    weight_decay: Some(0.5),
                },
                ParameterGroup {
                    patterns: vec!["*.bias".to_owned()],
                    learning_rate: Some(0.0),
                    weight_decay: None,
                },
            ],
            ..OptimizerSettings::default()
        };
        let wanted = [
            ("embeddings", 0.125),
            ("layer_00", 0.25),
            ("layer_01", 0.5),
            ("head", 10.0),
            ("group_1", 0.0),
        ];
        assert_eq!(
            of(settings),
            wanted.map(|(name, factor)| (name.to_owned(), factor))
        );
    }

    #[test]
    fn places_are_read_from_the_names_of_every_family() {
        let names = [
            ("bert.embeddings.word_embeddings.weight", Place::Embeddings),
            ("bert.embeddings.LayerNorm.bias", Place::Embeddings),
            (
                "bert.encoder.layer.0.attention.self.query.weight",
                Place::Layer(0),
            ),
            (
                "bert.encoder.layer.11.output.LayerNorm.weight",
                Place::Layer(11),
            ),
            ("bert.pooler.dense.weight", Place::Above),
            ("classifier.weight", Place::Head),
            ("crf.transitions", Place::Head),
        ];
        let listed = names.map(|(name, _)| name);
        let found = places(&listed);
        for (name, place) in names {
            assert_eq!(found[name], place, "{name}");
        }
        let others = [
            (
                "distilbert.transformer.layer.3.ffn.lin1.weight",
                Place::Layer(3),
            ),
            ("pre_classifier.weight", Place::Head),
            ("electra.embeddings_project.weight", Place::Embeddings),
            (
                "albert.encoder.embedding_hidden_mapping_in.weight",
                Place::Embeddings,
            ),
            (
                "albert.encoder.albert_layer_groups.0.albert_layers.0.ffn.weight",
                Place::Layer(0),
            ),
            ("model.layers.21.attn.Wqkv.weight", Place::Layer(21)),
            ("model.final_norm.weight", Place::Above),
            ("head.dense.weight", Place::Head),
            ("qa_outputs.bias", Place::Head),
        ];
        let listed = others.map(|(name, _)| name);
        let found = places(&listed);
        for (name, place) in others {
            assert_eq!(found[name], place, "{name}");
        }
    }

    fn names() -> Vec<String> {
        [
            "bert.embeddings.word_embeddings.weight",
            "bert.encoder.layer.0.output.dense.weight",
            "bert.encoder.layer.0.output.dense.bias",
            "bert.encoder.layer.1.output.dense.weight",
            "bert.pooler.dense.weight",
            "classifier.weight",
            "classifier.bias",
        ]
        .map(str::to_owned)
        .to_vec()
    }

    fn group(
        patterns: &[&str],
        learning_rate: Option<f64>,
        weight_decay: Option<f64>,
    ) -> ParameterGroup {
        ParameterGroup {
            patterns: patterns.iter().map(|&pattern| pattern.to_owned()).collect(),
            learning_rate,
            weight_decay,
        }
    }

    #[test]
    fn rates_shrink_from_layer_to_layer_and_the_head_has_its_own() {
        let settings = OptimizerSettings {
            learning_rate: 1e-4,
            layer_decay: 0.5,
            head_learning_rate: Some(1e-3),
            ..OptimizerSettings::default()
        };
        let factors: Vec<f64> = {
            let rates = rates(&settings, &names()).unwrap();
            names().iter().map(|name| rates[name].factor).collect()
        };
        assert_eq!(factors, [0.125, 0.25, 0.25, 0.5, 1.0, 10.0, 10.0]);
    }

    #[test]
    fn the_first_group_that_names_a_parameter_decides() {
        let settings = OptimizerSettings {
            learning_rate: 1e-4,
            layer_decay: 0.5,
            groups: vec![
                group(&["*.bias"], None, Some(0.5)),
                group(&["*.layer.0.*", "classifier.*"], Some(3e-4), Some(0.0)),
            ],
            ..OptimizerSettings::default()
        };
        let rates = rates(&settings, &names()).unwrap();
        let of = |name: &str| (rates[name].factor, rates[name].weight_decay);
        assert_eq!(of("bert.encoder.layer.0.output.dense.bias"), (0.25, 0.5));
        let (factor, decay) = of("bert.encoder.layer.0.output.dense.weight");
        assert!((factor - 3.0).abs() < 1e-12 && decay == 0.0, "{factor}");
        assert_eq!(of("classifier.bias"), (1.0, 0.5));
        assert_eq!(of("bert.pooler.dense.weight"), (1.0, 0.01));
    }

    #[test]
    fn a_pattern_that_fits_nothing_is_an_error_with_the_names_near_it() {
        let settings = OptimizerSettings {
            groups: vec![group(&["clasifier.*"], Some(1e-3), None)],
            ..OptimizerSettings::default()
        };
        match rates(&settings, &names()) {
            Err(LearnError::NoSuchParameter { pattern, near, .. }) => {
                assert_eq!(pattern, "clasifier.*");
                assert!(near[0].starts_with("classifier."), "{near:?}");
            }
            other => panic!("expected an error, got {other:?}"),
        }
    }

    #[test]
    fn a_pattern_fits_a_name_as_a_whole() {
        for (pattern, name, wanted) in [
            ("*", "", true),
            ("*", "a.b", true),
            ("a.*", "a.b.c", true),
            ("*.layer.0.*", "bert.encoder.layer.0.output", true),
            ("*.layer.1.*", "bert.encoder.layer.11.output", false),
            ("*.layer.?.*", "bert.encoder.layer.7.output", true),
            ("a", "ab", false),
            ("b", "ab", false),
            ("a**b", "ab", true),
            ("?", "", false),
        ] {
            assert_eq!(fits(pattern, name), wanted, "{pattern} and {name}");
        }
    }

    proptest! {
        #[test]
        fn a_name_fits_itself_and_any_pattern_that_hides_some_of_it(
            name in "[a-c.]{0,12}",
            from in 0_usize..13,
            to in 0_usize..13,
        ) {
            prop_assert!(fits(&name, &name));
            let (from, to) = (from.min(to).min(name.len()), from.max(to).min(name.len()));
            for hidden in ["*".to_owned(), "?".repeat(to - from)] {
                let pattern = [&name[..from], &hidden, &name[to..]].concat();
                prop_assert!(fits(&pattern, &name));
            }
            let longer = format!("{name}?");
            prop_assert!(!fits(&longer, &name));
        }
    }
}

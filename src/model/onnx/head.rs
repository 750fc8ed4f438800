//! What stands between the encoder and the answers, as a graph: see `model::head`, in whose order this is.
//!
//! It is small and computed in 32 bits whatever the precision of the graph: answers need not be rounded, and a sum over a long
//! text may be beyond the range of 16 bits.

use super::bert;
use super::graph::{Graph, Int, Real, Single, Value};
use super::layers::{Builder, Inputs, activated};
use crate::model::config::EncoderConfig;
use crate::model::head::{HeadKind, Summary};
use crate::model::stack::{Combine, Stack};

/// What a head answers.
pub(super) enum Answers {
    /// `[texts, outputs]`.
    Texts(Value<Single, 2>),
    /// `[texts, length, outputs]`.
    Tokens(Value<Single, 3>),
}

/// The answers to all hidden states, `[texts, length, hidden]` each.
pub(super) fn answers<T: Real>(
    builder: &mut Builder,
    (kind, config): (&HeadKind, &EncoderConfig),
    states: &[Value<T, 3>],
    inputs: &Inputs,
) -> Answers {
    builder.graph.enter("head");
    let stack = kind.stack().cloned().unwrap_or_default();
    let count = stack.layers.min(states.len());
    let states = states[states.len() - count..].iter();
    let states: Vec<Value<Single, 3>> = states.map(|state| builder.graph.cast(state)).collect();
    let read = combined(&mut builder.graph, &stack, &states); // [texts, length, read]
    let reads = kind.reads(config);
    match reads.summary(kind.dense(config)) {
        None => Answers::Tokens(layers(builder, kind, config, &stack, &read)),
        Some(summary) => {
            let mut one = summarised(&mut builder.graph, &read, summary, inputs); // [texts, read]
            if kind.reads_pooler(config) {
                one = bert::pooler(builder, config, &one);
            }
            Answers::Texts(layers(builder, kind, config, &stack, &one))
        }
    }
}

/// `[texts, read]` → `[texts, outputs]`, or the same with tokens.
fn layers<const D: usize>(
    builder: &mut Builder,
    kind: &HeadKind,
    config: &EncoderConfig,
    stack: &Stack,
    read: &Value<Single, D>,
) -> Value<Single, D> {
    let (width, outputs) = (config.hidden_size, kind.outputs().unwrap_or_default());
    let mut read = read.clone();
    let own = kind.dense(config);
    if let Some(own) = own {
        read = builder.linear("head.dense", &read, [width, width], own.bias); // […, hidden]
        read = activated(&mut builder.graph, &read, own.activation);
        if let Some(norm) = own.norm {
            read = builder.layer_norm("head.norm", &read, width, norm.epsilon, norm.shifts);
        }
    }
    let mut last = stack.combined_width(width);
    for (number, sizes) in stack.dense(last).into_iter().enumerate() {
        read = builder.linear(&format!("head.mlp.{number}"), &read, sizes, true); // […, width of the layer]
        read = activated(&mut builder.graph, &read, stack.activation);
        last = sizes[1];
    }
    let name = match kind {
        _ if own.is_some() => "answers",
        HeadKind::Spans => "qa_outputs",
        HeadKind::Texts { .. } | HeadKind::Tokens { .. } | HeadKind::Masked { .. } => "classifier",
    };
    builder.linear(&format!("head.{name}"), &read, [last, outputs], true) // […, outputs]
}

/// The hidden states that are read as one: `[texts, length, hidden]` each → `[texts, length, read]`.
fn combined(graph: &mut Graph, stack: &Stack, states: &[Value<Single, 3>]) -> Value<Single, 3> {
    let (first, rest) = states.split_first().expect("at least one layer is read");
    match stack.combine {
        _ if rest.is_empty() => first.clone(),
        Combine::Concat => graph.concat(&states.iter().collect::<Vec<_>>(), 2),
        Combine::Mean => {
            let sum = rest
                .iter()
                .fold(first.clone(), |sum, state| graph.add(&sum, state));
            graph.div_number(&sum, states.len() as f64)
        }
    }
}

/// Hidden states `[texts, length, read]` → one vector per text, `[texts, read]`.
fn summarised(
    graph: &mut Graph,
    hidden: &Value<Single, 3>,
    summary: Summary,
    inputs: &Inputs,
) -> Value<Single, 2> {
    match summary {
        Summary::First => graph.first(hidden),
        Summary::Mean => {
            let real: Value<Int, 3> = graph.unsqueeze(&inputs.mask, &[2]); // [texts, length, 1]
            let real: Value<Single, 3> = graph.cast(&real);
            let count = graph.sum(&real, 1); // [texts, 1, 1]
            let count = graph.at_least(&count, 1.0);
            let kept = graph.mul(hidden, &real);
            let sum = graph.sum(&kept, 1); // [texts, 1, read]
            let mean = graph.div(&sum, &count);
            graph.squeeze(&mean, 1) // [texts, read]
        }
        Summary::Max => {
            let mask: Value<Int, 3> = graph.unsqueeze(&inputs.mask, &[2]); // [texts, length, 1]
            let padding = graph.equals(&mask, 0);
            let least = graph.number(f64::from(f32::MIN));
            let real = graph.choose(&padding, &least, hidden); // [texts, length, read]
            graph.largest(&real)
        }
    }
}

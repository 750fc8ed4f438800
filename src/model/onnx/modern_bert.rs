//! ModernBERT as a graph: see `model::modern_bert`, in whose order this is.
//!
//! What every layer adds to is never normalised on its way, and grows; it and the LayerNorms are computed in 32 bits whatever the
//! precision of the graph.

use super::graph::{Float, Graph, Single, Value};
use super::layers::{
    Builder, Inputs, activated, attend, by_head, hidden_beyond, hidden_padding, scores,
};
use crate::kernels::Rotary;
use crate::model::modern_bert::{LayerType, ModernBertConfig};

/// The path of the encoder among the model's fields.
const ENCODER: &str = "encoder.ModernBert";

/// What layers of one type have in common.
struct Seen {
    /// What is added to scores: `[texts, 1, 1 or length, length]`.
    hidden: Value<Float, 4>,
    /// Of the angles by which queries and keys are turned, `[1, 1, length, size / 2]`.
    cosines: Value<Float, 4>,
    sines: Value<Float, 4>,
}

/// What the first layer is given and what each layer gives, the last normalised, `[texts, length, hidden]`.
pub(super) fn states(
    builder: &mut Builder,
    config: &ModernBertConfig,
    inputs: &Inputs,
) -> Vec<Value<Single, 3>> {
    builder.graph.enter("embeddings");
    let path = |name: &str| format!("{ENCODER}.{name}");
    let shape = [config.vocab_size, config.hidden_size];
    let words = builder.words(&path("embeddings.tok_embeddings"), inputs, shape);
    let words = builder.graph.cast(&words);
    let mut states = vec![norm(builder, config, &path("embeddings.norm"), &words)];
    let padding = hidden_padding(&mut builder.graph, inputs);
    let mut types: Vec<(LayerType, Seen)> = Vec::new();
    let mut hidden = states[0].clone();
    for number in 0..config.num_hidden_layers {
        let of = config.layer_type(number);
        if !types.iter().any(|(known, _)| *known == of) {
            builder.graph.enter(match of {
                LayerType::Full => "full_attention",
                LayerType::Sliding => "sliding_attention",
            });
            types.push((of, seen(&mut builder.graph, config, of, &padding, inputs)));
        }
        builder.graph.enter(format!("layers.{number}"));
        let seen = types.iter().find(|(known, _)| *known == of);
        let (_, seen) = seen.expect("its type was made before it");
        let path = format!("{ENCODER}.layers.{number}");
        hidden = layer(builder, config, &path, number, &hidden, seen);
        states.push(hidden.clone());
    }
    builder.graph.enter("final_norm");
    if let Some(last) = states.last_mut() {
        *last = norm(builder, config, &path("final_norm"), &hidden);
    }
    states
}

fn norm(
    builder: &mut Builder,
    config: &ModernBertConfig,
    path: &str,
    input: &Value<Single, 3>,
) -> Value<Single, 3> {
    let (width, epsilon) = (config.hidden_size, config.norm_eps);
    builder.layer_norm(path, input, width, epsilon, config.norm_bias)
}

fn seen(
    graph: &mut Graph,
    config: &ModernBertConfig,
    of: LayerType,
    padding: &Value<Float, 4>,
    inputs: &Inputs,
) -> Seen {
    let size = config.hidden_size / config.num_attention_heads;
    let frequencies = graph.singles(&Rotary::frequencies(size, config.theta(of)));
    let frequencies: Value<Single, 2> = graph.unsqueeze(&frequencies, &[0]); // [1, size / 2]
    let places = graph.counted(&inputs.length); // [length]
    let places: Value<Single, 1> = graph.cast(&places);
    let places: Value<Single, 2> = graph.unsqueeze(&places, &[1]); // [length, 1]
    let angles = graph.mul(&places, &frequencies); // [length, size / 2]
    let (cosines, sines) = (graph.cos(&angles), graph.sin(&angles));
    let [cosines, sines] = [cosines, sines].map(|turns| {
        let turns: Value<Float, 2> = graph.cast(&turns);
        graph.unsqueeze(&turns, &[0, 1]) // [1, 1, length, size / 2]
    });
    let hidden = match of {
        LayerType::Full => padding.clone(),
        LayerType::Sliding => hidden_beyond(graph, padding, inputs, config.local_attention / 2),
    };
    Seen {
        hidden,
        cosines,
        sines,
    }
}

/// One block, `[texts, length, hidden]` → `[texts, length, hidden]`.
fn layer(
    builder: &mut Builder,
    config: &ModernBertConfig,
    layer: &str,
    number: usize,
    hidden: &Value<Single, 3>,
    seen: &Seen,
) -> Value<Single, 3> {
    let (width, wide) = (config.hidden_size, config.intermediate_size);
    let size = width / config.num_attention_heads;
    let heads = [config.num_attention_heads, size];
    // The first layer is given what the embeddings normalised.
    let normal = match number {
        0 => hidden.clone(),
        _ => norm(builder, config, &format!("{layer}.attn_norm"), hidden),
    };
    let normal: Value<Float, 3> = builder.graph.cast(&normal);
    let path = format!("{layer}.attn.wqkv");
    let all = builder.linear(&path, &normal, [width, 3 * width], config.attention_bias); // [texts, length, 3 * hidden]
    let graph = &mut builder.graph;
    let [query, key, value] = [0, 1, 2].map(|part| {
        let part = graph.part(&all, 2, part * width..(part + 1) * width); // [texts, length, hidden]
        by_head(graph, &part, heads) // [texts, heads, length, size]
    });
    let [query, key] = [query, key].map(|rows| turned(graph, &rows, seen, size));
    let key = graph.transpose(&key, [0, 1, 3, 2]); // [texts, heads, size, length]
    let scores = scores(graph, &query, &key, size);
    let context = attend(graph, &scores, &seen.hidden, &value, width);
    let path = format!("{layer}.attn.wo");
    let output = builder.linear(&path, &context, [width, width], config.attention_bias); // [texts, length, hidden]
    let output = builder.graph.cast(&output);
    let hidden = builder.graph.add(hidden, &output);

    let normal = norm(builder, config, &format!("{layer}.mlp_norm"), &hidden);
    let normal: Value<Float, 3> = builder.graph.cast(&normal);
    let path = format!("{layer}.mlp.wi");
    let both = builder.linear(&path, &normal, [width, 2 * wide], config.mlp_bias); // [texts, length, 2 * intermediate]
    let graph = &mut builder.graph;
    let [input, gate] = [0, wide].map(|from| graph.part(&both, 2, from..from + wide)); // [texts, length, intermediate]
    let input = activated(graph, &input, config.hidden_activation);
    let gated = graph.mul(&input, &gate);
    let path = format!("{layer}.mlp.wo");
    let output = builder.linear(&path, &gated, [wide, width], config.mlp_bias); // [texts, length, hidden]
    let output = builder.graph.cast(&output);
    builder.graph.add(&hidden, &output)
}

/// Vectors turned by the place of their row, an element of the first half with the one in the same place of the second:
/// `[texts, heads, length, size]` → `[texts, heads, length, size]`.
fn turned(graph: &mut Graph, rows: &Value<Float, 4>, seen: &Seen, size: usize) -> Value<Float, 4> {
    let half = size / 2;
    let [one, other] = [0, half].map(|from| graph.part(rows, 3, from..from + half)); // [texts, heads, length, size / 2]
    let mut products = |of: &Value<Float, 4>| {
        let by_cosine = graph.mul(of, &seen.cosines);
        let by_sine = graph.mul(of, &seen.sines);
        [by_cosine, by_sine]
    };
    let [one_cosine, one_sine] = products(&one);
    let [other_cosine, other_sine] = products(&other);
    let first = graph.sub(&one_cosine, &other_sine);
    let second = graph.add(&other_cosine, &one_sine);
    graph.concat(&[&first, &second], 3) // [texts, heads, length, size]
}

//! BERT and the families that compute the same with small differences, as a graph: see `model::bert`, in whose order this is.

use super::graph::{Float, Single, Value};
use super::layers::{Builder, Inputs, attend, by_head, hidden_padding, keys_by_head, scores};
use crate::model::config::EncoderConfig;

/// The path of the encoder among the model's fields.
const ENCODER: &str = "encoder.Bert";

/// What the first layer is given and what each layer gives, `[texts, length, hidden]`.
pub(super) fn states(
    builder: &mut Builder,
    config: &EncoderConfig,
    inputs: &Inputs,
) -> Vec<Value<Float, 3>> {
    builder.graph.enter("embeddings");
    let mut hidden = embed(builder, config, inputs);
    let mut states = vec![hidden.clone()];
    let padding = hidden_padding(&mut builder.graph, inputs);
    for (number, block) in config.layers.order().into_iter().enumerate() {
        builder.graph.enter(format!("layer.{number}"));
        let layer = format!("{ENCODER}.encoder.layer.{block}");
        hidden = self::layer(builder, config, &layer, &hidden, &padding);
        states.push(hidden.clone());
    }
    states
}

/// Word, position and segment embeddings, summed and normalised, and projected where they are narrower than the hidden states.
fn embed(builder: &mut Builder, config: &EncoderConfig, inputs: &Inputs) -> Value<Float, 3> {
    let path = |name: &str| format!("{ENCODER}.embeddings.{name}");
    let (width, epsilon) = (config.embedding_size, config.layer_norm_eps);
    let words = builder.words(&path("word_embeddings"), inputs, [config.vocab_size, width]);
    let segments = [config.type_vocab_size, width];
    let embedded = match builder.segments(&path("token_type_embeddings"), inputs, segments) {
        Some(segments) => builder.graph.add(&words, &segments),
        None => words,
    };
    let positions = builder.positions(
        &path("position_embeddings"),
        inputs,
        [config.max_position_embeddings, width],
        config.first_position,
    );
    let embedded = builder.graph.add(&embedded, &positions); // [texts, length, embedding]
    let embedded = builder.layer_norm(&path("layer_norm"), &embedded, width, epsilon, true);
    match config.projects {
        true => {
            let path = format!("{ENCODER}.embeddings_project");
            builder.linear(&path, &embedded, [width, config.hidden_size], true) // [texts, length, hidden]
        }
        false => embedded,
    }
}

/// One block, `[texts, length, hidden]` → `[texts, length, hidden]`.
fn layer(
    builder: &mut Builder,
    config: &EncoderConfig,
    layer: &str,
    hidden: &Value<Float, 3>,
    padding: &Value<Float, 4>,
) -> Value<Float, 3> {
    let (width, epsilon) = (config.hidden_size, config.layer_norm_eps);
    let heads = [
        config.num_attention_heads,
        width / config.num_attention_heads,
    ];
    let [query, key, value] = ["query", "key", "value"].map(|name| {
        let path = format!("{layer}.attention.self_attention.{name}");
        builder.linear(&path, hidden, [width, width], true) // [texts, length, hidden]
    });
    let graph = &mut builder.graph;
    let query = by_head(graph, &query, heads);
    let key = keys_by_head(graph, &key, heads);
    let value = by_head(graph, &value, heads);
    let scores = scores(graph, &query, &key, heads[1]);
    let context = attend(graph, &scores, padding, &value, width);
    let path = format!("{layer}.attention.output");
    let hidden = builder.output(&path, &context, hidden, [width, width], epsilon);
    let sizes = [width, config.intermediate_size];
    builder.dense_part(layer, &hidden, sizes, config.hidden_act, epsilon)
}

/// tanh of a dense layer over the first token, `[texts, hidden]` → `[texts, hidden]`.
pub(super) fn pooler(
    builder: &mut Builder,
    config: &EncoderConfig,
    first: &Value<Single, 2>,
) -> Value<Single, 2> {
    let (path, width) = (format!("{ENCODER}.pooler.dense"), config.hidden_size);
    let dense = builder.linear(&path, first, [width, width], true);
    builder.graph.tanh(&dense)
}

//! MPNet as a graph: see `model::mpnet`, in whose order this is.

use super::graph::{Float, Value};
use super::layers::{
    Builder, Inputs, attend, by_head, distances, hidden_padding, keys_by_head, scores,
};
use crate::model::mpnet::{FIRST_POSITION, MpNetConfig, bucket};

/// The path of the encoder among the model's fields.
const ENCODER: &str = "encoder.MpNet";

/// What the first layer is given and what each layer gives, `[texts, length, hidden]`.
pub(super) fn states(
    builder: &mut Builder,
    config: &MpNetConfig,
    inputs: &Inputs,
) -> Vec<Value<Float, 3>> {
    builder.graph.enter("embeddings");
    let mut hidden = embed(builder, config, inputs);
    let mut states = vec![hidden.clone()];
    builder.graph.enter("distances");
    let bias = bias(builder, config, inputs);
    let padding = hidden_padding(&mut builder.graph, inputs);
    // All layers add the same.
    let bias = builder.graph.add(&bias, &padding); // [texts, heads, length, length]
    for number in 0..config.num_hidden_layers {
        builder.graph.enter(format!("layer.{number}"));
        let layer = format!("{ENCODER}.encoder.layer.{number}");
        hidden = self::layer(builder, config, &layer, &hidden, &bias);
        states.push(hidden.clone());
    }
    states
}

/// Word and position embeddings, summed and normalised.
fn embed(builder: &mut Builder, config: &MpNetConfig, inputs: &Inputs) -> Value<Float, 3> {
    let path = |name: &str| format!("{ENCODER}.embeddings.{name}");
    let width = config.hidden_size;
    let words = builder.words(&path("word_embeddings"), inputs, [config.vocab_size, width]);
    let positions = builder.positions(
        &path("position_embeddings"),
        inputs,
        [config.max_position_embeddings, width],
        FIRST_POSITION,
    );
    let embedded = builder.graph.add(&words, &positions); // [texts, length, hidden]
    let epsilon = config.layer_norm_eps;
    builder.layer_norm(&path("layer_norm"), &embedded, width, epsilon, true)
}

/// What is added to the scores of each head by the distance of key and query, `[1, heads, length, length]`.
fn bias(builder: &mut Builder, config: &MpNetConfig, inputs: &Inputs) -> Value<Float, 4> {
    let table = builder.table(
        &format!("{ENCODER}.encoder.relative_attention_bias"),
        [
            config.relative_attention_num_buckets,
            config.num_attention_heads,
        ],
    );
    let graph = &mut builder.graph;
    let longest = config.max_length() as i64;
    let buckets: Vec<i64> = (1 - longest..longest)
        .map(|distance| bucket(distance) as i64)
        .collect();
    let buckets = graph.ints(&buckets);
    let distances = distances(graph, &inputs.length); // [length, length]
    let entries = graph.add_int(&distances, longest - 1);
    let buckets = graph.entries(&buckets, &entries); // [length, length]
    let bias = graph.lookup(&table, &buckets); // [length, length, heads]
    let bias = graph.transpose(&bias, [2, 0, 1]); // [heads, length, length]
    graph.unsqueeze(&bias, &[0])
}

/// One block, `[texts, length, hidden]` → `[texts, length, hidden]`.
fn layer(
    builder: &mut Builder,
    config: &MpNetConfig,
    layer: &str,
    hidden: &Value<Float, 3>,
    bias: &Value<Float, 4>,
) -> Value<Float, 3> {
    let (width, epsilon) = (config.hidden_size, config.layer_norm_eps);
    let heads = [
        config.num_attention_heads,
        width / config.num_attention_heads,
    ];
    let attention = format!("{layer}.attention");
    let [query, key, value] = ["q", "k", "v"].map(|name| {
        let path = format!("{attention}.attn.{name}");
        builder.linear(&path, hidden, [width, width], true) // [texts, length, hidden]
    });
    let graph = &mut builder.graph;
    let query = by_head(graph, &query, heads);
    let key = keys_by_head(graph, &key, heads);
    let value = by_head(graph, &value, heads);
    let scores = scores(graph, &query, &key, heads[1]);
    let context = attend(graph, &scores, bias, &value, width);
    let path = format!("{attention}.attn.o");
    let context = builder.linear(&path, &context, [width, width], true); // [texts, length, hidden]
    let sum = builder.graph.add(&context, hidden);
    let path = format!("{attention}.layer_norm");
    let hidden = builder.layer_norm(&path, &sum, width, epsilon, true);
    let sizes = [width, config.intermediate_size];
    builder.dense_part(layer, &hidden, sizes, config.hidden_act, epsilon)
}

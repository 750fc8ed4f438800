//! DeBERTa v2 and v3 as a graph: see `model::deberta`, in whose order this is.
//!
//! Which embedding a distance has is a constant of the graph, up to the longest text that the model is made for; a call takes the
//! middle of it.

use super::graph::{Float, Graph, Int, Value};
use super::layers::{
    Builder, Inputs, activated, attend, by_head, hidden_padding, keys_by_head, scores,
};
use crate::model::deberta::DebertaConfig;

/// The path of the encoder among the model's fields.
const ENCODER: &str = "encoder.Deberta";

/// The embeddings of distances, and which of them the distances within texts of the given length have.
struct Distances {
    /// `[2 * span, hidden]`.
    embeddings: Value<Float, 2>,
    /// Rows by distance, the key's place minus the query's, from `1 - length` to `length`: `[2 * length]`.
    rising: Value<Int, 1>,
    /// The same from `length - 1` down to `-length`.
    falling: Value<Int, 1>,
}

/// What the first layer is given and what each layer gives, `[texts, length, hidden]`.
pub(super) fn states(
    builder: &mut Builder,
    config: &DebertaConfig,
    inputs: &Inputs,
) -> Vec<Value<Float, 3>> {
    builder.graph.enter("embeddings");
    let mut hidden = embed(builder, config, inputs);
    let mut states = vec![hidden.clone()];
    builder.graph.enter("distances");
    let distances = distances(builder, config, inputs);
    let padding = hidden_padding(&mut builder.graph, inputs);
    for number in 0..config.num_hidden_layers {
        builder.graph.enter(format!("layer.{number}"));
        let layer = format!("{ENCODER}.encoder.layer.{number}");
        let seen = (distances.as_ref(), &padding);
        let given = hidden.clone();
        hidden = self::layer(builder, config, &layer, &given, seen, inputs);
        if number == 0 && config.conv_kernel_size > 0 {
            builder.graph.enter("conv");
            hidden = convolved(builder, config, &given, &hidden, inputs);
        }
        states.push(hidden.clone());
    }
    states
}

/// Words, and positions and segments where they have embeddings, summed, projected where they are narrower than the hidden
/// states, and normalised.
fn embed(builder: &mut Builder, config: &DebertaConfig, inputs: &Inputs) -> Value<Float, 3> {
    let path = |name: &str| format!("{ENCODER}.embeddings.{name}");
    let (width, hidden) = (config.embedding_size(), config.hidden_size);
    let mut embedded = builder.words(&path("word_embeddings"), inputs, [config.vocab_size, width]);
    if config.position_biased_input {
        let shape = [config.max_position_embeddings, width];
        let positions = builder.positions(&path("position_embeddings"), inputs, shape, 0);
        embedded = builder.graph.add(&embedded, &positions);
    }
    let shape = [config.type_vocab_size, width];
    if let Some(segments) = builder.segments(&path("token_type_embeddings"), inputs, shape) {
        embedded = builder.graph.add(&embedded, &segments);
    }
    if width != hidden {
        embedded = builder.linear(&path("embed_proj"), &embedded, [width, hidden], false); // [texts, length, hidden]
    }
    let epsilon = config.layer_norm_eps;
    builder.layer_norm(&path("layer_norm"), &embedded, hidden, epsilon, true)
}

fn distances(builder: &mut Builder, config: &DebertaConfig, inputs: &Inputs) -> Option<Distances> {
    let buckets = config.distances()?;
    let (width, epsilon) = (config.hidden_size, config.layer_norm_eps);
    let path = |name: &str| format!("{ENCODER}.encoder.{name}");
    let shape = [2 * buckets.span(), width];
    let mut embeddings = builder.table(&path("rel_embeddings"), shape);
    if config.normalises_distances() {
        embeddings = builder.layer_norm(&path("layer_norm"), &embeddings, width, epsilon, true);
    }
    let graph = &mut builder.graph;
    let longest = config.max_length() as i64;
    // The reference's distances are those of the query from the key.
    let rising: Vec<i64> = (1 - longest..=longest)
        .map(|distance| buckets.row(-distance) as i64)
        .collect();
    let falling: Vec<i64> = (-longest..longest)
        .rev()
        .map(|distance| buckets.row(-distance) as i64)
        .collect();
    let start = graph.int_sub(longest, &inputs.length); // [1]
    let end = graph.add_int(&inputs.length, longest); // [1]
    let [rising, falling] = [rising, falling].map(|rows| {
        let rows = graph.ints(&rows);
        graph.slice(&rows, 0, &start, &end) // [2 * length]
    });
    Some(Distances {
        embeddings,
        rising,
        falling,
    })
}

/// One block, `[texts, length, hidden]` → `[texts, length, hidden]`.
fn layer(
    builder: &mut Builder,
    config: &DebertaConfig,
    layer: &str,
    hidden: &Value<Float, 3>,
    (distances, padding): (Option<&Distances>, &Value<Float, 4>),
    inputs: &Inputs,
) -> Value<Float, 3> {
    let (width, epsilon) = (config.hidden_size, config.layer_norm_eps);
    let heads = [
        config.num_attention_heads,
        width / config.num_attention_heads,
    ];
    let attention = format!("{layer}.attention.self_attention");
    let [query, key, value] = ["query_proj", "key_proj", "value_proj"].map(|name| {
        let path = format!("{attention}.{name}");
        builder.linear(&path, hidden, [width, width], true) // [texts, length, hidden]
    });
    let graph = &mut builder.graph;
    let query = by_head(graph, &query, heads); // [texts, heads, length, size]
    let content = keys_by_head(graph, &key, heads); // [texts, heads, size, length]
    let value = by_head(graph, &value, heads);
    // The reference counts the configured terms as well where distances have no embeddings.
    let divisor = heads[1] * (1 + config.pos_att_type.count());
    let mut scores = scores(graph, &query, &content, divisor);
    if let Some(distances) = distances {
        let own = !config.share_att_key;
        if config.pos_att_type.c2p {
            let name = if own { "pos_key_proj" } else { "key_proj" };
            let path = format!("{attention}.{name}");
            let keys = vectors(
                builder,
                &path,
                &distances.embeddings,
                &distances.rising,
                heads,
            );
            let term = term(&mut builder.graph, &query, &keys, divisor, inputs);
            scores = builder.graph.add(&scores, &term);
        }
        if config.pos_att_type.p2c {
            let name = if own { "pos_query_proj" } else { "query_proj" };
            let path = format!("{attention}.{name}");
            let key = by_head(&mut builder.graph, &key, heads); // [texts, heads, length, size]
            let queries = vectors(
                builder,
                &path,
                &distances.embeddings,
                &distances.falling,
                heads,
            );
            // Here the rows are keys.
            let graph = &mut builder.graph;
            let term = term(graph, &key, &queries, divisor, inputs);
            let term = graph.transpose(&term, [0, 1, 3, 2]);
            scores = graph.add(&scores, &term);
        }
    }
    let context = attend(&mut builder.graph, &scores, padding, &value, width);
    let path = format!("{layer}.attention.output");
    let hidden = builder.output(&path, &context, hidden, [width, width], epsilon);
    let sizes = [width, config.intermediate_size];
    builder.dense_part(layer, &hidden, sizes, config.hidden_act, epsilon)
}

/// The vectors of distances: `[2 * span, hidden]` and rows `[2 * length]` → `[1, heads, size, 2 * length]`.
fn vectors(
    builder: &mut Builder,
    path: &str,
    embeddings: &Value<Float, 2>,
    rows: &Value<Int, 1>,
    [heads, size]: [usize; 2],
) -> Value<Float, 4> {
    let width = heads * size;
    let all = builder.linear(path, embeddings, [width, width], true); // [2 * span, hidden]
    let graph = &mut builder.graph;
    let split: Value<Float, 3> = graph.reshape(&all, [0, heads as i64, size as i64]); // [2 * span, heads, size]
    let split = graph.transpose(&split, [1, 2, 0]); // [heads, size, 2 * span]
    let chosen = graph.along_last(&split, rows); // [heads, size, 2 * length]
    graph.unsqueeze(&chosen, &[0])
}

/// The products of rows `[texts, heads, length, size]` with the vectors of their distances from all others:
/// `[texts, heads, length, length]`.
///
/// Against all distances they are `[texts, heads, length, 2 * length]`, in which the wanted numbers begin one place earlier row by
/// row. Cut from one long row and laid out in rows that are one number shorter, they stand one below the other.
fn term(
    graph: &mut Graph,
    rows: &Value<Float, 4>,
    vectors: &Value<Float, 4>,
    divisor: usize,
    inputs: &Inputs,
) -> Value<Float, 4> {
    let products = scores(graph, rows, vectors, divisor); // [texts, heads, length, 2 * length]
    let flat: Value<Float, 3> = graph.reshape(&products, [0, 0, -1]); // [texts, heads, length * 2 * length]
    let start = graph.add_int(&inputs.length, -1);
    let end = graph.ints(&[-1]);
    let flat = graph.slice(&flat, 2, &start, &end); // [texts, heads, length * (2 * length - 1)]
    let shorter = graph.mul_int(&inputs.length, 2);
    let shorter = graph.add_int(&shorter, -1);
    let laid: Value<Float, 4> = graph.reshape_to(&flat, &[0, 0, -1], &shorter); // [texts, heads, length, 2 * length - 1]
    let zero = graph.ints(&[0]);
    graph.slice(&laid, 3, &zero, &inputs.length) // [texts, heads, length, length]
}

/// A convolution over what the first layer is given, added to what it gives, both `[texts, length, hidden]`.
fn convolved(
    builder: &mut Builder,
    config: &DebertaConfig,
    given: &Value<Float, 3>,
    hidden: &Value<Float, 3>,
    inputs: &Inputs,
) -> Value<Float, 3> {
    let path = |name: &str| format!("{ENCODER}.encoder.conv.{name}");
    let (width, neighbours) = (config.hidden_size, config.conv_kernel_size);
    let kernels = builder.stored(&path("conv.weight"), [width, width, neighbours]);
    let shift = builder.stored(&path("conv.bias"), [width]);
    let graph = &mut builder.graph;
    // A text ends where its padding begins.
    let real: Value<Int, 3> = graph.unsqueeze(&inputs.mask, &[2]); // [texts, length, 1]
    let real = graph.cast(&real);
    let given = graph.mul(given, &real);
    let given = graph.transpose(&given, [0, 2, 1]); // [texts, hidden, length]
    let mixed = graph.convolution(&given, &kernels, &shift, neighbours);
    let mixed = graph.transpose(&mixed, [0, 2, 1]); // [texts, length, hidden]
    let mixed = activated(graph, &mixed, config.conv_act);
    let sum = graph.add(&mixed, hidden);
    let epsilon = config.layer_norm_eps;
    builder.layer_norm(&path("layer_norm"), &sum, width, epsilon, true)
}

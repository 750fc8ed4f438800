//! The compositions, and with them the fused forms, against 64-bit arithmetic written out from the definitions.
//!
//! GELU is checked where it is computed, in `cpu::gelu`.

use super::*;

/// Of one largest value in a tensor: the fused forms are to be this near to the true numbers.
const NEAR: f32 = 3e-6;

fn wide(matrix: &Matrix) -> Vec<f64> {
    matrix.values.iter().map(|x| f64::from(*x)).collect()
}

/// Both forms of the case against output and gradients in 64 bits.
fn check(case: &Case, output: &[f64], gradients: &[Vec<f64>]) {
    let narrow = |values: &[f64]| -> Vec<f32> { values.iter().map(|x| *x as f32).collect() };
    for (which, form) in [("fused", &case.fused), ("composed", &case.composed)] {
        let found = case.back(form, &Device::flex());
        let what = format!("{which} {}", case.name);
        close_to(&what, &found.output, &narrow(output), NEAR);
        assert_eq!(found.gradients.len(), gradients.len());
        for (input, (found, wanted)) in found.gradients.iter().zip(gradients).enumerate() {
            let what = format!("{what}: gradient by input {input}");
            close_to(&what, found.as_ref().unwrap(), &narrow(wanted), NEAR);
        }
    }
}

#[test]
fn linear_gives_what_its_definition_says() {
    let mut random = Random(61);
    let (rows, inputs, outputs) = (17, 33, 20);
    let case = linear_case(&mut random, rows, inputs, outputs);
    let [x, w, b] = [0, 1, 2].map(|which| wide(&case.inputs[which]));
    let flow = wide(&case.flow);
    let mut output = vec![0.0; rows * outputs];
    let mut by_x = vec![0.0; rows * inputs];
    let mut by_w = vec![0.0; inputs * outputs];
    let mut by_b = vec![0.0; outputs];
    for row in 0..rows {
        for to in 0..outputs {
            let g = flow[row * outputs + to];
            output[row * outputs + to] += b[to];
            by_b[to] += g;
            for from in 0..inputs {
                output[row * outputs + to] += x[row * inputs + from] * w[from * outputs + to];
                by_x[row * inputs + from] += g * w[from * outputs + to];
                by_w[from * outputs + to] += g * x[row * inputs + from];
            }
        }
    }
    check(&case, &output, &[by_x, by_w, by_b]);
}

/// A row of LayerNorm: the output, and the gradient by what is normalised. Adds to those by gamma and beta.
fn normalized(
    sum: &[f64],
    flow: &[f64],
    [gamma, beta]: [&[f64]; 2],
    [by_gamma, by_beta]: [&mut [f64]; 2],
) -> (Vec<f64>, Vec<f64>) {
    let width = sum.len() as f64;
    let mean = sum.iter().sum::<f64>() / width;
    let variance = sum.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / width;
    let deviation = (variance + 1e-12).sqrt();
    let normal: Vec<f64> = sum.iter().map(|x| (x - mean) / deviation).collect();
    let columns = 0..sum.len();
    let output = columns
        .clone()
        .map(|at| normal[at] * gamma[at] + beta[at])
        .collect();
    let by_normal: Vec<f64> = columns.clone().map(|at| flow[at] * gamma[at]).collect();
    let average = by_normal.iter().sum::<f64>() / width;
    let products = by_normal.iter().zip(&normal).map(|(g, x)| g * x);
    let slope = products.sum::<f64>() / width;
    let by_sum = columns
        .clone()
        .map(|at| (by_normal[at] - average - normal[at] * slope) / deviation)
        .collect();
    for at in columns {
        by_gamma[at] += flow[at] * normal[at];
        by_beta[at] += flow[at];
    }
    (output, by_sum)
}

#[test]
fn dropout_add_layer_norm_gives_what_its_definition_says() {
    let mut random = Random(62);
    let (rows, columns) = (70, 50);
    for drop in [Dropout::NONE, Dropout::new(0.3, 1, 2, 3)] {
        let case = layer_norm_case(&mut random, rows, columns, drop);
        let [x, residual, gamma, beta] = [0, 1, 2, 3].map(|which| wide(&case.inputs[which]));
        let flow = wide(&case.flow);
        let (mut output, mut by_x, mut by_residual) = (vec![], vec![], vec![]);
        let (mut by_gamma, mut by_beta) = (vec![0.0; columns], vec![0.0; columns]);
        for row in 0..rows {
            let cells = row * columns..(row + 1) * columns;
            let factors: Vec<f64> = (0..columns)
                .map(|column| f64::from(drop.row(row).factor(column)))
                .collect();
            let sum: Vec<f64> = x[cells.clone()]
                .iter()
                .zip(&residual[cells.clone()])
                .zip(&factors)
                .map(|((x, residual), factor)| x * factor + residual)
                .collect();
            let (y, by_sum) = normalized(
                &sum,
                &flow[cells],
                [&gamma, &beta],
                [&mut by_gamma, &mut by_beta],
            );
            output.extend(y);
            by_x.extend(by_sum.iter().zip(&factors).map(|(g, factor)| g * factor));
            by_residual.extend(by_sum);
        }
        check(&case, &output, &[by_x, by_residual, by_gamma, by_beta]);
    }
}

#[test]
fn attention_gives_what_its_definition_says() {
    let mut random = Random(63);
    let (heads, size) = (3, 16);
    let spans = Spans::packed([7, 1, 20, 70]);
    for drop in [Dropout::NONE, Dropout::new(0.3, 1, 2, 3)] {
        let case = attention_case(&mut random, &spans, heads, size, drop);
        let [q, k, v] = [0, 1, 2].map(|which| wide(&case.inputs[which]));
        let flow = wide(&case.flow);
        let zeros = || vec![0.0; q.len()];
        let (mut output, mut by_q, mut by_k, mut by_v) = (zeros(), zeros(), zeros(), zeros());
        let scale = 1.0 / (size as f64).sqrt();
        for text in spans.texts() {
            for head in 0..heads {
                let cells = |row: usize| {
                    let start = (row * heads + head) * size;
                    start..start + size
                };
                let dot = |a: &[f64], i: usize, b: &[f64], j: usize| -> f64 {
                    let pairs = a[cells(i)].iter().zip(&b[cells(j)]);
                    pairs.map(|(x, y)| x * y).sum()
                };
                for i in text.clone() {
                    let scores: Vec<f64> =
                        text.clone().map(|j| dot(&q, i, &k, j) * scale).collect();
                    let top = scores.iter().copied().fold(f64::MIN, f64::max);
                    let total: f64 = scores.iter().map(|score| (score - top).exp()).sum();
                    let chances: Vec<f64> = scores
                        .iter()
                        .map(|score| (score - top).exp() / total)
                        .collect();
                    let mask = drop.row(i * heads + head);
                    let factors: Vec<f64> = (0..text.len())
                        .map(|column| f64::from(mask.factor(column)))
                        .collect();
                    let by_chances: Vec<f64> = text
                        .clone()
                        .zip(&factors)
                        .map(|(j, factor)| dot(&flow, i, &v, j) * factor)
                        .collect();
                    let pairs = chances.iter().zip(&by_chances);
                    let average: f64 = pairs.map(|(chance, by)| chance * by).sum();
                    for (place, j) in text.clone().enumerate() {
                        let weight = chances[place] * factors[place];
                        let by_score = chances[place] * (by_chances[place] - average) * scale;
                        for (at_i, at_j) in cells(i).zip(cells(j)) {
                            output[at_i] += weight * v[at_j];
                            by_v[at_j] += weight * flow[at_i];
                            by_q[at_i] += by_score * k[at_j];
                            by_k[at_j] += by_score * q[at_i];
                        }
                    }
                }
            }
        }
        check(&case, &output, &[by_q, by_k, by_v]);
    }
}

/// Queries, keys, values and further inputs of a case, their gradients, and the output, in 64 bits.
struct Wide {
    inputs: Vec<Vec<f64>>,
    gradients: Vec<Vec<f64>>,
    output: Vec<f64>,
}

#[test]
fn attention_by_distance_gives_what_its_definition_says() {
    let mut random = Random(65);
    let (heads, size) = (3, 16);
    let width = heads * size;
    let spans = Spans::packed([7, 1, 20, 70]);
    let distances = Distance::count(70);
    for (by, drop) in [
        By::Window(0),
        By::Window(9),
        By::Bias,
        By::Keys,
        By::Queries,
        By::KeysAndQueries,
    ]
    .into_iter()
    .flat_map(|by| [Dropout::NONE, Dropout::new(0.3, 1, 2, 3)].map(|drop| (by, drop)))
    {
        let case = distance_case(&mut random, &spans, heads, size, by, drop);
        let inputs: Vec<Vec<f64>> = case.inputs.iter().map(wide).collect();
        let mut of = Wide {
            gradients: inputs.iter().map(|input| vec![0.0; input.len()]).collect(),
            output: vec![0.0; inputs[0].len()],
            inputs,
        };
        let flow = wide(&case.flow);
        let (keys, queries) = match by {
            By::Keys => (Some(3), None),
            By::Queries => (None, Some(3)),
            By::KeysAndQueries => (Some(3), Some(4)),
            By::Window(_) | By::Bias => (None, None),
        };
        // A score is the sum of products of a row of one input with a row of another.
        let terms = |i: usize, j: usize, distance: usize| {
            let content = [((0, i), (1, j))];
            let keys = keys.map(|keys| ((0, i), (keys, distance)));
            let queries = queries.map(|queries| ((1, j), (queries, distance)));
            content.into_iter().chain(keys).chain(queries)
        };
        let scale = 1.0 / ((size * terms(0, 0, 0).count()) as f64).sqrt();
        for text in spans.texts() {
            for (head, i) in (0..heads).flat_map(|head| text.clone().map(move |i| (head, i))) {
                let cells = |row: usize| row * width + head * size..row * width + (head + 1) * size;
                let dot = |a: &[f64], i: usize, b: &[f64], j: usize| -> f64 {
                    let pairs = a[cells(i)].iter().zip(&b[cells(j)]);
                    pairs.map(|(x, y)| x * y).sum()
                };
                let seen: Vec<usize> = match by {
                    By::Window(window) => {
                        let near = text.clone().filter(|j| i.abs_diff(*j) <= window);
                        near.collect()
                    }
                    _ => text.clone().collect(),
                };
                let at = |j: usize| j + 69 - i;
                let score = |j: usize| -> f64 {
                    let products = terms(i, j, at(j)).map(|((a, row), (b, other))| {
                        dot(&of.inputs[a], row, &of.inputs[b], other)
                    });
                    let bias = match by {
                        By::Bias => of.inputs[3][head * distances + at(j)],
                        _ => 0.0,
                    };
                    products.sum::<f64>() * scale + bias
                };
                let scores: Vec<f64> = seen.iter().map(|j| score(*j)).collect();
                let top = scores.iter().copied().fold(f64::MIN, f64::max);
                let total: f64 = scores.iter().map(|score| (score - top).exp()).sum();
                let mask = drop.row(i * heads + head);
                let factor = |j: usize| f64::from(mask.factor(j - text.start));
                let chances = scores.iter().map(|score| (score - top).exp() / total);
                let chances: Vec<f64> = chances.collect();
                let by_chance = |j: usize| dot(&flow, i, &of.inputs[2], j) * factor(j);
                let average = seen.iter().zip(&chances);
                let average: f64 = average.map(|(j, chance)| chance * by_chance(*j)).sum();
                let changes = seen.iter().zip(&chances);
                let changes = changes.map(|(j, chance)| chance * (by_chance(*j) - average));
                let changes: Vec<f64> = changes.collect();
                for ((j, chance), change) in seen.into_iter().zip(chances).zip(changes) {
                    let weight = chance * factor(j);
                    for (to, from) in cells(i).zip(cells(j)) {
                        of.output[to] += weight * of.inputs[2][from];
                        of.gradients[2][from] += weight * flow[to];
                    }
                    if let By::Bias = by {
                        of.gradients[3][head * distances + at(j)] += change;
                    }
                    for ((a, row), (b, other)) in terms(i, j, at(j)) {
                        for (x, y) in cells(row).zip(cells(other)) {
                            of.gradients[a][x] += change * scale * of.inputs[b][y];
                            of.gradients[b][y] += change * scale * of.inputs[a][x];
                        }
                    }
                }
            }
        }
        check(&case, &of.output, &of.gradients);
    }
}

#[test]
fn dropout_multiplies_by_its_factors() {
    let mut random = Random(64);
    let drop = Dropout::new(0.3, 1, 2, 3);
    let case = dropout_case(&mut random, 40, 30, drop);
    let times = |values: &[f32]| -> Vec<f64> {
        let rows = values.chunks(30).enumerate();
        rows.flat_map(|(row, values)| {
            let mask = drop.row(row);
            let columns = values.iter().enumerate();
            columns.map(move |(column, x)| f64::from(x * mask.factor(column)))
        })
        .collect()
    };
    let (output, by_input) = (times(&case.inputs[0].values), times(&case.flow.values));
    check(&case, &output, &[by_input]);
}

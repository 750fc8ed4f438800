//! Either size of tiles gives the same bits, with and without a window and a bias.

use super::*;

fn numbers(length: usize, salt: usize) -> Vec<f32> {
    (0..length)
        .map(|i| ((i * 31 + salt * 17) % 97) as f32 / 24.0 - 2.0)
        .collect()
}

#[test]
fn wide_and_narrow_tiles_give_the_same_bits() {
    let dropouts = [Dropout::NONE, Dropout::new(0.2, 1, 2, 3)];
    let lengths = [1, 2, 7, 16, 33, 64, 65, 130];
    for ((length, size), dropout) in lengths
        .into_iter()
        .zip([1, 4, 5, 16, 32, 40, 64, 33])
        .flat_map(|shape| dropouts.map(|dropout| (shape, dropout)))
    {
        for (window, with_bias, precision) in [
            (None, false, Precision::Fp32),
            (Some(5), false, Precision::Fp32),
            (None, true, Precision::Fp32),
            (Some(40), true, Precision::Bf16),
        ] {
            // A text before and padding after, so that nothing begins or ends with memory.
            let texts = [0..3, 3..3 + length];
            let shape = Shape {
                texts: &texts,
                rows: length + 5,
                heads: 2,
                size,
                window,
                precision,
            };
            let all = shape.rows * shape.width();
            let [q, k, v, gradient] = [1, 2, 3, 4].map(|salt| numbers(all, salt));
            let longest = length.max(3);
            let values = numbers(2 * (2 * longest - 1), 5);
            let bias = with_bias.then_some(Bias {
                values: &values,
                length: longest,
            });
            let inputs = [&q[..], &k, &v];
            let [wide, narrow] = [true, false].map(|wide| {
                let done = forward_in_tiles(wide, inputs, bias, shape, dropout);
                let attended = (&done.output[..], &done.log_sums[..]);
                let back = back_in_tiles(wide, inputs, bias, attended, &gradient, shape, dropout);
                (done.output, done.log_sums, back.by_inputs, back.by_bias)
            });
            assert!(
                wide == narrow,
                "{length} × {size}, {dropout:?}, window {window:?}, bias {with_bias}, {precision}"
            );
        }
    }
}

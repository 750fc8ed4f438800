//! Products of matrices that fit the first caches, such as one head's scores of one text.
//!
//! A tile of the result stays in registers while the sum runs. For these sizes that is faster than a general product,
//! which first repacks both of its arguments.

use super::simd::LANES;

/// A matrix whose elements are read one at a time: row `i`, column `j` lies at `i * by_row + j * by_column`.
#[derive(Clone, Copy)]
pub(crate) struct Scattered<'a> {
    pub(crate) values: &'a [f32],
    pub(crate) by_row: usize,
    pub(crate) by_column: usize,
}

/// A matrix in row-major order whose rows begin every `width` numbers.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a> {
    pub(crate) values: &'a [f32],
    pub(crate) width: usize,
}

impl<'a> Rows<'a> {
    /// The rows from `first` on.
    pub(crate) fn from(self, first: usize) -> Rows<'a> {
        Rows {
            values: &self.values[first * self.width..],
            width: self.width,
        }
    }

    /// The columns from `first` on.
    pub(crate) fn columns_from(self, first: usize) -> Rows<'a> {
        Rows {
            values: &self.values[first..],
            width: self.width,
        }
    }
}

/// `a · b` → `result`, whose rows begin every `width` numbers; added to what it holds when `ADD`.
///
/// `[rows, inner]` · `[inner, columns]`; `columns` is a multiple of [`LANES`]. `WIDE` chooses tiles for 32 registers of 16
/// lanes; without, they fit 16 registers of 8. To be called from `simd::vectorized`.
///
/// # Panics
/// When a matrix does not reach as far as the sizes say.
#[inline(always)]
pub(crate) fn multiply<const WIDE: bool, const ADD: bool>(
    a: Scattered,
    b: Rows,
    result: &mut [f32],
    width: usize,
    [rows, inner, columns]: [usize; 3],
) {
    if rows == 0 || columns == 0 {
        return;
    }
    assert!(columns.is_multiple_of(LANES) && columns <= width);
    assert!((rows - 1) * width + columns <= result.len());
    if inner == 0 {
        if !ADD {
            for row in result.chunks_mut(width).take(rows) {
                row[..columns].fill(0.0);
            }
        }
        return;
    }
    assert!((rows - 1) * a.by_row + (inner - 1) * a.by_column < a.values.len());
    assert!((inner - 1) * b.width + columns <= b.values.len());
    let mut column = 0;
    while column < columns {
        let double = WIDE && column + 2 * LANES <= columns;
        let mut row = 0;
        while row < rows {
            // SAFETY: the assertions above hold for every row below `rows` and every column below `columns`.
            let at = unsafe {
                Tile {
                    a: a.values.as_ptr().add(row * a.by_row),
                    by_row: a.by_row,
                    by_column: a.by_column,
                    b: b.values.as_ptr().add(column),
                    b_width: b.width,
                    to: result.as_mut_ptr().add(row * width + column),
                    to_width: width,
                    inner,
                }
            };
            macro_rules! tile {
                ($rows:literal) => {{
                    // SAFETY: as above; the tile's rows are below `rows`.
                    unsafe {
                        if double {
                            at.compute::<$rows, 2, ADD>();
                        } else {
                            at.compute::<$rows, 1, ADD>();
                        }
                    }
                    row += $rows;
                }};
            }
            match rows - row {
                8.. if WIDE => tile!(8),
                6.. => tile!(6),
                4.. => tile!(4),
                2.. => tile!(2),
                _ => tile!(1),
            }
        }
        column += if double { 2 * LANES } else { LANES };
    }
}

/// Where a tile of the result, and what it is computed from, begin.
struct Tile {
    a: *const f32,
    by_row: usize,
    by_column: usize,
    b: *const f32,
    b_width: usize,
    to: *mut f32,
    to_width: usize,
    inner: usize,
}

impl Tile {
    /// A tile of `R` rows and `C` times [`LANES`] columns.
    ///
    /// # Safety
    /// `R` rows, `inner` and the columns must lie within what the pointers point into.
    #[inline(always)]
    #[expect(
        clippy::needless_range_loop,
        reason = "with constant bounds the sums stay in registers; through iterators they do not"
    )]
    unsafe fn compute<const R: usize, const C: usize, const ADD: bool>(&self) {
        let mut sums = [[[0.0f32; LANES]; C]; R];
        // SAFETY: the caller's promise; `[f32; LANES]` has the alignment of f32.
        unsafe {
            let rows: [*const f32; R] = std::array::from_fn(|r| self.a.add(r * self.by_row));
            for k in 0..self.inner {
                let b: [[f32; LANES]; C] = std::array::from_fn(|c| {
                    *self
                        .b
                        .add(k * self.b_width + c * LANES)
                        .cast::<[f32; LANES]>()
                });
                for r in 0..R {
                    let x = *rows[r].add(k * self.by_column);
                    for c in 0..C {
                        for lane in 0..LANES {
                            sums[r][c][lane] = x.mul_add(b[c][lane], sums[r][c][lane]);
                        }
                    }
                }
            }
            for r in 0..R {
                for c in 0..C {
                    let to = self
                        .to
                        .add(r * self.to_width + c * LANES)
                        .cast::<[f32; LANES]>();
                    let mut values = sums[r][c];
                    if ADD {
                        for lane in 0..LANES {
                            values[lane] += (*to)[lane];
                        }
                    }
                    *to = values;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::cpu::simd::vectorized;

    fn numbers(length: usize, salt: usize) -> Vec<f32> {
        (0..length)
            .map(|i| ((i * 31 + salt * 17) % 23) as f32 - 11.0)
            .collect()
    }

    fn check<const WIDE: bool>(rows: usize, inner: usize, columns: usize) {
        let width = columns + 16;
        let (a, b) = (numbers(rows * inner, 1), numbers(inner * width, 2));
        let scattered = Scattered {
            values: &a,
            by_row: 1,
            by_column: rows,
        };
        let before = numbers(rows * width, 3);
        let mut result = before.clone();
        let b_rows = Rows { values: &b, width };
        vectorized(
            #[inline(always)]
            || {
                multiply::<WIDE, true>(
                    scattered,
                    b_rows,
                    &mut result,
                    width,
                    [rows, inner, columns],
                )
            },
        );
        for row in 0..rows {
            for column in 0..width {
                let at = row * width + column;
                let product: f32 = (0..inner)
                    .map(|k| a[k * rows + row] * b[k * width + column])
                    .sum();
                let wanted = before[at] + if column < columns { product } else { 0.0 };
                assert_eq!(result[at], wanted, "row {row}, column {column}");
            }
        }
    }

    #[test]
    fn every_size_gives_the_product_and_nothing_beside_it_is_touched() {
        for rows in [1, 2, 3, 5, 6, 7, 8, 9, 13, 16, 31] {
            for inner in [0, 1, 5, 32] {
                for columns in [16, 32, 48] {
                    check::<true>(rows, inner, columns);
                    check::<false>(rows, inner, columns);
                }
            }
        }
    }
}

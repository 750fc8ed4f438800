//! Cutting splits from the training rows: seeded, and stratified when there are labels to go by.
//!
//! A share of `rows` is rounded to whole rows once, for the split as a whole. Each class then gives its exact share
//! rounded down, and the classes with the largest remainders give one row more until the total is reached (the largest
//! remainder method). A class always keeps a row in `train`, because a model cannot learn a label it never sees.
//!
//! Rows in groups that must not be divided are cut by whole groups instead ([`cut_groups`]).
//!
//! Deliberately absent: dates, and groups that are stratified.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

/// Which split each row goes to: 0 = `train`, n = the nth of `shares`.
///
/// `class` holds one class per row; rows that are not to be stratified are all of one class. `shares` sum to less than 1.
pub fn cut(class: &[u32], shares: &[f64], seed: u64) -> Vec<usize> {
    let mut members = vec![Vec::new(); class.iter().max().map_or(0, |&last| last as usize + 1)];
    for (row, &class) in class.iter().enumerate() {
        if let Some(rows) = members.get_mut(class as usize) {
            rows.push(row);
        }
    }
    for (class, rows) in members.iter_mut().enumerate() {
        let mut hasher = blake3::Hasher::new();
        hasher
            .update(b"refit split 1\0")
            .update(&seed.to_le_bytes())
            .update(&(class as u64).to_le_bytes());
        rows.shuffle(&mut ChaCha8Rng::from_seed(*hasher.finalize().as_bytes()));
    }

    let mut to = vec![0; class.len()];
    for (number, &share) in shares.iter().enumerate() {
        let left = members.iter().map(Vec::len).collect::<Vec<_>>();
        let sizes = counts(class, members.len());
        for (rows, quota) in members.iter_mut().zip(quotas(&sizes, &left, share)) {
            for row in rows.split_off(rows.len() - quota.min(rows.len())) {
                if let Some(to) = to.get_mut(row) {
                    *to = number + 1;
                }
            }
        }
    }
    to
}

/// Which split each row goes to when the rows of one group stay together: 0 = `train`, n = the nth of `shares`.
///
/// Groups come in a random order, and each goes to the first split whose number of rows it brings nearer to its share. A
/// group always stays in `train`.
pub fn cut_groups(group: &[u32], shares: &[f64], seed: u64) -> Vec<usize> {
    let groups = group.iter().max().map_or(0, |&last| last as usize + 1);
    let sizes = counts(group, groups);
    let mut order = (0..groups).collect::<Vec<_>>();
    order.retain(|&group| sizes.get(group).is_some_and(|&size| size > 0));
    let mut hasher = blake3::Hasher::new();
    hasher
        .update(b"refit split groups 1\0")
        .update(&seed.to_le_bytes());
    order.shuffle(&mut ChaCha8Rng::from_seed(*hasher.finalize().as_bytes()));

    let mut to = vec![0; groups];
    let mut left = order.len();
    for (number, &share) in shares.iter().enumerate() {
        let mut missing = (group.len() as f64 * share).round() as usize;
        for &group in &order {
            let size = sizes.get(group).copied().unwrap_or_default();
            let nearer = size < missing.saturating_mul(2);
            if let Some(to) = to
                .get_mut(group)
                .filter(|to| **to == 0 && nearer && left > 1)
            {
                *to = number + 1;
                missing = missing.saturating_sub(size);
                left -= 1;
            }
        }
    }
    let of = |group: &u32| to.get(*group as usize).copied().unwrap_or_default();
    group.iter().map(of).collect()
}

fn counts(class: &[u32], classes: usize) -> Vec<usize> {
    let mut counts = vec![0; classes];
    class
        .iter()
        .filter_map(|&class| counts.get_mut(class as usize).map(|count| *count += 1))
        .for_each(drop);
    counts
}

/// How many rows each class gives, by largest remainders, where `left` rows of it are not given away yet.
fn quotas(sizes: &[usize], left: &[usize], share: f64) -> Vec<usize> {
    let total = (sizes.iter().sum::<usize>() as f64 * share).round() as usize;
    let exact = sizes
        .iter()
        .map(|&size| size as f64 * share)
        .collect::<Vec<_>>();
    let most = left
        .iter()
        .map(|left| left.saturating_sub(1))
        .collect::<Vec<_>>();
    let mut quotas = exact
        .iter()
        .zip(&most)
        .map(|(exact, &most)| (exact.floor() as usize).min(most))
        .collect::<Vec<_>>();
    let mut order = (0..sizes.len()).collect::<Vec<_>>();
    order.sort_by(|&a, &b| {
        exact[b]
            .fract()
            .total_cmp(&exact[a].fract())
            .then(a.cmp(&b))
    });

    let mut missing = total.saturating_sub(quotas.iter().sum());
    while missing > 0 {
        let before = missing;
        for &class in &order {
            if missing > 0 && quotas[class] < most[class] {
                quotas[class] += 1;
                missing -= 1;
            }
        }
        if missing == before {
            break;
        }
    }
    quotas
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn count(to: &[usize], split: usize) -> usize {
        to.iter().filter(|&&t| t == split).count()
    }

    #[test]
    fn totals_are_rounded_once_and_classes_by_largest_remainder() {
        let class = [vec![0; 50], vec![1; 33], vec![2; 17]].concat();
        let to = cut(&class, &[0.1], 7);
        let of = |wanted: u32| {
            class
                .iter()
                .zip(&to)
                .filter(|&(&c, &t)| c == wanted && t == 1)
                .count()
        };
        assert_eq!((of(0), of(1), of(2)), (5, 3, 2));
    }

    #[test]
    fn a_changed_seed_changes_the_cut() {
        let class = vec![0; 100];
        assert_eq!(cut(&class, &[0.2], 1), cut(&class, &[0.2], 1));
        assert_ne!(cut(&class, &[0.2], 1), cut(&class, &[0.2], 2));
    }

    #[test]
    fn a_class_of_one_row_stays_in_train() {
        let class = [vec![0; 9], vec![1]].concat();
        assert!((0..20).all(|seed| cut(&class, &[0.5, 0.3], seed)[9] == 0));
    }

    #[test]
    fn a_changed_seed_changes_the_cut_of_groups() {
        let group = (0..200).map(|row| row / 2).collect::<Vec<_>>();
        assert_eq!(cut_groups(&group, &[0.2], 1), cut_groups(&group, &[0.2], 1));
        assert_ne!(cut_groups(&group, &[0.2], 1), cut_groups(&group, &[0.2], 2));
        assert_eq!(count(&cut_groups(&group, &[0.2, 0.1], 1), 2), 20);
        assert_eq!(cut_groups(&[], &[0.2], 1), [0; 0]);
    }

    proptest! {
        #[test]
        fn no_group_is_divided_and_shares_are_nearly_met(
            sizes in prop::collection::vec(1_usize..6, 20..60),
            test in 0.1..0.4,
            validation in 0.1..0.4,
            seed in any::<u64>(),
        ) {
            let rows = sizes.iter().zip(0_u32..);
            let mut group = rows.flat_map(|(&size, group)| vec![group; size]).collect::<Vec<_>>();
            group.sort_by_key(|group| group % 7);
            let to = cut_groups(&group, &[test, validation], seed);
            for (group_a, to_a) in group.iter().zip(&to) {
                prop_assert!(group.iter().zip(&to).all(|(group_b, to_b)| group_a != group_b || to_a == to_b));
            }
            prop_assert!(count(&to, 0) > 0);
            for (split, share) in [(1, test), (2, validation)] {
                let wanted = (group.len() as f64 * share).round();
                prop_assert!((count(&to, split) as f64 - wanted).abs() <= 2.5, "{} of {wanted}", count(&to, split));
            }
        }

        #[test]
        fn every_cut_is_stratified(
            sizes in prop::collection::vec(20_usize..60, 1..6),
            test in 0.05..0.45,
            validation in 0.05..0.45,
            seed in any::<u64>(),
        ) {
            let class = sizes.iter().zip(0_u32..).flat_map(|(&size, class)| vec![class; size]).collect::<Vec<_>>();
            let to = cut(&class, &[test, validation], seed);
            for (split, share) in [(1, test), (2, validation)] {
                prop_assert_eq!(count(&to, split), (class.len() as f64 * share).round() as usize);
                for (index, &size) in sizes.iter().enumerate() {
                    let given = class.iter().zip(&to).filter(|&(&c, &t)| c as usize == index && t == split).count();
                    prop_assert!((given as f64 - size as f64 * share).abs() < 1.0 + 1e-9);
                }
            }
        }

        #[test]
        fn no_class_leaves_train(class in prop::collection::vec(0_u32..8, 1..60), test in 0.0..0.5, seed in any::<u64>()) {
            let to = cut(&class, &[test, 0.9 - test], seed);
            for wanted in &class {
                prop_assert!(class.iter().zip(&to).any(|(c, &t)| c == wanted && t == 0));
            }
        }
    }
}

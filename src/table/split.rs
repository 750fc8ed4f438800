//! Cutting splits from the training rows: seeded, and stratified when there are labels to go by.
//!
//! A share of `rows` is rounded to whole rows once, for the split as a whole. Each class then gives its exact share
//! rounded down, and the classes with the largest remainders give one row more until the total is reached (the largest
//! remainder method). A class always keeps a row in `train`, because a model cannot learn a label it never sees.
//!
//! Rows in groups that must not be divided are cut by whole groups instead ([`cut_groups`]), and rows with times by these
//! ([`cut_time`]).
//!
//! Folds ([`folds`], [`fold_groups`]) deal out *all* rows: which fold a row is in depends on the rows, the number of folds
//! and the seed, so folds that are drawn one at a time are still parts of one partition.
//!
//! Deliberately absent: groups that are stratified.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

/// Which split each row goes to: 0 = `train`, n = the nth of `shares`.
///
/// `class` holds one class per row; rows that are not to be stratified are all of one class. `shares` sum to less than 1.
pub fn cut(class: &[u32], shares: &[f64], seed: u64) -> Vec<usize> {
    let mut members = shuffled(class, b"refit split 1\0", seed);
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
    let (sizes, order) = shuffled_groups(group, b"refit split groups 1\0", seed);
    let mut to = vec![0; sizes.len()];
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

/// Which split each row goes to when the newest rows are held out: 0 = `train`, n = the nth of `shares`, the first of which
/// gets the newest.
///
/// `rank` is each row's place in the order of time, from 0 and without gaps. Rows of one time stay together: a split takes whole times from the newest
/// on as long as each brings its number of rows nearer to its share. The oldest time always stays in `train`.
pub fn cut_time(rank: &[u32], shares: &[f64]) -> Vec<usize> {
    let sizes = counts(rank, rank.iter().max().map_or(0, |&last| last as usize + 1));
    let mut to = vec![0; sizes.len()];
    let mut newest = sizes.len();
    for (number, &share) in shares.iter().enumerate() {
        let mut missing = (rank.len() as f64 * share).round() as usize;
        while newest > 1 && sizes[newest - 1] < missing.saturating_mul(2) {
            newest -= 1;
            to[newest] = number + 1;
            missing = missing.saturating_sub(sizes[newest]);
        }
    }
    let of = |rank: &u32| to.get(*rank as usize).copied().unwrap_or_default();
    rank.iter().map(of).collect()
}

/// Groups that divide neither a group of `a` nor one of `b`: rows that share either are in one, and so are those that share
/// one with such a row.
pub fn linked(a: &[u32], b: &[u32]) -> Vec<u32> {
    /// The lowest group of `a` known to be linked with one, and the way there made shorter.
    fn root(links: &mut [usize], mut group: usize) -> usize {
        while let Some(&next) = links.get(group)
            && next != group
        {
            let after = links.get(next).copied().unwrap_or(next);
            links[group] = after;
            group = next;
        }
        group
    }
    let mut links = (0..a.iter().max().map_or(0, |&last| last as usize + 1)).collect::<Vec<_>>();
    let mut of_b = std::collections::HashMap::new();
    for (&a, &b) in a.iter().zip(b) {
        let other = *of_b.entry(b).or_insert(a as usize);
        let (one, other) = (root(&mut links, a as usize), root(&mut links, other));
        if let Some(link) = links.get_mut(one.max(other)) {
            *link = one.min(other);
        }
    }
    a.iter()
        .map(|&a| root(&mut links, a as usize) as u32)
        .collect()
}

/// The latest `rank` of each row's group, without gaps: the order of time when groups are not divided.
pub fn latest(rank: &[u32], group: &[u32]) -> Vec<u32> {
    let mut latest = vec![0; group.iter().max().map_or(0, |&last| last as usize + 1)];
    for (&rank, &group) in rank.iter().zip(group) {
        if let Some(latest) = latest.get_mut(group as usize) {
            *latest = rank.max(*latest);
        }
    }
    let mut distinct = latest.clone();
    distinct.sort_unstable();
    distinct.dedup();
    let place = |group: &u32| {
        let latest = latest.get(*group as usize).copied().unwrap_or_default();
        distinct.binary_search(&latest).unwrap_or_default() as u32
    };
    group.iter().map(place).collect()
}

/// Which of `of` folds each row is in.
///
/// The rows of one class after the other, each class in a random order, are dealt out to the folds in turn. So neither the
/// sizes of two folds nor the rows that they have of one class differ by more than one, which are the counts of
/// scikit-learn's `StratifiedKFold`. `class` is as for [`cut`]; `of` is at least 1.
pub fn folds(class: &[u32], of: usize, seed: u64) -> Vec<usize> {
    let members = shuffled(class, b"refit folds 1\0", seed);
    let mut fold = vec![0; class.len()];
    for (place, row) in members.into_iter().flatten().enumerate() {
        if let Some(fold) = fold.get_mut(row) {
            *fold = place % of.max(1);
        }
    }
    fold
}

/// Which of `of` folds each row is in when the rows of one group stay together.
///
/// Groups go, the largest first and those of one size in a random order, each to the fold that has the fewest rows then. So
/// the sizes of two folds differ at most by those of the largest group. `of` is at least 1.
pub fn fold_groups(group: &[u32], of: usize, seed: u64) -> Vec<usize> {
    let (sizes, mut order) = shuffled_groups(group, b"refit folds groups 1\0", seed);
    let size = |group: usize| sizes.get(group).copied().unwrap_or_default();
    order.sort_by_key(|&group| std::cmp::Reverse(size(group)));
    let mut rows = vec![0; of.max(1)];
    let mut fold = vec![0; sizes.len()];
    for group in order {
        let least = (0..rows.len()).min_by_key(|&fold| rows[fold]);
        let least = least.unwrap_or_default();
        rows[least] += size(group);
        fold[group] = least;
    }
    let of = |group: &u32| fold.get(*group as usize).copied().unwrap_or_default();
    group.iter().map(of).collect()
}

/// The rows of each class in a random order.
fn shuffled(class: &[u32], purpose: &[u8], seed: u64) -> Vec<Vec<usize>> {
    let mut members = vec![Vec::new(); class.iter().max().map_or(0, |&last| last as usize + 1)];
    for (row, &class) in class.iter().enumerate() {
        if let Some(rows) = members.get_mut(class as usize) {
            rows.push(row);
        }
    }
    for (class, rows) in members.iter_mut().enumerate() {
        let mut hasher = blake3::Hasher::new();
        hasher
            .update(purpose)
            .update(&seed.to_le_bytes())
            .update(&(class as u64).to_le_bytes());
        rows.shuffle(&mut ChaCha8Rng::from_seed(*hasher.finalize().as_bytes()));
    }
    members
}

/// The size of each group, and those that have rows in a random order.
fn shuffled_groups(group: &[u32], purpose: &[u8], seed: u64) -> (Vec<usize>, Vec<usize>) {
    let groups = group.iter().max().map_or(0, |&last| last as usize + 1);
    let sizes = counts(group, groups);
    let mut order = (0..groups).collect::<Vec<_>>();
    order.retain(|&group| sizes.get(group).is_some_and(|&size| size > 0));
    let mut hasher = blake3::Hasher::new();
    hasher.update(purpose).update(&seed.to_le_bytes());
    order.shuffle(&mut ChaCha8Rng::from_seed(*hasher.finalize().as_bytes()));
    (sizes, order)
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
    use crate::table::moment::{Moment, ranks};

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

    #[test]
    fn the_newest_rows_are_held_out_and_one_time_is_not_divided() {
        let rank = [0, 5, 1, 4, 2, 3, 5, 0];
        assert_eq!(cut_time(&rank, &[0.25, 0.25]), [0, 1, 0, 2, 0, 2, 1, 0]);
        assert_eq!(cut_time(&[1, 1, 1, 0], &[0.25]), [0; 4]);
        assert_eq!(cut_time(&[0, 0], &[0.5]), [0, 0]);
        assert_eq!(cut_time(&[], &[0.5]), [0; 0]);
    }

    #[test]
    fn what_shares_a_group_of_either_kind_is_linked() {
        let a = [0, 0, 1, 2, 3, 3, 4];
        let b = [0, 1, 1, 2, 3, 2, 4];
        assert_eq!(linked(&a, &b), [0, 0, 0, 2, 2, 2, 4]);
        assert_eq!(linked(&[], &[]), [0; 0]);
    }

    #[test]
    fn a_group_is_as_new_as_its_newest_row() {
        assert_eq!(latest(&[0, 3, 1, 2, 0], &[0, 0, 1, 1, 2]), [2, 2, 1, 1, 0]);
        assert_eq!(latest(&[0, 1, 2], &[0, 0, 0]), [0; 3]);
    }

    #[test]
    fn a_changed_seed_changes_the_folds() {
        let class = vec![0; 100];
        assert_eq!(folds(&class, 5, 1), folds(&class, 5, 1));
        assert_ne!(folds(&class, 5, 1), folds(&class, 5, 2));
        let group = (0..200).map(|row| row / 2).collect::<Vec<_>>();
        assert_eq!(fold_groups(&group, 5, 1), fold_groups(&group, 5, 1));
        assert_ne!(fold_groups(&group, 5, 1), fold_groups(&group, 5, 2));
        assert_eq!(fold_groups(&[], 5, 1), [0; 0]);
    }

    /// `StratifiedKFold(5, shuffle=True, random_state=0)` of scikit-learn: rows of each class in each fold.
    #[test]
    fn folds_have_the_counts_of_scikit_learn() {
        let class = [vec![0; 53], vec![1; 31], vec![2; 8], vec![3; 2]].concat();
        let fold = folds(&class, 5, 7);
        let of = |wanted: u32| {
            let rows = |n| {
                class
                    .iter()
                    .zip(&fold)
                    .filter(move |&(&c, &f)| c == wanted && f == n)
                    .count()
            };
            (0..5).map(rows).collect::<Vec<_>>()
        };
        assert_eq!(of(0), [11, 11, 11, 10, 10]);
        assert_eq!(of(1), [6, 6, 6, 7, 6]);
        assert_eq!(of(2), [2, 2, 1, 1, 2]);
        assert_eq!(of(3), [0, 0, 1, 1, 0]);
    }

    proptest! {
        #[test]
        fn linked_groups_divide_neither_kind_and_are_no_larger_than_they_must(
            rows in prop::collection::vec((0_u32..12, 0_u32..12), 0..40),
        ) {
            let (a, b): (Vec<u32>, Vec<u32>) = rows.iter().copied().unzip();
            let found = linked(&a, &b);
            // What can be reached from each row, step by step.
            let mut wanted: Vec<usize> = (0..rows.len()).collect();
            for _ in 0..rows.len() {
                for i in 0..rows.len() {
                    for j in 0..rows.len() {
                        if a[i] == a[j] || b[i] == b[j] {
                            wanted[i] = wanted[i].min(wanted[j]);
                        }
                    }
                }
            }
            for i in 0..rows.len() {
                for j in 0..rows.len() {
                    prop_assert_eq!(found[i] == found[j], wanted[i] == wanted[j]);
                }
            }
        }

        #[test]
        fn every_fold_is_stratified(class in prop::collection::vec(0_u32..6, 0..200), of in 2_usize..12, seed in any::<u64>()) {
            let fold = folds(&class, of, seed);
            prop_assert_eq!(fold.len(), class.len());
            let size = |n: usize, wanted: Option<u32>| {
                class.iter().zip(&fold).filter(|&(c, &f)| f == n && wanted.is_none_or(|w| w == *c)).count()
            };
            for wanted in (0..6).map(Some).chain([None]) {
                let sizes = (0..of).map(|n| size(n, wanted)).collect::<Vec<_>>();
                prop_assert!(sizes.iter().max().unwrap() - sizes.iter().min().unwrap() <= 1, "{:?}", sizes);
            }
        }

        #[test]
        fn no_group_is_divided_among_folds_and_they_are_nearly_equal(
            sizes in prop::collection::vec(1_usize..6, 1..60),
            of in 2_usize..8,
            seed in any::<u64>(),
        ) {
            let rows = sizes.iter().zip(0_u32..);
            let mut group = rows.flat_map(|(&size, group)| vec![group; size]).collect::<Vec<_>>();
            group.sort_by_key(|group| group % 7);
            let fold = fold_groups(&group, of, seed);
            for (group_a, fold_a) in group.iter().zip(&fold) {
                prop_assert!(group.iter().zip(&fold).all(|(group_b, fold_b)| group_a != group_b || fold_a == fold_b));
            }
            let counts = (0..of).map(|n| count(&fold, n)).collect::<Vec<_>>();
            let largest = sizes.iter().max().unwrap();
            prop_assert!(counts.iter().max().unwrap() - counts.iter().min().unwrap() <= *largest, "{:?}", counts);
        }

        #[test]
        fn nothing_in_train_is_newer_than_what_it_is_scored_on(
            times in prop::collection::vec(0_u32..30, 1..80),
            test in 0.0..0.4,
            validation in 0.0..0.4,
        ) {
            let moments = times.iter().map(|&time| Moment::Integer(i64::from(time)));
            let to = cut_time(&ranks(&moments.collect::<Vec<_>>()), &[test, validation]);
            let newest = |split| times.iter().zip(&to).filter(|&(_, &t)| t == split).map(|(time, _)| *time).max();
            let oldest = |split| times.iter().zip(&to).filter(|&(_, &t)| t == split).map(|(time, _)| *time).min();
            prop_assert!(oldest(0).is_some());
            for (before, after) in [(0, 1), (0, 2), (2, 1)] {
                if let (Some(newest), Some(oldest)) = (newest(before), oldest(after)) {
                    prop_assert!(newest < oldest);
                }
            }
        }

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

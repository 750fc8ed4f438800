//! Orders, layouts and parts of batches.

use proptest::prelude::*;

use super::*;

/// Rows in memory: ids and label.
pub(in crate::learn) struct Listed(pub(in crate::learn) Vec<(Vec<u32>, Option<u32>)>);

impl Rows for Listed {
    fn rows(&self) -> usize {
        self.0.len()
    }

    fn ids(&self, row: usize) -> &[u32] {
        &self.0[row].0
    }

    fn type_ids(&self, row: usize) -> &[u8] {
        static ZEROS: [u8; 64] = [0; 64];
        &ZEROS[..self.0[row].0.len()]
    }

    fn label(&self, row: usize) -> Option<u32> {
        self.0[row].1
    }

    fn id(&self, row: usize) -> u64 {
        row as u64
    }
}

/// The same with a vector each, so that no layer of an encoder computes.
pub(in crate::learn) struct Vectors(
    pub(in crate::learn) Listed,
    pub(in crate::learn) Vec<Vec<f32>>,
);

impl Rows for Vectors {
    fn rows(&self) -> usize {
        self.0.rows()
    }

    fn ids(&self, row: usize) -> &[u32] {
        self.0.ids(row)
    }

    fn type_ids(&self, row: usize) -> &[u8] {
        self.0.type_ids(row)
    }

    fn label(&self, row: usize) -> Option<u32> {
        self.0.label(row)
    }

    fn id(&self, row: usize) -> u64 {
        self.0.id(row)
    }

    fn known(&self, row: usize) -> Option<Known<'_>> {
        Some(Known::Pooled(&self.1[row]))
    }
}

proptest! {
    #[test]
    fn grouping_is_a_permutation_sorted_within_mega_batches_with_the_longest_row_first(
        lengths in prop::collection::vec(1_usize..40, 1..600),
        batch_size in 1_usize..17,
        seed: u64,
    ) {
        let order = length_grouped(&|row| lengths[row], lengths.len(), batch_size, seed, 0);
        let order = numbers(&order);
        let mut sorted = order.clone();
        sorted.sort_unstable();
        prop_assert_eq!(sorted, (0..lengths.len()).collect::<Vec<_>>());
        prop_assert_eq!(Some(&lengths[order[0]]), lengths.iter().max());
        for mega in order.chunks(mega_batch(lengths.len(), batch_size)) {
            // The first place of two mega-batches was swapped, so order holds from the second on.
            prop_assert!(mega[1..].is_sorted_by(|&a, &b| lengths[a] >= lengths[b]));
        }
    }

    #[test]
    fn a_shuffle_is_a_permutation(rows in 0_usize..500, seed: u64, epoch in 0_u64..5) {
        let mut order = numbers(&shuffled(rows, seed, epoch));
        order.sort_unstable();
        prop_assert_eq!(order, (0..rows).collect::<Vec<_>>());
    }
}

/// What `Vec<usize>` had: the order must not hang on how a number is stored.
#[test]
fn the_order_of_a_seed_is_that_of_numbers_of_any_width() {
    for rows in [0, 1, 2, 100, 70_000] {
        let mut wide: Vec<usize> = (0..rows).collect();
        wide.shuffle(&mut generator(5, 3));
        assert_eq!(numbers(&shuffled(rows, 5, 3)), wide);
    }
}

#[test]
fn a_mega_batch_is_as_large_as_in_transformers() {
    assert_eq!(mega_batch(10_000, 16), 16 * 50);
    assert_eq!(mega_batch(1_000, 32), 32 * 7);
    assert_eq!(mega_batch(10, 32), 32);
}

#[test]
fn a_changed_seed_or_epoch_changes_the_order() {
    let lengths: Vec<usize> = (0..200).map(|row| row % 7 + 1).collect();
    let plain = |seed, epoch| shuffled(200, seed, epoch);
    let grouped = |seed, epoch| length_grouped(&|row| lengths[row], 200, 8, seed, epoch);
    let orders: [&dyn Fn(u64, u64) -> Vec<u32>; 2] = [&plain, &grouped];
    for order in orders {
        assert_eq!(order(1, 1), order(1, 1));
        assert_ne!(order(1, 1), order(2, 1));
        assert_ne!(order(1, 1), order(1, 2));
    }
}

#[test]
fn every_row_is_in_exactly_one_batch_and_the_last_partial_batch_is_kept() {
    let rows = Listed((0..10).map(|row| (vec![1; row % 3 + 1], Some(0))).collect());
    for group_by_length in [false, true] {
        let settings = BatchSettings {
            size: 4,
            group_by_length,
            ..BatchSettings::default()
        };
        let batches: Vec<_> = epoch(&rows, &settings, 13, 1).batches().collect();
        assert_eq!(batches.iter().map(Vec::len).collect::<Vec<_>>(), [4, 4, 2]);
        let mut all: Vec<usize> = batches.concat();
        all.sort_unstable();
        assert_eq!(all, (0..10).collect::<Vec<_>>());
    }
}

#[test]
fn rows_follow_each_other_without_padding_or_are_padded_to_few_lengths() {
    let rows = Listed(vec![(vec![5, 6, 7], None), (vec![8], None)]);
    let laid = |layout, max_length| Laid::out(&rows, &[1, 0], layout, 9, max_length);
    assert_eq!(laid(Layout::Packed, 64).ids, [8, 5, 6, 7]);
    let padded = laid(Layout::Padded { to: None }, 64);
    assert_eq!(padded.spans.stride(), Some(ROUND));
    assert_eq!(padded.ids[..3], [8, 9, 9]);
    assert_eq!(padded.ids[ROUND..ROUND + 4], [5, 6, 7, 9]);
    let narrow = laid(Layout::Padded { to: None }, 4);
    assert_eq!(
        narrow.spans.stride(),
        Some(4),
        "no longer than a row may be"
    );
    let fixed = laid(Layout::Padded { to: Some(5) }, 64);
    assert_eq!(fixed.ids, [8, 9, 9, 9, 9, 5, 6, 7, 9, 9]);
}

#[test]
fn a_row_without_a_token_gets_one_of_padding() {
    let rows = Listed(vec![(vec![], None), (vec![8], None)]);
    for chosen in [[0, 1], [1, 0]] {
        let laid = Laid::out(&rows, &chosen, Layout::Packed, 9, 64);
        assert_eq!(laid.spans.texts(), [0..1, 1..2]);
        assert_eq!(laid.ids, if chosen[0] == 0 { [9, 8] } else { [8, 9] });
    }
}

#[test]
fn as_many_rows_fit_as_have_the_tokens_with_their_padding() {
    assert_eq!(Layout::Packed.fitting(1000, 30), 33);
    assert_eq!(Layout::Packed.fitting(usize::MAX, 64), CACHED / 64);
    assert_eq!(Layout::Packed.fitting(10, 30), 1);
    let padded = Layout::Padded { to: None };
    assert_eq!(padded.fitting(1000, 3), 32, "62 rows of 16, rounded down");
    assert_eq!(padded.fitting(10, 30), 1);
}

#[test]
fn a_cpu_packs() {
    let layout = Layout::on(&Device::flex().autodiff(), Padding::MaxLength, 64);
    assert_eq!(layout, Layout::Packed);
}

proptest! {
    #[test]
    fn parts_lie_as_they_do_in_the_whole(
        lengths in prop::collection::vec(0_usize..40, 1..20),
        at_once in 1_usize..8,
        padded: bool,
        devices in 1_usize..5,
    ) {
        let row = |&length: &usize| ((0..length as u32).map(|id| 1 + id).collect(), None);
        let rows = Listed(lengths.iter().map(row).collect());
        let chosen: Vec<usize> = (0..lengths.len()).rev().collect();
        let layout = if padded { Layout::Padded { to: None } } else { Layout::Packed };
        let cut = Cut { layout, pad_id: 0, max_length: 64, devices };
        let whole = Laid::out(&rows, &chosen, layout, 0, 64);
        let parts = cut.parts(&rows, 1, &chosen, at_once);
        let ids: Vec<i32> = parts.iter().flat_map(|part| part.laid.ids.clone()).collect();
        prop_assert_eq!(ids, whole.ids);
        let texts: Vec<Range<usize>> = parts
            .iter()
            .flat_map(|part| {
                let before = part.tokens_before;
                let texts = part.laid.spans.texts().iter();
                texts.map(move |text| text.start + before..text.end + before)
            })
            .collect();
        prop_assert_eq!(texts, whole.spans.texts());
        let covered: Vec<usize> = parts.iter().flat_map(|part| part.rows.clone()).collect();
        prop_assert_eq!(covered, (0..lengths.len()).collect::<Vec<_>>());
        for (device, share) in shares(lengths.len(), devices).enumerate() {
            let own = parts.iter().filter(|part| part.device == device);
            let rows: Vec<usize> = own.clone().flat_map(|part| part.rows.clone()).collect();
            prop_assert_eq!(rows, share.collect::<Vec<_>>());
            prop_assert!(own.map(|part| part.rows.len()).max().unwrap_or(0) <= at_once);
        }
    }

    #[test]
    fn shares_follow_each_other_and_differ_by_one_row_at_most(
        rows in 0_usize..1000,
        devices in 1_usize..20,
    ) {
        let shares: Vec<Range<usize>> = shares(rows, devices).collect();
        prop_assert_eq!(shares.len(), devices);
        prop_assert_eq!(shares.iter().cloned().flatten().collect::<Vec<_>>(), (0..rows).collect::<Vec<_>>());
        let sizes = || shares.iter().map(|share| share.len());
        prop_assert!(sizes().max().unwrap() - sizes().min().unwrap() <= 1);
    }
}

#[test]
fn batches_prepared_ahead_are_those_of_epoch_after_epoch() {
    let rows = Listed((0..10).map(|row| (vec![1; row % 3 + 1], Some(0))).collect());
    let settings = BatchSettings {
        size: 4,
        ..BatchSettings::default()
    };
    let cut = Cut {
        layout: Layout::Packed,
        pad_id: 0,
        max_length: 8,
        devices: 1,
    };
    let lay_out = |epoch: u64, chosen: &[usize]| cut.parts(&rows, epoch, chosen, 3);
    std::thread::scope(|scope| {
        let batches = ahead(scope, &rows, &settings, 13, 0, lay_out).unwrap();
        for number in 1..=3 {
            let wanted: Vec<_> = epoch(&rows, &settings, 13, number).batches().collect();
            for (index, chosen) in wanted.iter().enumerate() {
                let found = batches.recv().unwrap();
                assert_eq!((found.epoch, &found.rows), (number, chosen));
                assert_eq!(found.parts, lay_out(number, chosen));
                assert_eq!(found.ends_epoch, index + 1 == wanted.len());
            }
        }
        // Three batches an epoch.
        let later = ahead(scope, &rows, &settings, 13, 4, lay_out).unwrap();
        let found = later.recv().unwrap();
        assert_eq!(found.epoch, 2);
        assert_eq!(
            Some(found.rows),
            epoch(&rows, &settings, 13, 2).batches().nth(1)
        );
    });
}

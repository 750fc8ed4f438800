//! Which predicted entity stands for which true one, as [`EntityErrors`](super::EntityErrors) says.
//!
//! Deliberately absent: counting.

use super::Entity;

/// What became of an entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Same bounds and same type.
    Correct,
    /// Same bounds, other type.
    Type,
    /// Other bounds that overlap, same type.
    Boundary,
    /// Other bounds that overlap, other type.
    Both,
    /// True, and paired with none.
    Missed,
    /// Predicted, and paired with none.
    Spurious,
}

impl Fate {
    pub fn name(self) -> &'static str {
        match self {
            Fate::Correct => "correct",
            Fate::Type => "type",
            Fate::Boundary => "boundary",
            Fate::Both => "both",
            Fate::Missed => "missed",
            Fate::Spurious => "spurious",
        }
    }
}

/// Places of a true entity and of the predicted one that stands for it; one of them where there is no other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pairing {
    pub truth: Option<usize>,
    pub predicted: Option<usize>,
    pub fate: Fate,
}

/// Whether a true and a predicted entity stand for each other.
type Fits<'f> = dyn Fn(&Entity, &Entity) -> bool + 'f;

/// Every true and every predicted entity of a text, each once.
pub fn pairings(truth: &[Entity], predicted: &[Entity]) -> Vec<Pairing> {
    let same_bounds = |a: &Entity, b: &Entity| (a.start, a.end) == (b.start, b.end);
    let overlap = |a: &Entity, b: &Entity| a.start < b.end && b.start < a.end;
    let turns: [(Fate, &Fits<'_>); 4] = [
        (Fate::Correct, &|a, b| a == b),
        (Fate::Type, &same_bounds),
        (Fate::Boundary, &|a, b| overlap(a, b) && a.kind == b.kind),
        (Fate::Both, &overlap),
    ];
    let mut left: Vec<usize> = (0..truth.len()).collect();
    let mut free: Vec<usize> = (0..predicted.len()).collect();
    let mut all = Vec::new();
    for (fate, fit) in turns {
        left.retain(|&own| {
            let found = free
                .iter()
                .position(|&other| fit(&truth[own], &predicted[other]));
            let Some(place) = found else { return true };
            all.push(Pairing {
                truth: Some(own),
                predicted: Some(free.remove(place)),
                fate,
            });
            false
        });
    }
    all.extend(left.into_iter().map(|own| Pairing {
        truth: Some(own),
        predicted: None,
        fate: Fate::Missed,
    }));
    all.extend(free.into_iter().map(|other| Pairing {
        truth: None,
        predicted: Some(other),
        fate: Fate::Spurious,
    }));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_entity_is_told_once_with_its_counterpart() {
        let entity = |start, end, kind| Entity { start, end, kind };
        let truth = [
            entity(0, 2, "PER"),
            entity(3, 5, "LOC"),
            entity(6, 7, "ORG"),
            entity(9, 10, "PER"),
        ];
        let predicted = [
            entity(0, 2, "PER"),
            entity(3, 4, "LOC"),
            entity(6, 7, "LOC"),
            entity(12, 13, "ORG"),
        ];
        let found = pairings(&truth, &predicted);
        let told: Vec<_> = found
            .iter()
            .map(|one| (one.truth, one.predicted, one.fate.name()))
            .collect();
        assert_eq!(
            told,
            [
                (Some(0), Some(0), "correct"),
                (Some(2), Some(2), "type"),
                (Some(1), Some(1), "boundary"),
                (Some(3), None, "missed"),
                (None, Some(3), "spurious"),
            ]
        );
    }
}

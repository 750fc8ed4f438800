//! Rates against those of transformers 5.23 and PyTorch 2.15, before each step.

use serde::Deserialize;

use super::*;

fn named(name: ScheduleName, warmup: f64) -> ScheduleSettings {
    ScheduleSettings {
        name,
        warmup: Some(warmup),
        ..ScheduleSettings::default()
    }
}

fn rates(name: ScheduleName, warmup: f64, total: u64) -> Vec<f64> {
    let schedule = Schedule::new(&named(name, warmup), 5e-5, total);
    (0..=total).map(|step| schedule.rate(step)).collect()
}

fn assert_close(found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert!(
            (found - expected).abs() < 1e-18,
            "{found} is not {expected}"
        );
    }
}

/// Settings as in a spec, and the rates of the reference for steps 0 to 50.
#[derive(Deserialize)]
struct Case {
    settings: ScheduleSettings,
    /// The highest rate.
    peak: f64,
    total: u64,
    /// What `reduce_on_plateau` hears after each step, and of which metric.
    #[serde(default)]
    scores: Vec<f64>,
    metric: Option<Metric>,
    rates: Vec<f64>,
}

#[test]
fn fifty_steps_of_each_schedule_have_the_rates_of_transformers_and_torch() {
    let cases: Vec<Case> =
        serde_json::from_str(include_str!("../../../tests/fixtures/schedules_torch.json")).unwrap();
    let mut seen = Vec::new();
    for case in cases {
        let mut schedule = Schedule::new(&case.settings, case.peak, case.total);
        for (step, wanted) in case.rates.iter().enumerate() {
            let found = schedule.rate(step as u64);
            assert!(
                (found - wanted).abs() <= 1e-6 * wanted.abs() + 1e-18,
                "{:?}, step {step}: {found} is not {wanted}",
                case.settings
            );
            if let (Some(&score), Some(metric)) = (case.scores.get(step), case.metric) {
                schedule.observe(score, metric);
            }
        }
        assert_eq!(case.rates.len(), 50);
        seen.push(case.settings.name);
    }
    for name in [
        ScheduleName::Linear,
        ScheduleName::Constant,
        ScheduleName::Cosine,
        ScheduleName::CosineWithRestarts,
        ScheduleName::Polynomial,
        ScheduleName::InverseSqrt,
        ScheduleName::Step,
        ScheduleName::ReduceOnPlateau,
    ] {
        assert!(seen.contains(&name), "{name} has no case");
    }
}

#[test]
fn each_setting_of_a_schedule_changes_its_rates() {
    let usual = |name| named(name, 0.1);
    let some = |change: &dyn Fn(&mut ScheduleSettings), name| {
        let mut settings = usual(name);
        change(&mut settings);
        settings
    };
    let all = |settings: &ScheduleSettings| {
        let mut schedule = Schedule::new(settings, 1e-3, 40);
        let mut rates = Vec::new();
        for step in 0..40 {
            rates.push(schedule.rate(step));
            schedule.observe(1.0, Metric::Loss);
        }
        rates
    };
    use ScheduleName::*;
    type Change<'a> = &'a dyn Fn(&mut ScheduleSettings);
    let cases: [(ScheduleName, Change); 11] = [
        (Linear, &|s| s.warmup = Some(0.2)),
        (Linear, &|s| s.warmup_steps = Some(1)),
        (CosineWithRestarts, &|s| s.cycles = Some(3)),
        (Polynomial, &|s| s.power = Some(2.0)),
        (Polynomial, &|s| s.end_learning_rate = Some(1e-4)),
        (Step, &|s| s.every = Some(7)),
        (Step, &|s| s.at = Some(vec![0.5])),
        (ReduceOnPlateau, &|s| s.factor = Some(0.5)),
        (ReduceOnPlateau, &|s| s.patience = Some(5)),
        (ReduceOnPlateau, &|s| s.minimum = Some(1e-4)),
        (InverseSqrt, &|s| s.warmup_steps = Some(20)),
    ];
    for (number, (name, change)) in cases.into_iter().enumerate() {
        let changed = some(change, name);
        assert_ne!(all(&usual(name)), all(&changed), "{number}: {changed:?}");
    }
    let gamma = |gamma| {
        let change = |s: &mut ScheduleSettings| (s.every, s.gamma) = (Some(7), gamma);
        all(&some(&change, Step))
    };
    assert_ne!(gamma(None), gamma(Some(0.5)));
}

#[test]
fn a_plateau_taken_out_and_put_back_goes_on() {
    let settings = named(ScheduleName::ReduceOnPlateau, 0.0);
    let mut whole = Schedule::new(&settings, 1e-3, 50);
    for score in [0.5, 0.5, 0.5] {
        whole.observe(score, Metric::Accuracy);
    }
    let mut restored = Schedule::new(&settings, 1e-3, 50).with_plateau(whole.plateau());
    for schedule in [&mut whole, &mut restored] {
        schedule.observe(0.4, Metric::Accuracy);
        assert!((schedule.rate(9) - 1e-4).abs() < 1e-12);
    }
}

#[test]
fn a_score_that_is_no_number_is_no_better_one() {
    let mut schedule = Schedule::new(&named(ScheduleName::ReduceOnPlateau, 0.0), 1e-3, 50);
    for _ in 0..3 {
        schedule.observe(f64::NAN, Metric::Accuracy);
    }
    assert!(schedule.rate(0) < 1e-3);
}

#[test]
fn a_curve_has_its_corners_and_its_ends() {
    let long = named(ScheduleName::Linear, 0.0013);
    let points = curve(&long, 1.0, 100_000);
    assert!(points.len() <= 104 && points.is_sorted_by(|a, b| a.0 < b.0));
    let schedule = Schedule::new(&long, 1.0, 100_000);
    assert!(points.contains(&(130, 1.0)) && points.contains(&(129, schedule.rate(129))));
    assert_eq!(points.first(), Some(&(0, 0.0)));
    assert_eq!(points.last(), Some(&(99_999, schedule.rate(99_999))));
    let step = ScheduleSettings {
        at: Some(vec![0.333]),
        ..named(ScheduleName::Step, 0.0)
    };
    let points = curve(&step, 1.0, 10_000);
    let before = points.iter().rfind(|point| point.1 == 1.0);
    assert_eq!(before, Some(&(3_329, 1.0)));
    assert_eq!(curve(&long, 1.0, 3).len(), 3);
    assert!(curve(&long, 1.0, 0).is_empty());
}

#[test]
fn no_schedule_leaves_its_bounds_or_the_numbers() {
    use ScheduleName::*;
    for name in [
        Linear,
        Constant,
        Cosine,
        CosineWithRestarts,
        Polynomial,
        InverseSqrt,
        Step,
        ReduceOnPlateau,
    ] {
        for total in [1, 2, 7] {
            for warmup in [0.0, 0.5, 1.0] {
                for rate in rates(name, warmup, total) {
                    assert!((0.0..=5e-5).contains(&rate), "{name}, {total}: {rate}");
                }
            }
        }
    }
}

// The numbers are `get_scheduler(...).get_last_lr()` of transformers 5.23 before each step.

#[test]
fn linear_with_warm_up_is_that_of_transformers() {
    let thirty = rates(ScheduleName::Linear, 0.1, 30);
    assert_close(
        &thirty[..7],
        &[
            0.0,
            1.6666666666666667e-05,
            3.3333333333333335e-05,
            5e-05,
            4.814814814814815e-05,
            4.62962962962963e-05,
            4.4444444444444447e-05,
        ],
    );
    assert_close(&thirty[29..], &[1.8518518518518519e-06, 0.0]);
}

#[test]
fn the_warm_up_is_rounded_up() {
    let expected = [
        0.0,
        5e-05,
        4.166666666666667e-05,
        3.3333333333333335e-05,
        2.5e-05,
        1.6666666666666667e-05,
        8.333333333333334e-06,
        0.0,
    ];
    assert_close(&rates(ScheduleName::Linear, 0.1, 7), &expected);
}

#[test]
fn without_warm_up_the_first_step_has_the_full_rate() {
    assert_close(
        &rates(ScheduleName::Linear, 0.0, 4),
        &[5e-05, 3.7500000000000003e-05, 2.5e-05, 1.25e-05, 0.0],
    );
}

#[test]
fn a_warm_up_of_the_whole_length_never_divides_by_zero() {
    let expected = [0.0, 1.6666666666666667e-05, 3.3333333333333335e-05, 0.0];
    assert_close(&rates(ScheduleName::Linear, 1.0, 3), &expected);
}

#[test]
fn a_constant_rate_stays_after_its_warm_up() {
    assert_close(
        &rates(ScheduleName::Constant, 0.25, 5),
        &[0.0, 2.5e-05, 5e-05, 5e-05, 5e-05, 5e-05],
    );
}

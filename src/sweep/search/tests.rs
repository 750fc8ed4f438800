//! Searches on small spaces worked out by hand, on functions whose best is known, and on random spaces.

use super::*;
use proptest::prelude::*;
use serde_json::json;
use std::collections::BTreeSet;
use std::f64::consts::PI;

fn parameter(name: &str, domain: Domain) -> Parameter {
    Parameter {
        name: name.to_string(),
        domain,
        when: Vec::new(),
    }
}

fn choice(name: &str, values: &[Value]) -> Parameter {
    parameter(name, Domain::Choice(values.to_vec()))
}

fn uniform_range(name: &str, low: f64, high: f64) -> Parameter {
    parameter(name, Domain::Uniform { low, high })
}

fn log_range(name: &str, low: f64, high: f64) -> Parameter {
    parameter(name, Domain::LogUniform { low, high })
}

fn only_when(mut parameter: Parameter, path: &str, values: &[Value]) -> Parameter {
    parameter.when.push((path.to_string(), values.to_vec()));
    parameter
}

fn fields(value: Value) -> Assignment {
    value.as_object().unwrap().clone()
}

fn together(name: &str, sets: &[Value]) -> Parameter {
    parameter(
        name,
        Domain::Together(sets.iter().cloned().map(fields).collect()),
    )
}

fn number(assignment: &Assignment, path: &str) -> f64 {
    assignment[path].as_f64().unwrap()
}

fn texts(assignments: &[Assignment]) -> Vec<String> {
    assignments
        .iter()
        .map(|assignment| serde_json::to_string(assignment).unwrap())
        .collect()
}

/// One of each domain, a condition on a later parameter, and one on that.
fn mixed() -> Vec<Parameter> {
    vec![
        only_when(
            log_range("rate", 1e-5, 1e-2),
            "optimizer",
            &[json!("adamw")],
        ),
        choice("optimizer", &[json!("adamw"), json!("sgd")]),
        only_when(
            uniform_range("momentum", 0.5, 0.99),
            "optimizer",
            &[json!("sgd")],
        ),
        parameter("layers", Domain::Int { low: -2, high: 3 }),
        together(
            "size",
            &[
                json!({"encoder": "small", "batch": 32}),
                json!({"encoder": "large", "batch": 8}),
            ],
        ),
        only_when(
            choice("freeze", &[json!(true), json!(false)]),
            "batch",
            &[json!(8.0)],
        ),
    ]
}

#[test]
fn the_last_parameter_of_a_grid_varies_fastest() {
    let parameters = [
        choice("a", &[json!(1), json!(2)]),
        choice("b", &[json!("x"), json!("y"), json!("x")]),
    ];
    assert_eq!(
        texts(&grid(&parameters)),
        [
            r#"{"a":1,"b":"x"}"#,
            r#"{"a":1,"b":"y"}"#,
            r#"{"a":2,"b":"x"}"#,
            r#"{"a":2,"b":"y"}"#
        ]
    );
    assert_eq!(grid_size(&parameters), 4);
    assert_eq!(grid(&[]), [Assignment::new()]);
}

#[test]
fn conditional_parameters_expand_only_where_they_hold_wherever_they_stand() {
    let parameters = [
        // On a later one, which is itself conditional.
        only_when(
            choice("depth", &[json!(1), json!(2)]),
            "warm",
            &[json!(true)],
        ),
        choice("name", &[json!("adamw"), json!("sgd")]),
        only_when(
            choice("warm", &[json!(false), json!(true)]),
            "name",
            &[json!("sgd")],
        ),
    ];
    assert_eq!(
        texts(&grid(&parameters)),
        [
            r#"{"name":"adamw"}"#,
            r#"{"name":"sgd","warm":false}"#,
            r#"{"depth":1,"name":"sgd","warm":true}"#,
            r#"{"depth":2,"name":"sgd","warm":true}"#,
        ]
    );
    assert_eq!(grid_size(&parameters), 4);
}

#[test]
fn fields_set_together_are_spread_out_and_equal_assignments_are_one() {
    let parameters = [
        together(
            "size",
            &[
                json!({"encoder": "small", "batch": 32}),
                json!({"batch": 32, "encoder": "small"}),
                json!({"encoder": "large", "batch": 8}),
            ],
        ),
        // Sets a path again, to the same whatever the first says.
        choice("encoder", &[json!("tiny")]),
    ];
    assert_eq!(
        texts(&grid(&parameters)),
        [
            r#"{"encoder":"tiny","batch":32}"#,
            r#"{"encoder":"tiny","batch":8}"#
        ]
    );
}

#[test]
fn circles_and_ranges_and_empty_lists_do_no_harm() {
    let a = only_when(choice("a", &[json!(1)]), "b", &[json!(1)]);
    let b = only_when(choice("b", &[json!(1)]), "a", &[json!(1)]);
    let own = only_when(choice("own", &[json!(1)]), "own", &[json!(1)]);
    let nothing = only_when(choice("c", &[json!(1)]), "unset", &[json!(1)]);
    let parameters = [
        a,
        b,
        own,
        nothing,
        choice("empty", &[]),
        together("none", &[]),
        log_range("rate", 1e-5, 1e-3),
        choice("d", &[json!(1), json!(2)]),
    ];
    assert_eq!(texts(&grid(&parameters)), [r#"{"d":1}"#, r#"{"d":2}"#]);
    assert_eq!(grid_size(&parameters), 2);
    let drawn = random(&parameters, 1, 1);
    assert_eq!(drawn.keys().collect::<Vec<_>>(), ["rate", "d"]);
    let odd = [
        uniform_range("nan", f64::NAN, f64::NAN),
        uniform_range("wide", f64::MIN, f64::MAX),
        uniform_range("turned", 2.0, 1.0),
        log_range("negative", -1.0, 1.0),
        parameter(
            "int",
            Domain::Int {
                low: i64::MIN,
                high: i64::MAX,
            },
        ),
        parameter("turned_int", Domain::Int { low: 5, high: -5 }),
    ];
    let history: Vec<Assignment> = (0..20).map(|number| random(&odd, 1, number)).collect();
    let known: Vec<Known> = history
        .iter()
        .map(|assignment| Known {
            assignment,
            score: Some(1.0),
        })
        .collect();
    tpe(&odd, 1, 20, Direction::Maximize, &known);
}

#[test]
fn the_size_of_a_grid_is_known_without_building_it_and_cannot_overflow() {
    let ten: Vec<Value> = (0..10).map(Value::from).collect();
    let mut parameters: Vec<Parameter> = (0..6)
        .map(|number| choice(&format!("p{number}"), &ten))
        .collect();
    assert_eq!(grid_size(&parameters), 1_000_000);
    parameters.push(only_when(choice("q", &ten), "p0", &[json!(3)]));
    assert_eq!(grid_size(&parameters), 900_000 + 1_000_000);
    parameters.extend((0..60).map(|number| choice(&format!("r{number}"), &ten)));
    assert_eq!(grid_size(&parameters), u64::MAX);
    let conditional: Vec<Parameter> = (0..40)
        .flat_map(|number| {
            let name = format!("p{number}");
            let below = choice(&format!("q{number}"), &ten);
            [choice(&name, &ten), only_when(below, &name, &[json!(1)])]
        })
        .collect();
    assert!(grid_size(&conditional) >= CASES_AT_MOST);
}

/// Every value in its domain, and every parameter there exactly where its conditions hold.
fn assert_belongs(parameters: &[Parameter], assignment: &Assignment) {
    let mut paths = BTreeSet::new();
    for parameter in parameters {
        let active = applies(parameter, assignment);
        if active {
            match &parameter.domain {
                Domain::Choice(values) => assert!(values.contains(&assignment[&parameter.name])),
                Domain::Together(sets) => {
                    let set = sets.iter().find(|set| {
                        set.iter()
                            .all(|(path, value)| assignment.get(path) == Some(value))
                    });
                    paths.extend(set.unwrap().keys().cloned());
                }
                Domain::Uniform { low, high } | Domain::LogUniform { low, high } => {
                    let drawn = number(assignment, &parameter.name);
                    assert!((*low..=*high).contains(&drawn), "{drawn}");
                }
                Domain::Int { low, high } => {
                    let drawn = assignment[&parameter.name].as_i64().unwrap();
                    assert!((*low..=*high).contains(&drawn), "{drawn}");
                }
            }
            if !matches!(parameter.domain, Domain::Together(_)) {
                paths.insert(parameter.name.clone());
            }
        }
    }
    assert_eq!(assignment.keys().cloned().collect::<BTreeSet<_>>(), paths);
}

fn scores() -> impl Strategy<Value = Vec<Option<f64>>> {
    let score = prop_oneof![
        4 => (-1.0..1.0).prop_map(Some),
        1 => Just(Some(f64::NAN)),
        1 => Just(Some(f64::INFINITY)),
        1 => Just(Some(f64::NEG_INFINITY)),
        1 => Just(Some(f64::MAX)),
        2 => Just(None),
    ];
    prop::collection::vec(score, 0..40)
}

proptest! {
    #[test]
    fn every_draw_lies_in_its_domain_and_depends_on_the_arguments_alone(
        seed: u64,
        trial: u64,
        scores in scores(),
        maximize: bool,
    ) {
        let parameters = mixed();
        let direction = if maximize { Direction::Maximize } else { Direction::Minimize };
        let drawn = random(&parameters, seed, trial);
        assert_belongs(&parameters, &drawn);
        prop_assert_eq!(&drawn, &random(&parameters, seed, trial));
        let past: Vec<Assignment> = (0..scores.len() as u64).map(|n| random(&parameters, seed, n)).collect();
        let history: Vec<Known> = past
            .iter()
            .zip(&scores)
            .map(|(assignment, score)| Known { assignment, score: *score })
            .collect();
        let asked = tpe(&parameters, seed, trial, direction, &history);
        assert_belongs(&parameters, &asked);
        prop_assert_eq!(&asked, &tpe(&parameters, seed, trial, direction, &history));
    }

    #[test]
    fn ranges_of_any_width_hold_their_draws(low in -1e3..1e3f64, width in 1e-9..1e3f64, seed: u64) {
        let parameters = [
            uniform_range("u", low, low + width),
            log_range("l", low.abs() + 1e-9, low.abs() + 1e-9 + width),
        ];
        assert_belongs(&parameters, &random(&parameters, seed, 0));
    }

    #[test]
    fn a_grid_without_conditions_is_the_product_and_repeats_nothing(sizes in prop::collection::vec(1i64..5, 0..5)) {
        let parameters: Vec<Parameter> = sizes
            .iter()
            .enumerate()
            .map(|(at, size)| choice(&format!("p{at}"), &(0..*size).map(Value::from).collect::<Vec<_>>()))
            .collect();
        let points = grid(&parameters);
        prop_assert_eq!(points.len() as i64, sizes.iter().product::<i64>());
        prop_assert_eq!(points.len() as u64, grid_size(&parameters));
        prop_assert_eq!(texts(&points).into_iter().collect::<BTreeSet<_>>().len(), points.len());
    }

    #[test]
    fn a_grid_with_conditions_is_what_a_full_product_leaves(asked in prop::collection::vec((0usize..5, 0i64..3), 5)) {
        // Parameter n depends on an earlier one, or on none.
        let three = [json!(0), json!(1), json!(2)];
        let parameters: Vec<Parameter> = asked
            .iter()
            .enumerate()
            .map(|(at, (on, value))| {
                let plain = choice(&format!("p{at}"), &three);
                if *on < at { only_when(plain, &format!("p{on}"), &[json!(value)]) } else { plain }
            })
            .collect();
        let without: Vec<Parameter> = (0..5).map(|at| choice(&format!("p{at}"), &three)).collect();
        let mut expected: Vec<String> = Vec::new();
        for point in grid(&without) {
            let mut kept = Assignment::new();
            for (parameter, (path, value)) in parameters.iter().zip(&point) {
                if applies(parameter, &kept) {
                    kept.insert(path.clone(), value.clone());
                }
            }
            let text = serde_json::to_string(&kept).unwrap();
            if !expected.contains(&text) {
                expected.push(text);
            }
        }
        prop_assert_eq!(grid_size(&parameters), expected.len() as u64);
        prop_assert_eq!(texts(&grid(&parameters)), expected);
    }
}

#[test]
fn random_draws_cover_a_domain_evenly() {
    let parameters = [
        log_range("rate", 1e-6, 1e-2),
        parameter("n", Domain::Int { low: 1, high: 4 }),
        choice("c", &[json!("a"), json!("b")]),
    ];
    let draws: Vec<Assignment> = (0..4000).map(|n| random(&parameters, 3, n)).collect();
    let share = |holds: &dyn Fn(&Assignment) -> bool| {
        draws.iter().filter(|draw| holds(draw)).count() as f64 / draws.len() as f64
    };
    assert!((share(&|draw| number(draw, "rate") < 1e-4) - 0.5).abs() < 0.03);
    for n in 1..=4 {
        assert!((share(&|draw| draw["n"] == json!(n)) - 0.25).abs() < 0.03);
    }
    assert!((share(&|draw| draw["c"] == json!("a")) - 0.5).abs() < 0.03);
    // Parameters are drawn independently.
    let both = share(&|draw| draw["c"] == json!("a") && number(draw, "rate") < 1e-4);
    assert!((both - 0.25).abs() < 0.03);
}

#[test]
fn numbers_from_ranges_are_plain_to_read() {
    let parameters = [
        log_range("rate", 1e-6, 1e-2),
        uniform_range("rest", 0.0, 0.5),
    ];
    for trial in 0..200 {
        let drawn = random(&parameters, 1, trial);
        for value in [number(&drawn, "rate"), number(&drawn, "rest")] {
            let digits = format!("{value:e}")
                .split('e')
                .next()
                .unwrap()
                .replace('.', "");
            assert!(digits.len() <= 4, "{value}");
        }
    }
    let narrow = [uniform_range("narrow", 0.999_990, 0.999_999)];
    let drawn: BTreeSet<String> = (0..50)
        .map(|n| random(&narrow, 1, n)["narrow"].to_string())
        .collect();
    assert!(drawn.len() > 40, "{drawn:?}");
}

#[test]
fn a_parameter_that_is_added_leaves_the_random_draws_of_the_others() {
    let mut parameters = vec![log_range("rate", 1e-6, 1e-2)];
    let before = random(&parameters, 7, 3);
    parameters.insert(0, uniform_range("dropout", 0.0, 0.5));
    let after = random(&parameters, 7, 3);
    assert_eq!(before["rate"], after["rate"]);
    assert_ne!(before, random(&parameters[1..], 7, 4));
    assert_ne!(before, random(&parameters[1..], 8, 3));
}

/// Fifty trials of a search for the least cost, as many side by side; the best cost.
fn search(
    parameters: &[Parameter],
    seed: u64,
    side_by_side: usize,
    cost: fn(&Assignment) -> f64,
) -> f64 {
    let mut trials: Vec<(Assignment, f64)> = Vec::new();
    for trial in 0..50 {
        let ended = (trial + 1usize).saturating_sub(side_by_side);
        let history: Vec<Known> = trials
            .iter()
            .enumerate()
            .map(|(at, (assignment, cost))| Known {
                assignment,
                score: (at < ended).then_some(*cost),
            })
            .collect();
        let next = tpe(
            parameters,
            seed,
            trial as u64,
            Direction::Minimize,
            &history,
        );
        let found = cost(&next);
        trials.push((next, found));
    }
    trials
        .iter()
        .map(|trial| trial.1)
        .fold(f64::INFINITY, f64::min)
}

/// Over 30 seeds: the mean of the best after fifty trials by TPE and at random, and how often TPE's was the better one.
fn against_random(
    parameters: &[Parameter],
    side_by_side: usize,
    cost: fn(&Assignment) -> f64,
) -> (f64, f64, usize) {
    let mut sums = (0.0, 0.0, 0);
    for seed in 0..30 {
        let at_random = (0..50)
            .map(|trial| cost(&random(parameters, seed, trial)))
            .fold(f64::INFINITY, f64::min);
        let by_tpe = search(parameters, seed, side_by_side, cost);
        sums.0 += by_tpe / 30.0;
        sums.1 += at_random / 30.0;
        sums.2 += usize::from(by_tpe < at_random);
    }
    println!(
        "TPE {:.4}, random {:.4}, TPE better {} of 30",
        sums.0, sums.1, sums.2
    );
    sums
}

/// Least: 0.397887, at three places.
fn branin(assignment: &Assignment) -> f64 {
    let (x, y) = (number(assignment, "x"), number(assignment, "y"));
    (y - 5.1 / (4.0 * PI * PI) * x * x + 5.0 / PI * x - 6.0).powi(2)
        + 10.0 * (1.0 - 1.0 / (8.0 * PI)) * x.cos()
        + 10.0
}

/// What a training looks like: a best learning rate and dropout, and one encoder that is better than three others.
fn training(assignment: &Assignment) -> f64 {
    let rate = number(assignment, "rate").log10() + 4.3;
    let dropout = number(assignment, "dropout") - 0.1;
    let encoder = if assignment["encoder"] == json!(2) {
        0.0
    } else {
        0.3
    };
    rate * rate + 4.0 * dropout * dropout + encoder
}

/// That 20 or more of 30 fair coins show heads has a chance of 5 %, 22 or more of 0.8 %.
#[test]
fn tpe_beats_random_on_a_known_function() {
    let parameters = [
        uniform_range("x", -5.0, 10.0),
        uniform_range("y", 0.0, 15.0),
    ];
    for side_by_side in [1, 4] {
        let (by_tpe, at_random, better) = against_random(&parameters, side_by_side, branin);
        assert!(by_tpe - 0.397_887 < 0.6 * (at_random - 0.397_887));
        assert!(better >= 20, "{better}");
    }
}

#[test]
fn tpe_beats_random_on_ranges_in_log_space_and_choices() {
    let parameters = [
        log_range("rate", 1e-6, 1e-2),
        uniform_range("dropout", 0.0, 0.5),
        choice("encoder", &[json!(0), json!(1), json!(2), json!(3)]),
    ];
    for side_by_side in [1, 4] {
        let (by_tpe, at_random, better) = against_random(&parameters, side_by_side, training);
        assert!(by_tpe < 0.7 * at_random);
        assert!(better >= 20, "{better}");
    }
}

#[test]
fn tpe_beats_random_on_whole_numbers_and_fields_set_together() {
    let sets: Vec<Value> = (0..6)
        .map(|n| json!({"encoder": n, "batch": 2 * n}))
        .collect();
    let parameters = [
        parameter("layers", Domain::Int { low: 1, high: 100 }),
        together("size", &sets),
    ];
    let (by_tpe, at_random, better) = against_random(&parameters, 1, |assignment| {
        (number(assignment, "layers") - 7.0).powi(2) * 0.01
            + (number(assignment, "batch") - 6.0).abs()
    });
    assert!(by_tpe < 0.7 * at_random);
    assert!(better >= 15, "{better}");
}

/// The best trials are those without the parameter: what they say about it is nothing.
#[test]
fn tpe_learns_a_conditional_parameter_from_the_trials_in_which_it_was_active() {
    let parameters = [
        only_when(log_range("high", 1e-6, 1.0), "name", &[json!("sgd")]),
        choice("name", &[json!("adamw"), json!("sgd")]),
        only_when(log_range("low", 1e-6, 1.0), "name", &[json!("adamw")]),
    ];
    let past: Vec<Assignment> = (0..80).map(|n| random(&parameters, 1, n)).collect();
    let distance = |assignment: &Assignment| match assignment.get("high") {
        Some(rate) => (rate.as_f64().unwrap().log10() + 1.0).abs(),
        None => (number(assignment, "low").log10() + 4.0).abs(),
    };
    for (name, ahead) in [("adamw", "sgd"), ("sgd", "adamw")] {
        let history: Vec<Known> = past
            .iter()
            .map(|assignment| Known {
                assignment,
                score: Some(
                    distance(assignment)
                        + if assignment["name"] == *ahead {
                            0.0
                        } else {
                            100.0
                        },
                ),
            })
            .collect();
        let mut only = parameters.to_vec();
        only[1] = choice("name", &[json!(name)]);
        let mean = |asked: &dyn Fn(u64) -> Assignment| {
            (80..120).map(|n| distance(&asked(n))).sum::<f64>() / 40.0
        };
        let by_tpe = mean(&|n| tpe(&only, 1, n, Direction::Minimize, &history));
        let at_random = mean(&|n| random(&only, 1, n));
        assert!(by_tpe < 0.4 * at_random, "{name}: {by_tpe} {at_random}");
    }
}

#[test]
fn the_direction_decides_where_tpe_looks() {
    let parameters = [uniform_range("x", 0.0, 1.0)];
    let past: Vec<Assignment> = (0..40).map(|n| random(&parameters, 1, n)).collect();
    let history: Vec<Known> = past
        .iter()
        .map(|assignment| Known {
            assignment,
            score: Some(number(assignment, "x")),
        })
        .collect();
    let mean = |direction| {
        (0..20)
            .map(|n| number(&tpe(&parameters, 1, n, direction, &history), "x"))
            .sum::<f64>()
            / 20.0
    };
    assert!(mean(Direction::Maximize) > 0.8);
    assert!(mean(Direction::Minimize) < 0.2);
}

#[test]
fn the_first_ten_finished_trials_are_random() {
    let parameters = [uniform_range("x", 0.0, 1.0)];
    let past: Vec<Assignment> = (0..30).map(|n| random(&parameters, 1, n)).collect();
    let known = |finished: usize| -> Vec<Known> {
        past.iter()
            .enumerate()
            .map(|(at, assignment)| Known {
                assignment,
                score: (at < finished).then(|| number(assignment, "x")),
            })
            .collect()
    };
    let asked = |finished| tpe(&parameters, 1, 30, Direction::Minimize, &known(finished));
    assert_eq!(asked(9), random(&parameters, 1, 30));
    assert_ne!(asked(10), random(&parameters, 1, 30));
}

/// Trials asked for while others run, with nothing finished in between.
#[test]
fn running_trials_keep_the_next_ones_away() {
    let parameters = [uniform_range("x", 0.0, 1.0)];
    let past: Vec<Assignment> = (0..20).map(|n| random(&parameters, 5, n)).collect();
    let spread = |tell_running: bool| {
        let mut running: Vec<Assignment> = Vec::new();
        for n in 20..40 {
            let mut history: Vec<Known> = past
                .iter()
                .map(|assignment| Known {
                    assignment,
                    score: Some((number(assignment, "x") - 0.5).abs()),
                })
                .collect();
            if tell_running {
                history.extend(running.iter().map(|assignment| Known {
                    assignment,
                    score: None,
                }));
            }
            let next = tpe(&parameters, 5, n, Direction::Minimize, &history);
            running.push(next);
        }
        let mean = running.iter().map(|a| number(a, "x")).sum::<f64>() / 20.0;
        running
            .iter()
            .map(|a| (number(a, "x") - mean).powi(2))
            .sum::<f64>()
    };
    assert!(spread(true) > 2.0 * spread(false));
}

#[test]
fn failed_trials_are_never_the_good_ones() {
    let parameters = [uniform_range("x", 0.0, 1.0)];
    let past: Vec<Assignment> = (0..100).map(|n| random(&parameters, 2, n)).collect();
    // Whatever lies above 0.1 diverged.
    let history: Vec<Known> = past
        .iter()
        .map(|assignment| Known {
            assignment,
            score: Some(if number(assignment, "x") > 0.1 {
                f64::NAN
            } else {
                1.0
            }),
        })
        .collect();
    let near = (0..20)
        .filter(|n| {
            number(
                &tpe(&parameters, 2, 100 + n, Direction::Maximize, &history),
                "x",
            ) < 0.15
        })
        .count();
    assert!(near >= 18, "{near}");
}

#[test]
fn values_that_left_the_domain_are_forgotten() {
    let parameters = [
        choice("c", &[json!(1), json!(2)]),
        uniform_range("x", 0.0, 1.0),
    ];
    let gone = fields(json!({"c": 3, "x": 7.0}));
    let history = vec![
        Known {
            assignment: &gone,
            score: Some(0.0),
        };
        20
    ];
    let asked = tpe(&parameters, 4, 20, Direction::Minimize, &history);
    assert_eq!(asked, random(&parameters, 4, 20));
}

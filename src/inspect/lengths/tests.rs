//! Percentiles and the two-sample test against NumPy and SciPy.

use serde::Deserialize;

use super::*;

#[derive(Deserialize)]
struct Case {
    a: Vec<u32>,
    b: Vec<u32>,
    d: f64,
    p: f64,
    /// 5, 50, 95, 99, by `inverted_cdf`.
    percentiles: [u32; 4],
}

#[test]
fn percentiles_and_the_test_are_those_of_numpy_and_scipy() {
    let cases: Vec<Case> =
        serde_json::from_str(include_str!("../../../tests/fixtures/lengths.json")).unwrap();
    assert_eq!(cases.len(), 5);
    for case in cases {
        let gap = smirnov(&case.a, &case.b);
        assert!((gap.d - case.d).abs() < 1e-12, "{gap:?} {}", case.d);
        assert!(
            (gap.p - case.p).abs() < 1e-9 * case.p.max(1e-3) + 1e-12,
            "{gap:?} {}",
            case.p
        );
        let lengths = Lengths::of(&case.a);
        assert_eq!(
            [lengths.p5, lengths.p50, lengths.p95, lengths.p99],
            case.percentiles
        );
        assert_eq!(lengths.max, case.a.iter().copied().max().unwrap());
    }
}

#[test]
fn no_rows_have_no_length_and_do_not_differ() {
    assert_eq!(Lengths::of(&[]), Lengths::default());
    assert_eq!(smirnov(&[], &[1]), Gap { d: 0.0, p: 1.0 });
}

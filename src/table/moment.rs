//! Times as data sets write them, and their order.
//!
//! A time is a date, a date with its time of day (with an offset from UTC or without one), or a number of anything that
//! grows. Only times of one kind can be compared: whether `2024-05-01` comes before `2024-05-01T09:00:00Z` depends on where
//! it was written.
//!
//! Deliberately absent: durations, calendars, time zones by name.

use std::fmt;

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;

/// When something was. Equal kinds are comparable.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Moment {
    Integer(i64),
    /// Finite.
    Number(f64),
    /// Days since 1970-01-01.
    Date(i64),
    /// Nanoseconds since the beginning of 1970, of a clock that does not say where it hangs.
    DateTime(i128),
    /// Nanoseconds since the beginning of 1970 in UTC.
    Instant(i128),
}

impl fmt::Display for Moment {
    /// In ISO 8601; a number as it is.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const A_DAY: i128 = 86_400_000_000_000;
        let at = |nanoseconds: i128| Timestamp::from_nanosecond(nanoseconds).ok();
        let local = |nanoseconds| Some(at(nanoseconds)?.to_zoned(TimeZone::UTC).datetime());
        let shown = match self {
            Moment::Integer(value) => return write!(f, "{value}"),
            Moment::Number(value) => return write!(f, "{value:?}"),
            Moment::Date(days) => local(i128::from(*days).saturating_mul(A_DAY))
                .map(|midnight| midnight.date().to_string()),
            Moment::DateTime(nanoseconds) => local(*nanoseconds).map(|local| local.to_string()),
            Moment::Instant(nanoseconds) => at(*nanoseconds).map(|instant| instant.to_string()),
        };
        // No calendar goes that far.
        f.write_str(shown.as_deref().unwrap_or("a time beyond the year 9999"))
    }
}

impl Moment {
    /// For messages.
    pub fn kind(self) -> &'static str {
        match self {
            Moment::Integer(_) | Moment::Number(_) => "a number",
            Moment::Date(_) => "a date",
            Moment::DateTime(_) => "a date and time",
            Moment::Instant(_) => "a date and time with an offset",
        }
    }

    pub fn of_number(value: f64) -> Option<Moment> {
        value.is_finite().then_some(Moment::Number(value))
    }

    /// A number, or a date or time in ISO 8601.
    pub fn parse(text: &str) -> Option<Moment> {
        if let Ok(value) = text.parse() {
            return Some(Moment::Integer(value));
        }
        if let Ok(value) = text.parse() {
            return Moment::of_number(value);
        }
        if let Ok(instant) = text.parse::<Timestamp>() {
            return Some(Moment::Instant(instant.as_nanosecond()));
        }
        let since_1970 = |local: DateTime| {
            let there = local.to_zoned(TimeZone::UTC).ok()?;
            Some(there.timestamp().as_nanosecond())
        };
        let has_time = text.contains([':', 'T', 't']);
        if has_time {
            return Some(Moment::DateTime(since_1970(text.parse().ok()?)?));
        }
        const A_DAY: i128 = 86_400_000_000_000;
        let midnight = since_1970(text.parse::<Date>().ok()?.into())?;
        i64::try_from(midnight.div_euclid(A_DAY))
            .ok()
            .map(Moment::Date)
    }

    /// A number that orders moments of one kind. Integers among numbers with a fraction are compared as these.
    fn order(self, as_numbers: bool) -> i128 {
        /// IEEE 754's total order, without its two zeros.
        fn of(value: f64) -> i128 {
            let bits = (value + 0.0).to_bits() as i64;
            i128::from(bits ^ (((bits >> 63) as u64) >> 1) as i64)
        }
        match self {
            Moment::Integer(value) if as_numbers => of(value as f64),
            Moment::Integer(value) => i128::from(value),
            Moment::Number(value) => of(value),
            Moment::Date(days) => i128::from(days),
            Moment::DateTime(nanoseconds) | Moment::Instant(nanoseconds) => nanoseconds,
        }
    }
}

/// The first moment that is of another kind than the first of all, by its number.
pub fn stranger(moments: impl IntoIterator<Item = Moment>) -> Option<usize> {
    let mut moments = moments.into_iter();
    let kind = moments.next()?.kind();
    let found = moments.position(|moment| moment.kind() != kind)?;
    Some(found + 1)
}

/// The place of each moment in the order of time, from 0 and without gaps; equal ones have one place. All are of one kind.
pub fn ranks(moments: &[Moment]) -> Vec<u32> {
    let with_fraction = |moment: &Moment| matches!(moment, Moment::Number(_));
    let as_numbers = moments.iter().any(with_fraction);
    let orders = moments.iter().map(|moment| moment.order(as_numbers));
    let orders = orders.collect::<Vec<_>>();
    let mut distinct = orders.clone();
    distinct.sort_unstable();
    distinct.dedup();
    let rank = |order: &i128| distinct.binary_search(order).unwrap_or_default() as u32;
    orders.iter().map(rank).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Moment {
        Moment::parse(text).unwrap_or_else(|| panic!("{text}"))
    }

    #[test]
    fn every_way_to_write_a_time_is_known() {
        assert_eq!(parse("1714567890"), Moment::Integer(1_714_567_890));
        assert_eq!(parse("-2.5e3"), Moment::Number(-2500.0));
        assert_eq!(parse("1970-01-03"), Moment::Date(2));
        assert_eq!(parse("1969-12-31"), Moment::Date(-1));
        assert_eq!(
            parse("1970-01-01T00:00:01"),
            Moment::DateTime(1_000_000_000)
        );
        assert_eq!(
            parse("1970-01-01 00:00:01.5"),
            Moment::DateTime(1_500_000_000)
        );
        assert_eq!(
            parse("1970-01-01T00:00:01Z"),
            Moment::Instant(1_000_000_000)
        );
        assert_eq!(parse("1970-01-01T01:00:00+01:00"), Moment::Instant(0));
        for none in [
            "",
            "yesterday",
            "01/05/2024",
            "2024-13-01",
            "nan",
            "inf",
            "2024-05-01T25:00",
        ] {
            assert_eq!(Moment::parse(none), None, "{none}");
        }
    }

    #[test]
    fn moments_of_another_kind_are_found() {
        let all = ["2024-05-01", "2024-05-02", "2024-05-01T00:00Z", "3"].map(parse);
        assert_eq!(stranger(all), Some(2));
        assert_eq!(stranger(["1", "2.5"].map(parse)), None);
        assert_eq!(stranger([]), None);
    }

    #[test]
    fn large_integers_stay_apart() {
        let near = [i64::MAX, i64::MAX - 1, 0].map(Moment::Integer);
        assert_eq!(ranks(&near), [2, 1, 0]);
    }

    proptest! {
        #[test]
        fn ranks_are_the_order_of_numbers(values in prop::collection::vec(-100_i32..100, 0..40), halves in any::<bool>()) {
            let moment = |value: &i32| match (halves, value % 2) {
                (true, 0) => Moment::Number(f64::from(*value) / 2.0),
                (true, _) => Moment::Integer(i64::from(*value)),
                (false, _) => Moment::Integer(i64::from(*value)),
            };
            let number = |value: &i32| match (halves, value % 2) {
                (true, 0) => f64::from(*value) / 2.0,
                _ => f64::from(*value),
            };
            let found = ranks(&values.iter().map(moment).collect::<Vec<_>>());
            let numbers = values.iter().map(number).collect::<Vec<_>>();
            for (a, x) in found.iter().zip(&numbers) {
                for (b, y) in found.iter().zip(&numbers) {
                    prop_assert_eq!(a.cmp(b), x.partial_cmp(y).unwrap());
                }
            }
        }

        #[test]
        fn no_text_makes_it_panic(text in "[0-9TZ:+. -]{0,24}|\\PC{0,12}") {
            let _ = Moment::parse(&text);
        }
    }
}

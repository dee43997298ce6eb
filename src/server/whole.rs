//! Whole numbers of request bodies: `5.0` is one as well (JSON Schema 2020-12 §6.1.1; some programs know no other).

use serde::{Deserialize as _, Deserializer};
use serde_json::{Number, Value};

/// Largest number up to which a float names every whole number.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// For a member that is a number.
pub(crate) fn required<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: TryFrom<u64>,
{
    converted(&Number::deserialize(deserializer)?)
}

/// For a member that may be `null`.
pub(crate) fn or_null<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: TryFrom<u64>,
{
    Option::<Number>::deserialize(deserializer)?.map(|number| converted(&number)).transpose()
}

fn converted<T: TryFrom<u64>, E: serde::de::Error>(number: &Number) -> Result<T, E> {
    let whole = number.as_u64().or_else(|| u64::try_from(of_float(number.as_f64()?)?).ok());
    let fitting = whole.and_then(|whole| T::try_from(whole).ok());
    fitting.ok_or_else(|| E::custom(format!("{number} is no whole number that fits here")))
}

/// The whole number that `value` is, of any sign.
pub(crate) fn signed(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| of_float(value.as_f64()?))
}

#[expect(clippy::cast_possible_truncation, reason = "the value was found to be whole and within ±2^53")]
fn of_float(number: f64) -> Option<i64> {
    (number.fract() == 0.0 && number.abs() <= EXACT).then_some(number as i64)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::{Value, from_value, json};

    #[derive(Deserialize)]
    struct Body {
        #[serde(deserialize_with = "super::required")]
        days: u32,
        #[serde(default, deserialize_with = "super::or_null")]
        ms: Option<u64>,
    }

    #[test]
    fn whole_is_whole_however_it_is_written() {
        let read = |days: Value, ms: Value| from_value::<Body>(json!({ "days": days, "ms": ms })).ok();
        let body = read(json!(5.0), json!(1e3)).unwrap();
        assert_eq!((body.days, body.ms), (5, Some(1000)));
        assert_eq!(super::signed(&json!(-7.0)), Some(-7));
        assert_eq!(super::signed(&json!(-7.5)), None);
        assert_eq!(read(json!(0), Value::Null).unwrap().ms, None);
        assert_eq!(read(json!(u32::MAX), json!(u64::MAX)).unwrap().ms, Some(u64::MAX));
        for (days, ms) in [
            (json!(5.5), json!(1)),
            (json!(-1), json!(1)),
            (json!(-0.5), json!(1)),
            (json!(u64::MAX), json!(1)),
            (Value::Null, json!(1)),
            (json!("5"), json!(1)),
            (json!(5), json!(1e300)),
            (json!(5), json!("1")),
        ] {
            assert!(read(days.clone(), ms.clone()).is_none(), "{days} {ms}");
        }
    }
}

//! Token counts of an answer.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Visitor};
use serde_json::value::RawValue;

/// Token counts; what is missing is 0.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct UsageMetadata {
    /// The whole prompt, cached tokens included.
    pub prompt_token_count: Count,
    /// The share of the prompt that came from the cache.
    pub cached_content_token_count: Count,
    /// Generated tokens without thoughts.
    pub candidates_token_count: Count,
    /// Thoughts.
    pub thoughts_token_count: Count,
}

impl UsageMetadata {
    /// Reads counts; `None` when they are of another shape. An answer is not lost because its counts make no sense.
    #[must_use]
    pub fn read(usage: &RawValue) -> Option<Self> {
        usage.get().starts_with('{').then(|| serde_json::from_str(usage.get()).ok()).flatten()
    }
}

/// A count; JSON numbers, decimal strings (how 64-bit integers are written) and `null` are taken. What no answer
/// can have used (negative, above 2³²) counts as 0: the statistics add counts up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count(pub u64);

impl Count {
    /// The count if it is a possible one, else 0.
    #[must_use]
    pub fn of(count: u64) -> Self {
        Self(if count > u64::from(u32::MAX) { 0 } else { count })
    }
}

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct CountVisitor;
        impl Visitor<'_> for CountVisitor {
            type Value = Count;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a count")
            }
            fn visit_u64<E>(self, count: u64) -> Result<Count, E> {
                Ok(Count::of(count))
            }
            fn visit_i64<E>(self, count: i64) -> Result<Count, E> {
                Ok(Count::of(u64::try_from(count).unwrap_or(0)))
            }
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the cast saturates")]
            fn visit_f64<E>(self, count: f64) -> Result<Count, E> {
                Ok(Count::of(count as u64))
            }
            fn visit_str<E>(self, count: &str) -> Result<Count, E> {
                Ok(Count::of(count.parse().unwrap_or(0)))
            }
            fn visit_unit<E>(self) -> Result<Count, E> {
                Ok(Count(0))
            }
        }
        deserializer.deserialize_any(CountVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::{Count, UsageMetadata};

    #[test]
    fn counts() {
        let read = |json: &str| UsageMetadata::read(serde_json::from_str(json).unwrap());
        let usage = |json: &str| read(json).unwrap();
        let some = usage(
            r#"{"promptTokenCount":"12","cachedContentTokenCount":-3,"candidatesTokenCount":7.0,"thoughtsTokenCount":null,"totalTokenCount":{}}"#,
        );
        assert_eq!(some.prompt_token_count, Count(12));
        assert_eq!(some.cached_content_token_count, Count(0));
        assert_eq!(some.candidates_token_count, Count(7));
        assert_eq!(some.thoughts_token_count, Count(0));
        for absurd in ["18446744073709551615", "1e300", "4294967296", "-1e9", "\"-5\""] {
            let usage = usage(&format!(r#"{{"promptTokenCount":{absurd}}}"#));
            assert_eq!(usage.prompt_token_count, Count(0), "{absurd}");
        }
        for unreadable in ["7", "[]", r#"{"promptTokenCount":{}}"#, r#"{"promptTokenCount":true}"#] {
            assert!(read(unreadable).is_none(), "{unreadable}");
        }
    }
}

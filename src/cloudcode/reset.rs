//! How long the upstream asks to wait (spec `dispatch.md` §3, with the right-hand answers of §3.2).
//!
//! Headers go before the body, named fields before free text. Free text is believed only right after one of the
//! words reset, retry, after, in. Absolute times are taken relative to the upstream's own clock.

use std::time::Duration;

use http::HeaderMap;
use http::header::{DATE, RETRY_AFTER};

use super::google_error::GoogleError;

/// No wait is believed beyond this: longer than the longest quota window, which is a week.
pub const MAX_RESET: Duration = Duration::from_hours(8 * 24);

/// Numbers above this cannot be epoch seconds of this age and are epoch milliseconds.
const EPOCH_SECONDS_LIMIT: i64 = 100_000_000_000;

/// The `Date` header in milliseconds since the epoch.
pub(super) fn date_ms(headers: &HeaderMap) -> Option<i64> {
    http_date_ms(headers.get(DATE)?.to_str().ok()?)
}

/// The wait, adjusted: nothing or less becomes 500 ms, below 500 ms gets 200 ms added (§3.3), capped at
/// [`MAX_RESET`]. `lower` is the body in ASCII lower case.
pub(super) fn parse(headers: &HeaderMap, error: &GoogleError, lower: &str, now_ms: i64) -> Option<Duration> {
    let ms = from_headers(headers, now_ms)
        .or_nonzero(|| from_error(error, now_ms))
        .or_nonzero(|| from_text(lower, now_ms));
    let adjusted = match ms.0? {
        ..=0 => 500,
        short @ 1..500 => short + 200,
        long => long,
    };
    Some(Duration::from_millis(adjusted.unsigned_abs()).min(MAX_RESET))
}

/// Milliseconds found so far; zero is kept only if nothing better follows.
#[derive(Clone, Copy)]
struct Found(Option<i64>);

impl Found {
    fn or_nonzero(self, next: impl FnOnce() -> Self) -> Self {
        match self.0 {
            Some(ms) if ms != 0 => self,
            remembered => Self(next().0.or(remembered)),
        }
    }
}

fn from_headers(headers: &HeaderMap, now_ms: i64) -> Found {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let after = text(RETRY_AFTER.as_str()).and_then(|value| {
        if let Some(at) = stamp_ms(value).or_else(|| http_date_ms(value)) {
            return Some(at.saturating_sub(now_ms)).filter(|ms| *ms > 0);
        }
        leading_integer(value).map(|seconds| seconds.saturating_mul(1000))
    });
    if after.is_some_and(|ms| ms != 0) {
        return Found(after);
    }
    let mut found = Found(after);
    if let Some(at) = text("x-ratelimit-reset").and_then(leading_integer) {
        let at_ms = if at > EPOCH_SECONDS_LIMIT { at } else { at.saturating_mul(1000) };
        // A moment that has passed says that there is nothing to wait for: it also takes back a remembered zero.
        found = Found(Some(at_ms.saturating_sub(now_ms)).filter(|ms| *ms > 0));
    }
    found.or_nonzero(|| {
        let seconds = text("x-ratelimit-reset-after").and_then(leading_integer).filter(|n| *n > 0);
        Found(seconds.map(|n| n.saturating_mul(1000)))
    })
}

fn from_error(error: &GoogleError, now_ms: i64) -> Found {
    let exact = |text: &Option<String>| {
        let lower = text.as_deref()?.trim().to_ascii_lowercase();
        duration_ms(&lower, Units::Short).filter(|(_, rest)| rest.is_empty()).map(|(ms, _)| ms)
    };
    Found(exact(&error.quota_reset_delay))
        .or_nonzero(|| {
            let at = error.quota_reset_stamp.as_deref().and_then(stamp_ms);
            Found(at.map(|at| at.saturating_sub(now_ms)))
        })
        .or_nonzero(|| Found(exact(&error.retry_delay)))
}

fn from_text(text: &str, now_ms: i64) -> Found {
    let until = |at: i64| at.saturating_sub(now_ms);
    Found(named(text, &["quotaresetdelay"], short_duration))
        .or_nonzero(|| Found(named(text, &["quotaresettimestamp"], |value| stamp_ms(value).map(until))))
        .or_nonzero(|| {
            let names = ["retrydelay", "retryafterms", "retry-after-ms", "retry_after_ms"];
            Found(named(text, &names, |value| short_duration(value).or_else(|| plain_ms(value))))
        })
        .or_nonzero(|| Found(anchored(text)))
        .or_nonzero(|| {
            Found(named(text, &["reset"], |value| stamp_ms(value).map(until).filter(|ms| *ms > 0)))
        })
}

/// The first value after one of `names` and a run of separators that `read` accepts.
fn named(text: &str, names: &[&str], read: impl Fn(&str) -> Option<i64>) -> Option<i64> {
    names
        .iter()
        .flat_map(|name| text.match_indices(name))
        .filter_map(|(at, name)| {
            let value = text[at + name.len()..]
                .trim_start_matches(|c: char| c.is_whitespace() || matches!(c, ':' | '"' | '\\'));
            Some((at, read(value)?))
        })
        .min_by_key(|(at, _)| *at)
        .map(|(_, ms)| ms)
}

/// The earliest duration directly after one of the words that announce one.
fn anchored(text: &str) -> Option<i64> {
    ["reset", "resets", "retry", "after", "in"]
        .iter()
        .flat_map(|word| text.match_indices(word))
        .filter_map(|(at, word)| {
            if text[..at].ends_with(is_word) {
                return None;
            }
            let rest = &text[at + word.len()..];
            let value = rest.trim_start_matches(|c: char| c.is_whitespace() || c == ':');
            if value.len() == rest.len() {
                return None;
            }
            duration_ms(value, Units::Long).map(|(ms, _)| (at, ms))
        })
        .min_by_key(|(at, _)| *at)
        .map(|(_, ms)| ms)
}

fn short_duration(value: &str) -> Option<i64> {
    duration_ms(value, Units::Short).map(|(ms, _)| ms)
}

/// A bare integer of milliseconds.
fn plain_ms(value: &str) -> Option<i64> {
    let digits = value.len() - value.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let rest = &value[digits..];
    if rest.starts_with(is_word) || rest.starts_with('.') { None } else { value[..digits].parse().ok() }
}

/// Which spellings of units are read.
#[derive(Clone, Copy, PartialEq)]
enum Units {
    /// `1h2m3.5s`, as Go prints durations.
    Short,
    /// Also `60 seconds`, `5 min`, with a blank between number and unit.
    Long,
}

/// Reads a duration at the start of `text`: its milliseconds, rounded up, and what follows it. The duration must
/// end there: `77sx` and `12.5` are none.
fn duration_ms(text: &str, units: Units) -> Option<(i64, &str)> {
    const NANOS_PER_MS: u128 = 1_000_000;
    let mut nanos: u128 = 0;
    let mut rest = text;
    while let Some((amount, after)) = decimal(rest) {
        let word = if units == Units::Long { after.trim_start_matches(' ') } else { after };
        let end = word.find(|c: char| !c.is_alphabetic()).unwrap_or(word.len());
        let unit = unit_nanos(&word[..end], units)?;
        nanos = nanos.saturating_add(amount.of(unit));
        rest = &word[end..];
    }
    let ended = !rest.starts_with(is_word)
        && !rest.strip_prefix('.').is_some_and(|tail| tail.starts_with(|c: char| c.is_ascii_digit()));
    (rest.len() < text.len() && ended)
        .then(|| (i64::try_from(nanos.div_ceil(NANOS_PER_MS)).unwrap_or(i64::MAX), rest))
}

fn unit_nanos(unit: &str, units: Units) -> Option<u128> {
    const SECOND: u128 = 1_000_000_000;
    Some(match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => SECOND,
        "m" => 60 * SECOND,
        "h" => 3600 * SECOND,
        _ if units == Units::Short => return None,
        "msec" | "millisecond" | "milliseconds" => 1_000_000,
        "sec" | "secs" | "second" | "seconds" => SECOND,
        "min" | "mins" | "minute" | "minutes" => 60 * SECOND,
        "hr" | "hrs" | "hour" | "hours" => 3600 * SECOND,
        "day" | "days" => 24 * 3600 * SECOND,
        _ => return None,
    })
}

/// A decimal number as `whole + fraction / scale`.
struct Decimal {
    whole: u128,
    fraction: u128,
    scale: u128,
}

impl Decimal {
    fn of(&self, unit: u128) -> u128 {
        self.whole.saturating_mul(unit).saturating_add((self.fraction * unit).div_ceil(self.scale))
    }
}

/// A decimal number at the start of `text`, and what follows it. Digits beyond the twelfth of a fraction are dropped.
fn decimal(text: &str) -> Option<(Decimal, &str)> {
    let digits = |text: &str| text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let whole_len = digits(text);
    let (whole, mut rest) = text.split_at(whole_len);
    let whole = if whole_len > 18 { 10_u128.pow(18) } else { whole.parse().ok()? };
    let (mut fraction, mut scale) = (0, 1);
    if let Some(tail) = rest.strip_prefix('.') {
        let (numerals, after) = tail.split_at(digits(tail));
        if !numerals.is_empty() {
            for numeral in numerals.bytes().take(12) {
                fraction = fraction * 10 + u128::from(numeral - b'0');
                scale *= 10;
            }
            rest = after;
        }
    }
    Some((Decimal { whole, fraction, scale }, rest))
}

/// `YYYY-MM-DDTHH:MM:SS[.f][Z|±HH:MM]` at the start of `text`, in milliseconds since the epoch, UTC unless said.
fn stamp_ms(text: &str) -> Option<i64> {
    let end = text
        .find(|c: char| !(c.is_ascii_digit() || matches!(c, '-' | '+' | ':' | '.' | 't' | 'T' | 'z' | 'Z')))
        .unwrap_or(text.len());
    let stamp = text[..end].trim_end_matches(['.', ':', '-', '+']).to_ascii_uppercase();
    if !stamp.contains('T') {
        return None;
    }
    let parsed = stamp.parse::<jiff::Timestamp>().or_else(|_| format!("{stamp}Z").parse());
    parsed.ok().map(jiff::Timestamp::as_millisecond)
}

fn http_date_ms(text: &str) -> Option<i64> {
    let time = httpdate::parse_http_date(text).ok()?;
    let since = time.duration_since(std::time::UNIX_EPOCH).ok()?;
    i64::try_from(since.as_millis()).ok()
}

/// The integer at the start of `text`, junk after it ignored.
fn leading_integer(text: &str) -> Option<i64> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let digits = unsigned.len() - unsigned.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    text[..text.len() - unsigned.len() + digits].parse().ok()
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests;

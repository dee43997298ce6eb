//! Members of an entry, taken out one by one; each accepts what the reference and its kin write for it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::fmt::rfc2822;
use jiff::tz::TimeZone;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

/// What is wrong with an entry: one sentence that names the member, without its value where that may be secret.
#[derive(Debug)]
pub(super) struct Fault(pub(super) String);

/// Members that mean nothing elsewhere: the reference's counters of the moment.
const OF_THE_MOMENT: &[&str] = &["consecutiveFailures", "coolingDownUntil", "cooldownReason"];

/// The longest text that the store keeps, in bytes.
const TEXT_MAX: usize = 4096;
/// The longest secret, in bytes; composite ones hold several texts.
const SECRET_MAX: usize = 16 * 1024;
/// Most models that one account has thresholds of.
pub(crate) const THRESHOLDS_MAX: usize = 256;

/// The members that were not asked for yet.
pub(super) struct Fields(Map<String, Value>);

impl Fields {
    pub(super) fn new(fields: Map<String, Value>) -> Self {
        Self(fields)
    }

    /// The first of these that is there and not `null`; all of them are taken.
    fn take(&mut self, names: &[&'static str]) -> Option<(&'static str, Value)> {
        let mut found = None;
        for name in names {
            if let Some(value) = self.0.shift_remove(*name).filter(|value| !value.is_null()) {
                found.get_or_insert((*name, value));
            }
        }
        found
    }

    pub(super) fn ignored(&mut self, names: &[&'static str]) {
        self.take(names);
    }

    /// Names of what nobody asked for.
    pub(super) fn unknown(&self) -> impl Iterator<Item = String> {
        let names = self.0.keys().filter(|name| !OF_THE_MOMENT.contains(&&***name) && !name.starts_with('_'));
        names.map(|name| shown(name))
    }

    /// A text, trimmed; an empty one is none.
    pub(super) fn text(&mut self, names: &[&'static str]) -> Result<Option<String>, Fault> {
        let Some((name, value)) = self.take(names) else { return Ok(None) };
        let Value::String(text) = value else { return Err(Fault(format!("{name} must be a text"))) };
        let text = text.trim();
        fits(name, text, TEXT_MAX)?;
        Ok(Some(text).filter(|text| !text.is_empty()).map(str::to_owned))
    }

    /// As [`Self::text`], wiped when dropped.
    pub(super) fn secret(&mut self, names: &[&'static str]) -> Result<Option<Zeroizing<String>>, Fault> {
        let mut found = None;
        for name in names {
            match self.take(&[name]) {
                None => {}
                Some((_, Value::String(text))) => {
                    let text = Zeroizing::new(text);
                    let text = text.trim();
                    fits(name, text, SECRET_MAX)?;
                    if found.is_none() && !text.is_empty() {
                        found = Some(Zeroizing::new(text.to_owned()));
                    }
                }
                Some(_) => return Err(Fault(format!("{name} must be a text"))),
            }
        }
        Ok(found)
    }

    pub(super) fn flag(&mut self, name: &'static str) -> Result<Option<bool>, Fault> {
        match self.take(&[name]) {
            None => Ok(None),
            Some((_, Value::Bool(flag))) => Ok(Some(flag)),
            Some((_, Value::String(text))) if text == "true" => Ok(Some(true)),
            Some((_, Value::String(text))) if text == "false" => Ok(Some(false)),
            Some(_) => Err(Fault(format!("{name} must be true or false"))),
        }
    }

    pub(super) fn object(&mut self, name: &'static str) -> Result<Option<Map<String, Value>>, Fault> {
        match self.take(&[name]) {
            None => Ok(None),
            Some((_, Value::Object(fields))) => Ok(Some(fields)),
            Some(_) => Err(Fault(format!("{name} must be an object"))),
        }
    }

    /// A number, also as a text.
    pub(super) fn number(&mut self, name: &'static str) -> Result<Option<f64>, Fault> {
        let Some((_, value)) = self.take(&[name]) else { return Ok(None) };
        number(&value).map(Some).ok_or_else(|| Fault(format!("{name} must be a number")))
    }

    /// Milliseconds since the epoch; 0 and what lies before it are none.
    pub(super) fn time(&mut self, name: &'static str) -> Result<Option<i64>, Fault> {
        let Some((_, value)) = self.take(&[name]) else { return Ok(None) };
        if value.as_str().is_some_and(|text| text.trim().is_empty()) {
            return Ok(None);
        }
        let ms = time(&value).ok_or_else(|| {
            Fault(format!("{name} must be a time: milliseconds since 1970 or an ISO 8601 date"))
        })?;
        Ok(Some(ms).filter(|ms| *ms > 0))
    }

    pub(super) fn threshold(&mut self, name: &'static str) -> Result<Option<f64>, Fault> {
        let Some((_, value)) = self.take(&[name]) else { return Ok(None) };
        let fault = || Fault(format!("{name} must be a number from 0 up to, not including, 1"));
        fraction(&value).map(Some).ok_or_else(fault)
    }

    pub(super) fn thresholds(&mut self, name: &'static str) -> Result<BTreeMap<String, f64>, Fault> {
        let mut thresholds = BTreeMap::new();
        for (model, value) in self.object(name)?.into_iter().flatten() {
            if thresholds.len() == THRESHOLDS_MAX {
                return Err(Fault(format!("{name} may name at most {THRESHOLDS_MAX} models")));
            }
            if !is_model(&model) {
                return Err(Fault(format!("{} is no model's name", shown(&model))));
            }
            let fault = || Fault(format!("Invalid threshold for model {model}: must be 0-0.99"));
            let value = fraction(&value).ok_or_else(fault)?;
            thresholds.insert(model, value);
        }
        Ok(thresholds)
    }
}

/// A part of a composite text, as [`Fields::text`] has texts.
pub(super) fn segment(name: &str, text: Option<&str>) -> Result<Option<String>, Fault> {
    let Some(text) = text.map(str::trim).filter(|text| !text.is_empty()) else { return Ok(None) };
    fits(name, text, TEXT_MAX)?;
    Ok(Some(text.to_owned()))
}

/// Whether the store can keep it: control characters separate its records.
fn fits(name: &str, text: &str, max: usize) -> Result<(), Fault> {
    if text.chars().any(char::is_control) {
        return Err(Fault(format!("{name} holds control characters")));
    }
    if text.len() > max {
        return Err(Fault(format!("{name} is longer than {max} bytes")));
    }
    Ok(())
}

/// Whether the store takes it as a model's name: it becomes part of a key and of records.
pub(crate) fn is_model(name: &str) -> bool {
    let fits = |c: char| !c.is_whitespace() && !c.is_control() && c != '=';
    !name.is_empty() && name.chars().count() <= 128 && name.chars().all(fits)
}

/// A name out of a document, fit for a message.
pub(crate) fn shown(name: &str) -> String {
    let mut text: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
    if text.is_empty() {
        text.push_str("an empty name");
    }
    text
}

fn fraction(value: &Value) -> Option<f64> {
    number(value).filter(|number| (0.0..1.0).contains(number))
}

fn number(value: &Value) -> Option<f64> {
    let number = match value {
        Value::String(text) => text.trim().parse().ok()?,
        value => value.as_f64()?,
    };
    Some(number).filter(|number: &f64| number.is_finite())
}

/// Milliseconds since the epoch, rounded: as a number, as a number in a text, or as a date. One without an offset is
/// UTC, as every writer of these documents has it.
pub(super) fn time(value: &Value) -> Option<i64> {
    if let Some(ms) = number(value) {
        let fits = ms.abs() < 9e15;
        #[expect(clippy::cast_possible_truncation, reason = "far below 2^53")]
        return fits.then(|| ms.round() as i64);
    }
    let text = value.as_str()?.trim();
    let civil = |time: DateTime| TimeZone::UTC.to_timestamp(time).ok();
    let time = text
        .parse::<Timestamp>()
        .ok()
        .or_else(|| civil(text.parse::<DateTime>().ok()?))
        .or_else(|| civil(text.parse::<Date>().ok()?.to_datetime(jiff::civil::Time::midnight())))
        .or_else(|| Some(rfc2822::parse(text).ok()?.timestamp()))?;
    Some(time.as_millisecond())
}

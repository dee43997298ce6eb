//! What was left of the pool's quotas over time: a note per ten minutes, by whichever replica comes first.

use crate::store::Store;
use crate::store::host::{Call, StoreError};
use crate::store::ident::Stamp;
use crate::store::keys::{CAPACITY_SLOT_MS, USAGE_DAY_MS};
use crate::store::registry::{GET_USAGE, NOTE_CAPACITY};
use crate::store::reply::plain;

/// How long notes are kept, ms.
pub const NOTES_KEPT_MS: i64 = 7 * USAGE_DAY_MS;
/// Most models of one note; the rest is left out.
pub const NOTE_MODELS_MAX: usize = 256;

/// What was left of a model's quotas, over all accounts that can be used and of which that is known.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelLeft {
    /// The model.
    pub model: String,
    /// The share that was left on average, 0 to 1.
    pub fraction: f64,
    /// How many accounts that is the average of.
    pub accounts: u32,
}

/// What was left at a moment.
#[derive(Clone, Debug, PartialEq)]
pub struct CapacityNote {
    /// The beginning of its ten minutes, ms since the epoch.
    pub at_ms: i64,
    /// By model, in no order.
    pub models: Vec<ModelLeft>,
}

impl CapacityNote {
    fn read(slot: &str, text: &str) -> Option<Self> {
        let at_ms = slot.parse::<i64>().ok()?.checked_mul(CAPACITY_SLOT_MS)?;
        let fields: Vec<_> = text.split('\u{1f}').collect();
        let model = |fields: &[&str]| {
            let [model, fraction, accounts] = fields else { return None };
            let fraction = fraction.parse().ok().filter(|share| (0.0..=1.0).contains(share))?;
            Some(ModelLeft { model: (*model).to_owned(), fraction, accounts: accounts.parse().ok()? })
        };
        Some(Self { at_ms, models: fields.chunks(3).map(model).collect::<Option<_>>()? })
    }
}

impl Store {
    /// Notes what is left at `at_ms`, the store's time in ms; false when that is known of these ten minutes.
    pub async fn note_capacity(&self, at_ms: i64, models: &[ModelLeft]) -> Result<bool, StoreError> {
        let mut fields = Vec::with_capacity(models.len());
        for one in models.iter().take(NOTE_MODELS_MAX) {
            let model = plain(&NOTE_CAPACITY, "model", &one.model)?;
            let fraction = one.fraction.clamp(0.0, 1.0);
            fields.push(format!("{model}\u{1f}{fraction:.4}\u{1f}{}", one.accounts));
        }
        let call = Call::new(&NOTE_CAPACITY)
            .key(self.keys.named("meta"))
            .key(self.keys.capacity(at_ms))
            .arg(at_ms.div_euclid(CAPACITY_SLOT_MS))
            .arg(fields.join("\u{1f}"))
            .arg(NOTES_KEPT_MS + USAGE_DAY_MS);
        let mut fields = self.run(self.timed(call)).await?;
        let (code, _) = fields.head()?;
        if code != "OK" {
            return Err(fields.unknown(&code));
        }
        let new = fields.flag("whether it is kept")?;
        fields.end()?;
        Ok(new)
    }

    /// The notes of the day, by UTC, that contains `at_ms`, in no order, and the store's time. A note that cannot be read
    /// is left out, and the log says so.
    pub async fn read_capacity(&self, at_ms: i64) -> Result<(Stamp, Vec<CapacityNote>), StoreError> {
        let call = Call::new(&GET_USAGE).key(self.keys.named("meta")).key(self.keys.capacity(at_ms));
        let mut fields = self.run(self.timed(call)).await?;
        let (code, stamp) = fields.head()?;
        if code != "OK" {
            return Err(fields.unknown(&code));
        }
        let (mut notes, mut damaged) = (Vec::new(), 0_u32);
        for _ in 0..fields.number("how many notes there are")? {
            let (slot, text) = (fields.text("a slot")?, fields.text("a note")?);
            match CapacityNote::read(&slot, &text) {
                Some(note) => notes.push(note),
                None => damaged += 1,
            }
        }
        fields.end()?;
        if damaged > 0 {
            tracing::warn!(notes = damaged, "notes of what was left that cannot be read are left out");
        }
        Ok((stamp, notes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_say_what_was_left() {
        let left = |model: &str, fraction, accounts| ModelLeft { model: model.into(), fraction, accounts };
        let read = |slot, text: &str| CapacityNote::read(slot, &text.replace(' ', "\u{1f}"));
        assert_eq!(
            read("3", "m 0.5000 2 n 1 1"),
            Some(CapacityNote { at_ms: 1_800_000, models: vec![left("m", 0.5, 2), left("n", 1.0, 1)] })
        );
        for (slot, text) in [
            ("x", "m 0.5 2"),
            ("9223372036854775807", "m 0.5 2"),
            ("3", ""),
            ("3", "m 0.5"),
            ("3", "m 0.5 2 n"),
            ("3", "m NaN 2"),
            ("3", "m 1.5 2"),
            ("3", "m -0.1 2"),
            ("3", "m 0.5 -2"),
        ] {
            assert_eq!(read(slot, text), None, "{slot} {text}");
        }
    }
}

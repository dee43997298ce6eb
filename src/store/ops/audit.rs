//! The audit trail as stored.

use serde_json::Value;

use crate::store::Store;
use crate::store::audit::Told;
use crate::store::host::{Call, StoreError};
use crate::store::registry::{APPEND_AUDIT, LIST_AUDIT};

/// Most records of one answer.
pub const AUDIT_PAGE: usize = 200;

/// One record of the trail.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Its place: records count up, over all replicas.
    pub number: u64,
    /// When, ms since the epoch, by the store's clock.
    pub at_ms: i64,
    /// The place of the change in the pool's history of writes.
    pub seq: u64,
    /// The generation of the settings, keys or password that it made.
    pub generation: Option<u64>,
    /// Who did what.
    pub told: Told,
}

impl Record {
    /// Reads what `lib/audit.lua` wrote; `None` for another layout.
    fn parse(text: &str) -> Option<Self> {
        let fields: Vec<_> = text.splitn(8, '\u{1f}').collect();
        let [number, "1", at, seq, generation, about, before, row] = fields[..] else { return None };
        let mut told: Told = serde_json::from_str(row).ok()?;
        if !about.is_empty() {
            told.target = Some(about.to_owned());
        }
        let before: Vec<_> = before.split('\u{1e}').collect();
        for [field, value] in before.as_chunks().0 {
            let Some(at) = told.changes.iter().position(|change| change.field == *field) else { continue };
            told.changes[at].before = read(value);
            // What stayed as it was is no change.
            if told.changes[at].before == told.changes[at].after {
                told.changes.remove(at);
            }
        }
        Some(Self {
            number: number.parse().ok()?,
            at_ms: at.parse().ok()?,
            seq: seq.parse().ok()?,
            generation: generation.parse().ok(),
            told,
        })
    }
}

/// A value as a script gave it: a truth or a number where it is one, else a text; nothing where it is empty.
fn read(value: &str) -> Option<Value> {
    let plain = serde_json::from_str(value).ok().filter(|json: &Value| json.is_boolean() || json.is_number());
    plain.or_else(|| (!value.is_empty()).then(|| Value::from(value)))
}

/// A part of the trail.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AuditPage {
    /// The newest first.
    pub records: Vec<Record>,
    /// Where to go on: before the record of this number; `None` at the trail's beginning.
    pub next: Option<u64>,
}

impl Store {
    /// Adds a record ([`Entry::row`](crate::store::audit::Entry::row)); acknowledged when it is on disk.
    pub async fn append_audit(&self, row: &str) -> Result<(), StoreError> {
        let call =
            Call::new(&APPEND_AUDIT).key(self.keys.named("meta")).key(self.keys.named("audit")).arg(row);
        let mut fields = self.run(self.timed(call)).await?;
        fields.head()?;
        fields.end()
    }

    /// The newest records before the one of that number, at most [`AUDIT_PAGE`]. Those that cannot be read are left out.
    pub async fn list_audit(&self, before: Option<u64>, most: usize) -> Result<AuditPage, StoreError> {
        let most = most.clamp(1, AUDIT_PAGE);
        let call = Call::new(&LIST_AUDIT)
            .key(self.keys.named("meta"))
            .key(self.keys.named("audit"))
            .key(self.keys.named("audit:strangers"))
            .arg(before)
            .arg(most);
        let mut fields = self.run(self.timed(call)).await?;
        fields.head()?;
        let full = fields.left() == most;
        let mut page = AuditPage::default();
        while fields.left() > 0 {
            let text = fields.text("a record")?;
            page.next = text.split('\u{1f}').next().and_then(|number| number.parse().ok());
            page.records.extend(Record::parse(&text));
        }
        if !full {
            page.next = None;
        }
        Ok(page)
    }
}

//! What selection thinks of accounts: their health and request buckets now.

use crate::config::Strategy;
use crate::store::Store;
use crate::store::host::{Call, StoreError};
use crate::store::ident::Stamp;
use crate::store::registry::LIST_TRACKERS;
use crate::store::reply::Fields;

/// A page of trackers, and what they are measured by.
#[derive(Clone, Debug, PartialEq)]
pub struct TrackerPage {
    /// When it was read.
    pub stamp: Stamp,
    /// The strategy in force.
    pub strategy: Strategy,
    /// The size of a request bucket.
    pub bucket: f64,
    /// Where the next page starts; `None` on the last.
    pub next: Option<u64>,
    /// Of enabled accounts whose record can be read, in the order of accounts.
    pub trackers: Vec<Tracker>,
}

/// What selection thinks of one account.
#[derive(Clone, Debug, PartialEq)]
pub struct Tracker {
    /// E-mail address, lower-cased.
    pub email: String,
    /// Health now.
    pub health: f64,
    /// Whether that is enough for the account not to be a makeshift.
    pub healthy: bool,
    /// Requests in its bucket now.
    pub tokens: f64,
    /// Whether there is one.
    pub has_tokens: bool,
    /// Failures in a row.
    pub failures: u32,
    /// Requests in flight.
    pub in_flight: u32,
    /// When it was last chosen, ms since the epoch.
    pub last_used_ms: Option<i64>,
}

impl Store {
    /// Up to `cap` accounts (1 to 1,000) behind the one numbered `after` (0: from the start).
    pub async fn list_trackers(&self, after: u64, cap: u32) -> Result<TrackerPage, StoreError> {
        let keys = ["meta", "cfg", "roster", "acct", "hot"];
        let call =
            keys.into_iter().fold(Call::new(&LIST_TRACKERS), |call, key| call.key(self.keys.named(key)));
        let call = self.configured(call.arg(after).arg(cap.clamp(1, 1000)));
        let mut fields = self.run(self.timed(call)).await?;
        let (_, stamp) = fields.head()?;
        // As the scripts take it: whatever is no other strategy is this one.
        let strategy = fields.parsed("a strategy", |name| {
            Some(match name {
                "round-robin" => Strategy::RoundRobin,
                "sticky" => Strategy::Sticky,
                _ => Strategy::Hybrid,
            })
        })?;
        let bucket = fields.float("the size of a bucket")?;
        let next = Some(fields.number("a cursor")?).filter(|next| *next != 0);
        let mut trackers = Vec::new();
        while fields.left() > 0 {
            trackers.push(tracker(&mut fields)?);
        }
        Ok(TrackerPage { stamp, strategy, bucket, next, trackers })
    }
}

fn tracker(fields: &mut Fields) -> Result<Tracker, StoreError> {
    Ok(Tracker {
        email: fields.text("an address")?,
        health: fields.float("health")?,
        healthy: fields.flag("whether that is enough")?,
        tokens: fields.float("tokens")?,
        has_tokens: fields.flag("whether there is one")?,
        failures: fields.number("failures")?,
        in_flight: fields.number("requests in flight")?,
        last_used_ms: Some(fields.number("a time")?).filter(|at| *at != 0),
    })
}

//! How many accounts are in which state.

use crate::store::Store;
use crate::store::host::{Call, StoreError};
use crate::store::ident::Stamp;
use crate::store::registry::COUNT_ACCOUNTS;
use crate::store::reply::{Fields, plain};

/// Accounts in one state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// How many there are.
    pub accounts: u64,
    /// Requests in flight on them, of all replicas.
    pub in_flight: u64,
}

/// The accounts of a pool, each in the last of these states that applies to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Census {
    /// When they were counted.
    pub stamp: Stamp,
    /// Usable for at least one of the models.
    pub available: Counted,
    /// They serve as many requests as they may (`maxConcurrentPerAccount`).
    pub busy: Counted,
    /// Limited for each of the models.
    pub limited: Counted,
    /// At rest for every model.
    pub cooling: Counted,
    /// In need of their owner.
    pub invalid: Counted,
    /// Switched off.
    pub disabled: Counted,
    /// Their records cannot be read; what they serve is not known.
    pub damaged: Counted,
}

impl Store {
    /// Counts the accounts; `models` are those that the pool offers: without any no account is limited.
    pub async fn count_accounts(&self, models: &[String]) -> Result<Census, StoreError> {
        let mut call = Call::new(&COUNT_ACCOUNTS);
        for key in ["meta", "cfg", "hot"] {
            call = call.key(self.keys.named(key));
        }
        for model in models {
            call = call.key(self.keys.model(plain(&COUNT_ACCOUNTS, "model", model)?));
        }
        let mut fields = self.run(self.timed(self.configured(call))).await?;
        let (_, stamp) = fields.head()?;
        let census = Census {
            stamp,
            available: counted(&mut fields)?,
            busy: counted(&mut fields)?,
            limited: counted(&mut fields)?,
            cooling: counted(&mut fields)?,
            invalid: counted(&mut fields)?,
            disabled: counted(&mut fields)?,
            damaged: counted(&mut fields)?,
        };
        fields.end()?;
        Ok(census)
    }
}

fn counted(fields: &mut Fields) -> Result<Counted, StoreError> {
    Ok(Counted { accounts: fields.number("accounts")?, in_flight: fields.number("requests in flight")? })
}

//! Attempts taken back, and the ends of many attempts and requests in one round trip.

use super::settle::{Settle, Settlement, settlement};
use super::usage::{CountRequest, counted};
use crate::store::host::{Call, StoreError};
use crate::store::ident::{AccountId, LeaseId};
use crate::store::registry::{COUNT_REQUEST, RELEASE, SETTLE};
use crate::store::reply::{Fields, plain};
use crate::store::{Store, single};

/// An attempt whose admission nobody uses.
#[derive(Clone, Copy, Debug)]
pub struct Release<'a> {
    /// Id of the attempt; releasing it again changes nothing.
    pub lease: &'a LeaseId,
    /// The upstream model it asked for.
    pub model: &'a str,
}

/// What a release found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Released {
    /// The attempt had been granted this account; lease and bucket token are back.
    Granted(AccountId),
    /// It had not been admitted, and will not be any more.
    Barred,
    /// It had been settled or released before.
    Ended,
}

/// One end of an attempt, whichever way, or of a request.
#[derive(Clone, Debug)]
pub enum Ending<'a> {
    /// With what it showed.
    Settle(Settle<'a>),
    /// As if it had never been.
    Release(Release<'a>),
    /// Of the whole request, which no attempt answered.
    Count(CountRequest<'a>),
}

/// The answer to an [`Ending`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// To [`Ending::Settle`].
    Settled(Settlement),
    /// To [`Ending::Release`].
    Released(Released),
    /// To [`Ending::Count`].
    Counted,
}

impl Store {
    /// Takes an attempt back, whether or not it was admitted: for when nobody learnt which.
    pub async fn release(&self, release: Release<'_>) -> Result<Released, StoreError> {
        released(self.run(self.release_call(release)?).await?)
    }

    /// Ends attempts in order, in one round trip. Each has its own answer; an error of the whole means that none is
    /// known to be applied, and all may be repeated.
    pub async fn end_all(
        &self,
        endings: &[Ending<'_>],
    ) -> Result<Vec<Result<Ended, StoreError>>, StoreError> {
        let mut batch = Vec::with_capacity(endings.len());
        let mut refused = Vec::with_capacity(endings.len());
        for ending in endings {
            let call = match ending {
                Ending::Settle(settle) => self.settle_call(settle),
                Ending::Release(release) => self.release_call(*release),
                Ending::Count(request) => self.count_call(request),
            };
            refused.push(call.map(|call| batch.push(call)).err());
        }
        let replies = if batch.is_empty() { Vec::new() } else { self.host.eval(batch).await? };
        let mut replies = replies.into_iter();
        let answers = endings.iter().zip(refused).map(|(ending, refused)| match (refused, ending) {
            (Some(error), _) => Err(error),
            (None, Ending::Settle(settle)) => {
                let settlement = settlement(single(&SETTLE, replies.next())?)?;
                self.note_settled(settle, &settlement);
                Ok(Ended::Settled(settlement))
            }
            (None, Ending::Release(_)) => released(single(&RELEASE, replies.next())?).map(Ended::Released),
            (None, Ending::Count(_)) => {
                counted(single(&COUNT_REQUEST, replies.next())?).map(|_new| Ended::Counted)
            }
        });
        Ok(answers.collect())
    }

    fn release_call(&self, release: Release<'_>) -> Result<Call, StoreError> {
        let model = plain(&RELEASE, "model", release.model)?;
        let call = Call::new(&RELEASE)
            .key(self.keys.named("meta"))
            .key(self.keys.named("cfg"))
            .key(self.keys.named("hot"))
            .key(self.keys.named("leases"))
            .key(self.keys.req(release.lease))
            .key(self.keys.probe(model))
            .arg(release.lease.as_str());
        Ok(self.timed(self.configured(call).arg(self.keys.channel())))
    }
}

fn released(mut fields: Fields) -> Result<Released, StoreError> {
    let (code, _) = fields.head()?;
    let released = match code.as_str() {
        "RELEASED" => Released::Granted(fields.account()?),
        "BARRED" => Released::Barred,
        "ENDED" => Released::Ended,
        other => return Err(fields.unknown(other)),
    };
    fields.end()?;
    Ok(released)
}

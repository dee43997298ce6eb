//! What a request does that no account can serve now: whether it waits, for whom, and where it stands meanwhile.

use std::time::Duration;

use tokio::time::Instant;

use super::error::DispatchError;
use super::run::Life;
use super::tally::{Waited, wait_of};
use super::waiting::{Place, Turn};
use crate::account::pool::{News, WaitReason};
use crate::clock::jitter;
use crate::cloudcode::{Failure, FailureClass};
use crate::google::model::ModelId;
use crate::telemetry::metrics::{Gauged, label};

/// Added to every wait for an account, so that its limit has surely ended (spec `dispatch.md` §9.10).
const WAIT_MARGIN: Duration = Duration::from_millis(500);
/// Spread of the replicas that wait for the same step of an account's recovery.
const RAMP_JITTER: Duration = Duration::from_millis(25);
/// Spread of the requests that each wait for the account of their conversation.
const OWN_JITTER: Duration = Duration::from_millis(20);

/// What keeps a request from being admitted.
#[derive(Clone, Copy)]
pub(super) struct Obstacle {
    /// Until the first account is free, and why it is not.
    wait: Duration,
    reason: WaitReason,
    /// Whether it is waited for because it has the conversation.
    pub(super) own: bool,
    /// How long to sleep unless there is news.
    sleep: Duration,
    /// Whether an account that rests does so because no token can be fetched, which passes.
    passing: bool,
}

impl Obstacle {
    pub(super) fn new(wait: Duration, reason: WaitReason, own: bool) -> Self {
        let sleep = match reason {
            // Room is announced; the pause is for announcements that were lost.
            WaitReason::Busy => wait,
            WaitReason::Recovering => wait + jitter(RAMP_JITTER),
            _ => wait + WAIT_MARGIN + jitter((wait / 10).min(Duration::from_secs(1))),
        };
        Self { wait, reason, own, sleep, passing: false }
    }

    /// Whether an account rests; why, is to be asked.
    pub(super) fn is_rest(&self) -> bool {
        matches!(self.reason, WaitReason::Cooling)
    }

    /// Says that it is for want of a token.
    pub(super) fn passes(&mut self) {
        self.passing = true;
    }

    /// Whether accounts are free but for the requests that they serve.
    pub(super) fn is_room(&self) -> bool {
        matches!(self.reason, WaitReason::Busy | WaitReason::Recovering)
    }
}

/// Whether a request waits for the account that has its conversation.
#[derive(Default)]
pub(super) struct Loyalty {
    /// Until when at most, once it has begun to.
    until: Option<Instant>,
    /// No more: any account will do.
    pub(super) over: bool,
}

impl Loyalty {
    /// Whether a wait from `now` to `then` is within `patience`; what the first wait was said to take is in any case.
    fn allows(&mut self, now: Instant, then: Instant, patience: Duration) -> bool {
        then <= *self.until.get_or_insert(then.max(now + patience) + WAIT_MARGIN)
    }
}

impl Life<'_> {
    /// Whether the account that has the conversation is waited for: others may be usable.
    pub(super) fn is_loyal(
        &self,
        obstacle: &Obstacle,
        last: Option<&DispatchError>,
        loyalty: &mut Loyalty,
    ) -> bool {
        let now = self.dispatcher.clock().instant();
        let patience = self.dispatcher.settings().dispatch.own_wait;
        self.heals(obstacle, last) && loyalty.allows(now, now + obstacle.wait, patience)
    }

    /// Whether `obstacle` heals by waiting, in time.
    fn heals(&self, obstacle: &Obstacle, last: Option<&DispatchError>) -> bool {
        let fits = obstacle.wait <= self.dispatcher.settings().dispatch.max_wait
            && obstacle.sleep < self.remaining();
        match obstacle.reason {
            WaitReason::Limited | WaitReason::Busy | WaitReason::Recovering => fits,
            // Without capacity a request has waited enough when its own retries are used up.
            WaitReason::Capacity => fits && last.is_none(),
            // Tokens come back with their endpoint; one that was refused is no matter of time.
            WaitReason::Cooling => {
                let met = last.is_none_or(|last| matches!(last, DispatchError::SignedOut { .. }));
                fits && met && obstacle.passing
            }
            WaitReason::Failure | WaitReason::Forbidden | WaitReason::Unsupported => false,
        }
    }

    /// A place behind those that wait for room, if there are any.
    pub(super) async fn line_up(&self, model: &ModelId) -> Result<Option<Place>, DispatchError> {
        let waiting = self.dispatcher.waiting();
        if !waiting.pressed(model.as_str()) {
            return Ok(None);
        }
        let metrics = self.dispatcher.metrics();
        let mut place = waiting.enter().ok_or(DispatchError::TooManyWaiting)?;
        place.timed(Waited::new(&self.tally, label::WaitReason::Turn, self.dispatcher.clock()));
        let _waiting = Gauged::new(&metrics.waiters);
        match place.first(waiting, model.as_str(), self.deadline).await {
            Turn::Late => Err(DispatchError::DeadlineExceeded),
            Turn::Mine | Turn::Now => Ok(Some(place)),
        }
    }

    /// Waits for the pool when the reason heals by waiting and the wait fits the deadline; else says at once what
    /// is wrong: what this request met itself, or what keeps the account that is free first.
    pub(super) async fn wait(
        &self,
        model: &ModelId,
        obstacle: &Obstacle,
        last: Option<&DispatchError>,
        news: News,
        place: &mut Option<Place>,
    ) -> Result<(), DispatchError> {
        let Obstacle { wait, reason, own, sleep, passing: _ } = *obstacle;
        let class = match reason {
            _ if self.heals(obstacle, last) => None,
            WaitReason::Limited => return Err(self.exhausted(model, wait)),
            WaitReason::Busy | WaitReason::Recovering => {
                return Err(last.cloned().unwrap_or(DispatchError::DeadlineExceeded));
            }
            WaitReason::Capacity => Some(FailureClass::Capacity),
            WaitReason::Failure => Some(FailureClass::Server),
            WaitReason::Forbidden => Some(FailureClass::Forbidden),
            WaitReason::Unsupported => Some(FailureClass::NotFound),
            WaitReason::Cooling => {
                return Err(last.cloned().unwrap_or(DispatchError::SignedOut { wait: Some(wait) }));
            }
        };
        if let Some(class) = class {
            let failure = Failure { class, status: None, reset: Some(wait), message: None };
            return Err(last
                .cloned()
                .unwrap_or(DispatchError::Upstream { model: model.to_string(), failure }));
        }
        let metrics = self.dispatcher.metrics();
        let waiting = self.dispatcher.waiting();
        let place = match place {
            Some(place) => place,
            none => {
                let place = none.insert(waiting.enter().ok_or(DispatchError::TooManyWaiting)?);
                if let Some(reason) = wait_of(reason) {
                    place.timed(Waited::new(&self.tally, reason, self.dispatcher.clock()));
                }
                place
            }
        };
        let _waiting = Gauged::new(&metrics.waiters);
        if own {
            place.step_aside();
            news.changed_within(sleep).await;
            // There may be many such, and one event wakes them all.
            tokio::time::sleep(jitter(OWN_JITTER)).await;
            return Ok(());
        }
        let asked = self.dispatcher.clock().instant();
        match place.first(waiting, model.as_str(), self.deadline).await {
            Turn::Mine => {
                let _pressed = obstacle.is_room().then(|| waiting.press(model.as_str()));
                news.changed_within(sleep).await;
            }
            Turn::Now => {}
            Turn::Late if reason == WaitReason::Limited => {
                let since = self.dispatcher.clock().instant().saturating_duration_since(asked);
                return Err(self.exhausted(model, wait.saturating_sub(since)));
            }
            Turn::Late => return Err(last.cloned().unwrap_or(DispatchError::DeadlineExceeded)),
        }
        Ok(())
    }

    fn exhausted(&self, model: &ModelId, reset: Duration) -> DispatchError {
        let status = self.dispatcher.settings().dispatch.quota_exhausted_status;
        DispatchError::QuotaExhausted { model: model.to_string(), reset, status }
    }
}

//! What wrappers answer, in the model's words.

use std::fmt::Write as _;
use std::time::Duration;

use antigravity_proxy::store::host::StoreError;
use antigravity_proxy::store::ident;
use antigravity_proxy::store::ops::accounts::{PutOutcome, SetOutcome};
use antigravity_proxy::store::ops::admit as product;
use antigravity_proxy::store::ops::explain;
use antigravity_proxy::store::ops::listing::AccountView;
use antigravity_proxy::store::ops::release;
use antigravity_proxy::store::ops::settle;
use antigravity_proxy::store::ops::tokens::{self, Refresh};

use crate::model;

pub(super) fn stamp(stamp: ident::Stamp) -> model::Stamp {
    model::Stamp { seq: stamp.seq, now: stamp.now_ms }
}

pub(super) fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap()
}

/// A documented refusal; anything else is a fault of a script or a wrapper.
pub(super) fn refusal(error: &StoreError) -> Result<model::Refusal, String> {
    match error {
        StoreError::Script { error, .. } if error.code == "SETTLED" => Ok(model::Refusal::Settled),
        StoreError::Script { error, .. } if error.code == "MISMATCH" => Ok(model::Refusal::Mismatch),
        other => Err(other.to_string()),
    }
}

pub(super) fn admission(admission: product::Admission) -> model::Admission {
    let decision = match admission.decision {
        product::Decision::Granted(grant) => model::Decision::Granted(self::grant(*grant)),
        product::Decision::Wait { wait, reason, own } => {
            model::Decision::Wait { ms: ms(wait), why: why(reason).to_owned(), own }
        }
        product::Decision::Empty => model::Decision::Empty,
        product::Decision::NoEnabled => model::Decision::NoEnabled,
        product::Decision::AllInvalid(reasons) => model::Decision::AllInvalid(
            reasons.into_iter().map(|reason| reason.as_str().to_owned()).collect(),
        ),
        product::Decision::Damaged => panic!("nothing is damaged"),
    };
    model::Admission { stamp: stamp(admission.stamp), decision }
}

fn grant(grant: product::Grant) -> model::Grant {
    model::Grant {
        account: grant.account.to_string(),
        credential: grant.credential.0,
        project: grant.project,
        session: grant.session,
        source: grant.source.as_str().to_owned(),
        tier: tier(grant.tier),
        throttle: ms(grant.throttle),
        in_flight: grant.in_flight,
        tried: grant.tried,
        accounts: usize::try_from(grant.accounts).unwrap(),
        token: match grant.token {
            product::TokenState::Missing => model::Held::Missing,
            product::TokenState::Held { generation, ttl } => {
                model::Held::Known { generation: generation.0, left: ms(ttl) }
            }
            product::TokenState::Sent { generation, ttl, sealed } => {
                model::Held::Sent { generation: generation.0, left: ms(ttl), sealed }
            }
        },
    }
}

fn tier(tier: product::Tier) -> model::Tier {
    match tier {
        product::Tier::Normal => model::Tier::Normal,
        product::Tier::Quota => model::Tier::Quota,
        product::Tier::Emergency => model::Tier::Emergency,
        product::Tier::LastResort => model::Tier::LastResort,
        product::Tier::Probe => model::Tier::Probe,
    }
}

/// What would be answered; reasons of a pool that is wholly invalid are left out.
pub(super) fn explained(outcome: explain::Outcome) -> model::Explained {
    match outcome {
        explain::Outcome::Chosen { account, tier } => {
            model::Explained::Chosen(account.to_string(), self::tier(tier))
        }
        explain::Outcome::Wait { wait, why } => {
            model::Explained::Refused(model::Decision::Wait { ms: ms(wait), why, own: false })
        }
        explain::Outcome::Empty => model::Explained::Refused(model::Decision::Empty),
        explain::Outcome::NoEnabled => model::Explained::Refused(model::Decision::NoEnabled),
        explain::Outcome::AllInvalid => model::Explained::Refused(model::Decision::AllInvalid(Vec::new())),
        explain::Outcome::Damaged => panic!("nothing is damaged"),
    }
}

/// An account as an explanation shows it; the numbers of its standing apart.
pub(super) fn candidate(candidate: &explain::Candidate) -> (String, Option<[f64; 3]>) {
    let (verdict, wait) = match &candidate.verdict {
        explain::Verdict::Usable => ("usable", 0),
        explain::Verdict::Disabled => ("disabled", 0),
        explain::Verdict::Damaged => ("damaged", 0),
        explain::Verdict::Invalid(reason) => (reason.as_str(), 0),
        explain::Verdict::Waits { wait, why } => (why.as_str(), ms(*wait)),
    };
    let standing = candidate.standing.as_ref();
    let text = [
        candidate.account.to_string(),
        candidate.number.to_string(),
        verdict.to_owned(),
        wait.to_string(),
        format!("{:?}", standing.map(|standing| tier(standing.tier))),
    ];
    let numbers = standing.filter(|standing| standing.parts.is_some()).map(|standing| {
        [standing.score, standing.health.unwrap_or(f64::NAN), standing.tokens.unwrap_or(f64::NAN)]
    });
    (text.join(" "), numbers)
}

/// The same of the model's, where `scored` when the strategy has scores of parts.
pub(super) fn of_model(candidate: &model::Candidate, scored: bool) -> (String, Option<[f64; 3]>) {
    let text = [
        candidate.account.clone(),
        candidate.number.to_string(),
        candidate.verdict.clone(),
        candidate.wait.to_string(),
        format!("{:?}", candidate.standing.map(|standing| standing.0)),
    ];
    let numbers =
        candidate.standing.filter(|_| scored).map(|(_, score, health, tokens)| [score, health, tokens]);
    (text.join(" "), numbers)
}

/// Wrappers do not tell the three kinds of a limit apart.
fn why(reason: product::WaitReason) -> &'static str {
    match reason {
        product::WaitReason::Limited => "limited",
        product::WaitReason::Capacity => "capacity",
        product::WaitReason::Failure => "failure",
        product::WaitReason::Forbidden => "forbidden",
        product::WaitReason::Unsupported => "unsupported",
        product::WaitReason::Cooling => "cooling",
        product::WaitReason::Busy => "busy",
        product::WaitReason::Recovering => "recovering",
    }
}

/// The model's admission as wrappers would tell it.
pub(super) fn told(mut admission: model::Admission) -> model::Admission {
    if let model::Decision::Wait { why, .. } = &mut admission.decision
        && matches!(why.as_str(), "quota" | "rate" | "unknown" | "")
    {
        "limited".clone_into(why);
    }
    admission
}

pub(super) fn settlement(settlement: settle::Settlement) -> model::Settlement {
    model::Settlement {
        stamp: stamp(settlement.stamp),
        duplicate: settlement.duplicate,
        attempt: settlement.attempt,
        backoff: ms(settlement.backoff),
        invalidated: settlement.invalidated,
        limit: settlement.limit.map_or("", settle::NewLimit::as_str),
        gone: settlement.gone,
    }
}

pub(super) fn outcome(outcome: &settle::Outcome) -> model::Outcome {
    match outcome {
        settle::Outcome::Success => model::Outcome::Success,
        settle::Outcome::RateLimited { kind, reset } => {
            let kind = match kind {
                settle::LimitKind::Quota => "quota",
                settle::LimitKind::Rate => "rate",
                settle::LimitKind::Unknown => "unknown",
            };
            model::Outcome::RateLimited(kind.to_owned(), reset.map(ms))
        }
        settle::Outcome::Capacity { jitter_ms } => model::Outcome::Capacity { jitter: i64::from(*jitter_ms) },
        settle::Outcome::Failure => model::Outcome::Failure,
        settle::Outcome::Unauthorized => model::Outcome::Unauthorized,
        settle::Outcome::NotFound => model::Outcome::NotFound,
        settle::Outcome::Forbidden => model::Outcome::Forbidden,
        settle::Outcome::Revoked => model::Outcome::Invalid("revoked".to_owned(), String::new()),
        settle::Outcome::Banned => model::Outcome::Invalid("banned".to_owned(), String::new()),
        settle::Outcome::Verification { url } => {
            model::Outcome::Invalid("verification".to_owned(), url.clone().unwrap_or_default())
        }
        settle::Outcome::ClientError => model::Outcome::ClientError,
        settle::Outcome::Cancelled => model::Outcome::Cancelled,
        settle::Outcome::Released => model::Outcome::Released,
        settle::Outcome::Empty => model::Outcome::Empty,
        settle::Outcome::Blocked => model::Outcome::Blocked,
    }
}

pub(super) fn released(released: release::Released) -> model::Released {
    match released {
        release::Released::Granted(account) => model::Released::Granted(account.to_string()),
        release::Released::Barred => model::Released::Barred,
        release::Released::Ended => model::Released::Ended,
    }
}

pub(super) fn renewal(renewal: product::Renewal) -> model::Renewal {
    match renewal {
        product::Renewal::Unknown => model::Renewal::Unknown,
        product::Renewal::Renewed => model::Renewal::Renewed,
        product::Renewal::Revived => model::Renewal::Revived,
    }
}

/// A new account's credential has version 1, which the wrapper leaves out.
pub(super) fn put(outcome: &PutOutcome) -> model::Put {
    match outcome {
        PutOutcome::Added { number } => model::Put::Added(*number),
        PutOutcome::Renewed { credential } => model::Put::Renewed(credential.0),
        PutOutcome::Reseal(account) => model::Put::Reseal(account.to_string()),
        PutOutcome::Full { max } => model::Put::Full(u64::from(*max)),
        PutOutcome::Taken => model::Put::Taken,
    }
}

pub(super) fn set(outcome: SetOutcome) -> model::Set {
    match outcome {
        SetOutcome::Done(version) => model::Set::Done(version.0),
        SetOutcome::Changed(version) => model::Set::Changed(version.0),
        SetOutcome::Gone => model::Set::Gone,
    }
}

pub(super) fn begun(refresh: Refresh) -> model::Begun {
    match refresh {
        Refresh::Token { credential, generation, ttl, sealed } => {
            model::Begun::Token { credential: credential.0, generation: generation.0, left: ms(ttl), sealed }
        }
        Refresh::Granted { credential, source, sealed } => {
            model::Begun::Granted { credential: credential.0, source: source.as_str().to_owned(), sealed }
        }
        Refresh::Wait(wait) => model::Begun::Wait(ms(wait)),
        Refresh::Failed(wait) => model::Begun::Failed(ms(wait)),
        Refresh::Invalid(reason) => model::Begun::Invalid(reason.as_str().to_owned()),
        Refresh::Gone => model::Begun::Gone,
    }
}

pub(super) fn finished(finished: tokens::FinishedRefresh) -> model::FinishedRefresh {
    match finished {
        tokens::FinishedRefresh::Kept(generation) => model::FinishedRefresh::Kept(generation.0),
        tokens::FinishedRefresh::Lost => model::FinishedRefresh::Lost,
        tokens::FinishedRefresh::Stale => model::FinishedRefresh::Stale,
        tokens::FinishedRefresh::Gone => model::FinishedRefresh::Gone,
    }
}

pub(super) fn failed(failed: tokens::FailedRefresh) -> model::FailedRefresh {
    match failed {
        tokens::FailedRefresh::Paused(pause) => model::FailedRefresh::Paused(ms(pause)),
        tokens::FailedRefresh::Invalidated => model::FailedRefresh::Invalidated,
        tokens::FailedRefresh::Ignored => model::FailedRefresh::Ignored,
        tokens::FailedRefresh::Gone => model::FailedRefresh::Gone,
    }
}

/// Everything a list shows of an account but health and tokens, which are numbers to compare by.
#[derive(Debug, PartialEq)]
pub(super) struct Listed {
    text: String,
    health: f64,
    tokens: f64,
}

impl Listed {
    /// Equal up to what rounding may do.
    pub(super) fn is(&self, other: &Self) -> bool {
        let near = |left: f64, right: f64| (left - right).abs() < 1e-6;
        self.text == other.text && near(self.health, other.health) && near(self.tokens, other.tokens)
    }

    pub(super) fn of_view(view: &AccountView) -> Self {
        let mut text = String::new();
        let subscription = &view.subscription;
        let invalid =
            view.invalid.as_ref().map(|invalid| (invalid.reason.as_str(), invalid.since_ms, &invalid.url));
        let quotas: Vec<_> =
            view.quotas.iter().map(|quota| (&quota.model, quota.fraction, &quota.reset)).collect();
        let limits: Vec<_> = view
            .limits
            .iter()
            .map(|limit| (limit.model.as_str(), ms(limit.left), limit.why.as_str()))
            .collect();
        write!(
            text,
            "{} {} {} {} projects {:?} {:?} {} added {} tier {} {:?} {:?} {:?} v{} {:?} {:?} enabled {} invalid {:?} \
             credential {} in flight {} talks {} cooling {} used {:?} failures {} token {} quotas {:?} {:?} limits {:?}",
            view.id,
            view.number,
            view.email,
            view.source.as_str(),
            view.project,
            view.managed_project,
            view.session,
            view.added_at_ms,
            subscription.tier,
            subscription.project,
            subscription.seen_at_ms,
            view.database,
            view.version.0,
            view.model_thresholds,
            view.threshold,
            view.enabled,
            invalid,
            view.credential.0,
            view.in_flight,
            view.conversations,
            ms(view.cooling),
            view.last_used_ms,
            view.failures,
            ms(view.token_ttl),
            view.quota_at_ms,
            quotas,
            limits,
        )
        .unwrap();
        Self { text, health: view.health, tokens: view.tokens }
    }

    pub(super) fn of_account(
        pool: &model::Pool,
        account: &model::Account,
        models: &[&str],
        now: i64,
    ) -> Self {
        let mut text = String::new();
        let invalid =
            account.invalid.as_ref().map(|invalid| (invalid.reason.as_str(), invalid.since, &invalid.url));
        let rows = account.quotas.as_ref().map_or(&[][..], |quotas| &quotas.rows);
        let quotas: Vec<_> = rows.iter().map(|quota| (&quota.model, quota.fraction, &quota.reset)).collect();
        let limits: Vec<_> = models
            .iter()
            .filter_map(|model| Some((*model, pool.record(model, &account.id).limit?)))
            .filter(|(_, limit)| limit.runs_until(now) > now)
            .collect();
        let limits: Vec<_> =
            limits.iter().map(|(model, limit)| (*model, limit.until - now, limit.why.as_str())).collect();
        write!(
            text,
            "{} {} {} {} projects {:?} {:?} {} added {} tier {} {:?} {:?} {:?} v{} {:?} {:?} enabled {} invalid {:?} \
             credential {} in flight {} talks {} cooling {} used {:?} failures {} token {} quotas {:?} {:?} limits {:?}",
            account.id,
            account.number,
            account.email,
            account.source,
            account.project,
            account.managed_project,
            account.session,
            account.added_at,
            account.tier,
            account.tier_project,
            account.tier_seen_at,
            account.database,
            account.version,
            account.thresholds,
            account.threshold,
            account.enabled,
            invalid,
            account.credential,
            pool.leases.of(&account.id),
            pool.conversations.live.of(&account.id),
            (account.cooling_until - now).max(0),
            account.last_used,
            account.failures,
            account.token.left(account.credential, now).unwrap_or(0),
            account.quotas.as_ref().map(|quotas| quotas.at),
            quotas,
            limits,
        )
        .unwrap();
        let settings = pool.settings();
        Self { text, health: account.health(&settings, now), tokens: account.tokens(&settings, now) }
    }
}

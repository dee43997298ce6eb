//! Accounts at work: tokens, codes, projects, quotas.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::scenario::{Account, ModelOffer, Scenario, Standing};
use crate::clock::Clock;

/// The gateway's project of last resort; every account may use it (spec `dispatch.md` §6.2).
const SHARED_PROJECT: &str = "rising-fact-p41fc";
const TOKEN_KEY: &[u8] = b"cloudcode-sim access token";
const MINUTE_MS: i64 = 60_000;

pub(super) struct Ledger {
    clock: Clock,
    lifetime_ms: i64,
    accounts: Vec<Account>,
    live: Mutex<Live>,
}

struct Live {
    accounts: Vec<LiveAccount>,
    codes: HashMap<String, Code>,
    serial: i64,
    /// Tokens up to this serial are void.
    void_to: i64,
}

struct LiveAccount {
    project: Option<String>,
    polls_left: u32,
    models: Vec<LiveModel>,
    calls: VecDeque<i64>,
}

struct LiveModel {
    offer: ModelOffer,
    remaining: Option<f64>,
    reset_at: Option<i64>,
}

/// An authorization code waiting to be exchanged; single use.
pub(super) struct Code {
    pub(super) account: usize,
    pub(super) challenge: String,
    pub(super) redirect_uri: String,
    pub(super) client_id: String,
    /// Whether a refresh token was asked for.
    pub(super) offline: bool,
}

/// Whether a call may go on.
#[derive(Debug, PartialEq)]
pub(super) enum Charge {
    Granted,
    UnknownModel,
    /// The quota is used up for so many milliseconds.
    Exhausted(u64),
    /// Too many calls per minute; the next is due in so many milliseconds.
    Limited(u64),
}

impl Ledger {
    pub(super) fn new(scenario: &Scenario, clock: Clock) -> Self {
        let now = clock.epoch_ms();
        let accounts = scenario
            .accounts
            .iter()
            .map(|account| LiveAccount {
                project: account.project.clone(),
                polls_left: account.onboard_polls,
                models: account
                    .models
                    .as_ref()
                    .unwrap_or(&scenario.models)
                    .iter()
                    .map(|offer| LiveModel {
                        remaining: offer.remaining_fraction,
                        reset_at: offer.reset_in_ms.map(|ms| now.saturating_add_unsigned(ms)),
                        offer: offer.clone(),
                    })
                    .collect(),
                calls: VecDeque::new(),
            })
            .collect();
        Self {
            lifetime_ms: i64::try_from(scenario.token_lifetime_s)
                .unwrap_or(i64::MAX / 1_000)
                .saturating_mul(1_000),
            accounts: scenario.accounts.clone(),
            live: Mutex::new(Live { accounts, codes: HashMap::new(), serial: now * 1_000, void_to: 0 }),
            clock,
        }
    }

    fn live(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn account(&self, index: usize) -> &Account {
        &self.accounts[index]
    }

    pub(super) fn by_email(&self, email: &str) -> Option<usize> {
        self.accounts.iter().position(|account| account.email == email)
    }

    pub(super) fn by_refresh_token(&self, token: &str) -> Option<usize> {
        self.accounts
            .iter()
            .position(|account| account.refresh_token == token && account.state != Standing::Revoked)
    }

    /// A new access token and its lifetime in seconds.
    pub(super) fn issue(&self, account: usize) -> (String, i64) {
        let mut live = self.live();
        live.serial += 1;
        let expires = self.clock.epoch_ms().saturating_add(self.lifetime_ms);
        let email = URL_SAFE_NO_PAD.encode(&self.accounts[account].email);
        let head = format!("ya29.sim.{email}.{expires}.{}", live.serial);
        (format!("{head}.{}", mac(&head)), self.lifetime_ms / 1_000)
    }

    /// The account of a token that is neither expired nor revoked.
    pub(super) fn account_of(&self, token: &str) -> Option<usize> {
        let (head, given) = token.rsplit_once('.')?;
        let mut fields = head.strip_prefix("ya29.sim.")?.split('.');
        let (email, expires, serial) = (fields.next()?, fields.next()?, fields.next()?);
        let (expires, serial): (i64, i64) = (expires.parse().ok()?, serial.parse().ok()?);
        if mac(head) != given || expires <= self.clock.epoch_ms() || serial <= self.live().void_to {
            return None;
        }
        let email = URL_SAFE_NO_PAD.decode(email).ok()?;
        let account = self.by_email(std::str::from_utf8(&email).ok()?)?;
        (self.accounts[account].state != Standing::Revoked).then_some(account)
    }

    /// Makes all tokens issued so far void.
    pub(super) fn expire_tokens(&self) {
        let mut live = self.live();
        live.void_to = live.serial;
    }

    pub(super) fn keep_code(&self, code: Code) -> String {
        let mut live = self.live();
        live.serial += 1;
        let text = format!("4/sim-{}-{}", live.serial, mac(&live.serial.to_string()));
        live.codes.insert(text.clone(), code);
        text
    }

    pub(super) fn take_code(&self, code: &str) -> Option<Code> {
        self.live().codes.remove(code)
    }

    /// The projects the account may name.
    pub(super) fn projects(&self, account: usize) -> Vec<String> {
        let own = self.live().accounts[account].project.clone();
        own.into_iter().chain([SHARED_PROJECT.to_owned()]).collect()
    }

    /// The answer of `loadCodeAssist`.
    pub(super) fn code_assist(&self, index: usize) -> Value {
        let account = &self.accounts[index];
        let tier = |id: &str| json!({"id": id, "name": id, "description": "simulated"});
        let paid = account.tier != "free-tier";
        let mut allowed = tier("free-tier");
        allowed["isDefault"] = json!(!paid);
        let mut tiers = vec![allowed];
        if paid {
            let mut own = tier(&account.tier);
            own["isDefault"] = json!(true);
            own["userDefinedCloudaicompanionProject"] = json!(false);
            tiers.push(own);
        }
        let mut answer = json!({"allowedTiers": tiers, "gcpManaged": false});
        if let Some(project) = &self.live().accounts[index].project {
            answer["cloudaicompanionProject"] = json!(project);
            answer["currentTier"] = tier("free-tier");
            if paid {
                answer["paidTier"] = tier(&account.tier);
            }
        }
        answer
    }

    pub(super) fn tiers(&self, index: usize) -> Vec<&str> {
        vec!["free-tier", self.accounts[index].tier.as_str()]
    }

    /// The answer of `onboardUser`: a long-running operation that is done after some polls.
    pub(super) fn onboard(&self, index: usize) -> Value {
        let mut live = self.live();
        let account = &mut live.accounts[index];
        if account.polls_left > 0 {
            account.polls_left -= 1;
            return json!({"name": "operations/onboard-sim", "done": false});
        }
        let project = account.project.get_or_insert_with(|| format!("sim-onboarded-{index}")).clone();
        json!({
            "name": "operations/onboard-sim",
            "done": true,
            "response": {
                "@type": "type.googleapis.com/google.internal.cloud.code.v1internal.OnboardUserResponse",
                "cloudaicompanionProject": {"id": project, "name": project, "projectNumber": "1"},
            },
        })
    }

    /// The answer of `fetchAvailableModels`.
    pub(super) fn models(&self, index: usize) -> Value {
        let now = self.clock.epoch_ms();
        let mut models = serde_json::Map::new();
        for model in &mut self.live().accounts[index].models {
            model.roll(now);
            let mut entry = json!({"displayName": model.offer.display_name});
            if let Some(remaining) = model.remaining {
                // A used-up quota is told by the missing fraction, as the service's JSON leaves zeros out.
                let mut quota = serde_json::Map::new();
                if remaining > 0.0 {
                    quota.insert("remainingFraction".to_owned(), json!(remaining));
                }
                if let Some(at) = model.reset_at {
                    quota.insert("resetTime".to_owned(), json!(rfc3339(at)));
                }
                entry["quotaInfo"] = Value::Object(quota);
            }
            models.insert(model.offer.id.clone(), entry);
        }
        json!({"models": models})
    }

    /// Takes a model call off the account's limits.
    pub(super) fn charge(&self, index: usize, model: &str) -> Charge {
        let now = self.clock.epoch_ms();
        let mut live = self.live();
        let account = &mut live.accounts[index];
        let Some(model) = account.models.iter_mut().find(|one| one.offer.id == model) else {
            return Charge::UnknownModel;
        };
        model.roll(now);
        if let Some(remaining) = &mut model.remaining {
            if *remaining <= 0.0 {
                let ms = model.reset_at.map_or(3_600_000, |at| at - now);
                return Charge::Exhausted(u64::try_from(ms).unwrap_or(0));
            }
            *remaining = (*remaining - model.offer.cost).max(0.0);
        }
        if let Some(limit) = self.accounts[index].requests_per_minute {
            while account.calls.front().is_some_and(|at| *at <= now - MINUTE_MS) {
                account.calls.pop_front();
            }
            if account.calls.len() >= limit as usize {
                let due = account.calls.front().map_or(MINUTE_MS, |at| at + MINUTE_MS - now);
                return Charge::Limited(u64::try_from(due).unwrap_or(0));
            }
            account.calls.push_back(now);
        }
        Charge::Granted
    }

    /// `accounts.json` as the reference keeps it, for import (spec `http-api.md` appendix A).
    pub(super) fn accounts_json(&self) -> Value {
        let accounts: Vec<_> = self
            .accounts
            .iter()
            .map(|account| {
                let project = account.project.as_deref().unwrap_or_default();
                let token = if project.is_empty() {
                    account.refresh_token.clone()
                } else {
                    format!("{}|{project}", account.refresh_token)
                };
                json!({
                    "email": account.email,
                    "source": "oauth",
                    "enabled": true,
                    "dbPath": null,
                    "refreshToken": token,
                    "addedAt": "2026-01-01T00:00:00.000Z",
                    "isInvalid": false,
                    "invalidReason": null,
                    "verifyUrl": null,
                    "modelRateLimits": {},
                    "lastUsed": null,
                    "subscription": {"tier": "unknown", "projectId": null, "detectedAt": null},
                    "quota": {"models": {}, "lastChecked": null},
                })
            })
            .collect();
        json!({"accounts": accounts, "settings": {}, "activeIndex": 0})
    }
}

impl LiveModel {
    /// A quota is full again once its reset time has passed.
    fn roll(&mut self, now: i64) {
        if let (Some(at), Some(period)) = (self.reset_at, self.offer.reset_in_ms)
            && at <= now
        {
            self.remaining = self.remaining.map(|_| 1.0);
            self.reset_at = Some(now.saturating_add_unsigned(period.max(1)));
        }
    }
}

fn mac(text: &str) -> String {
    let digest = Sha256::new().chain_update(TOKEN_KEY).chain_update(text).finalize();
    URL_SAFE_NO_PAD.encode(&digest[..12])
}

/// Base64url of the SHA-256 of a PKCE verifier.
pub(super) fn challenge(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(verifier))
}

pub(super) fn rfc3339(epoch_ms: i64) -> String {
    jiff::Timestamp::from_millisecond(epoch_ms).map(|at| at.to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{Charge, Ledger};
    use crate::clock::Clock;
    use crate::simulator::scenario::Scenario;

    fn ledger(json: &str) -> (Ledger, Clock) {
        let clock = Clock::manual(1_000_000_000_000);
        (Ledger::new(&Scenario::parse(json).unwrap(), clock.clone()), clock)
    }

    #[test]
    fn tokens_expire_and_can_be_voided() {
        let (ledger, clock) = ledger(r#"{"token_lifetime_s": 10}"#);
        let (token, lifetime) = ledger.issue(0);
        assert_eq!((lifetime, ledger.account_of(&token)), (10, Some(0)));
        assert_eq!(ledger.account_of(&format!("{token}x")), None);
        clock.advance_ms(10_000);
        assert_eq!(ledger.account_of(&token), None);
        let (token, _) = ledger.issue(0);
        ledger.expire_tokens();
        assert_eq!(ledger.account_of(&token), None);
        assert_eq!(ledger.account_of(&ledger.issue(0).0), Some(0));
    }

    #[test]
    fn quotas_run_out_and_come_back() {
        let (ledger, clock) =
            ledger(r#"{"models":[{"id":"m","remaining_fraction":0.5,"cost":0.5,"reset_in_ms":5000}]}"#);
        assert_eq!(ledger.charge(0, "m"), Charge::Granted);
        assert_eq!(ledger.charge(0, "m"), Charge::Exhausted(5_000));
        assert!(ledger.models(0)["models"]["m"]["quotaInfo"].get("remainingFraction").is_none());
        assert_eq!(ledger.charge(0, "x"), Charge::UnknownModel);
        clock.advance_ms(5_000);
        assert_eq!(ledger.charge(0, "m"), Charge::Granted);
    }

    #[test]
    fn calls_per_minute_are_limited() {
        let (ledger, clock) = ledger(
            r#"{"accounts":[{"email":"a@x","refresh_token":"r","requests_per_minute":1}],
                "models":[{"id":"m"}]}"#,
        );
        assert_eq!(ledger.charge(0, "m"), Charge::Granted);
        clock.advance_ms(20_000);
        assert_eq!(ledger.charge(0, "m"), Charge::Limited(40_000));
        clock.advance_ms(40_000);
        assert_eq!(ledger.charge(0, "m"), Charge::Granted);
    }
}

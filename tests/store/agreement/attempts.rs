//! Attempts, from admission to settlement, and explanations of what one would get.

use antigravity_proxy::store::ident::{CredentialVersion, Generation};
use antigravity_proxy::store::ops::admit::Admit;
use antigravity_proxy::store::ops::explain::{self, Explain};
use antigravity_proxy::store::ops::settle::{Outcome, Settle, StatusClass, UsageEntry};
use antigravity_proxy::store::ops::usage::CountRequest;

use super::seen;
use super::stage::{Attempt, LEASE_MS, Stage, conversation, same, told};
use super::steps::{ACCOUNTS, Act, MODELS};
use crate::harness::{id, lease, ms};
use crate::model;

impl Stage {
    pub(super) async fn admit(&mut self, act: &Act) -> Result<(), String> {
        let Act::Admit { attempt, again, model, tried, knows, max_wait, conversation } = act else {
            return Ok(());
        };
        let place = usize::from(*attempt);
        if !again {
            let round = self.attempts[place].round + 1;
            self.attempts[place] = Attempt { round, model: usize::from(*model), ..Attempt::default() };
        }
        let lease_id = self.lease(*attempt);
        let tried: Vec<_> = (0..ACCOUNTS)
            .filter(|place| tried & (1 << place) != 0)
            .map(|place| self.account(place))
            .collect();
        let known: Vec<_> = if *knows {
            self.pool.accounts.iter().map(|account| (account.id.clone(), account.token.generation)).collect()
        } else {
            Vec::new()
        };
        let talk = conversation.map(|talk| self::conversation(talk, MODELS[self.attempts[place].model]));
        let mut ask = model::Ask {
            lease: lease_id.clone(),
            lease_ms: LEASE_MS,
            model: MODELS[self.attempts[place].model].to_owned(),
            tried,
            known,
            max_wait: max_wait.map(i64::from),
            conversation: talk.as_ref().map(|talk| talk.as_str().to_owned()),
            rounding: None,
        };
        let tried: Vec<_> = ask.tried.iter().map(|account| id(account)).collect();
        let known: Vec<_> =
            ask.known.iter().map(|(account, generation)| (id(account), Generation(*generation))).collect();
        let admit = Admit {
            lease: &lease(&lease_id),
            lease_ttl: ms(30_000),
            model: &ask.model,
            tried: &tried,
            known: &known,
            probe_after: max_wait.map(|wait| ms(wait.into())),
            conversation: talk.as_ref(),
        };
        let theirs = match self.store.at(self.now).admit(&admit).await {
            Ok(admission) => Ok(seen::admission(admission)),
            Err(error) => Err(seen::refusal(&error)?),
        };
        if let Ok(model::Admission { decision: model::Decision::Granted(grant), .. }) = &theirs {
            ask.rounding = Some(grant.account.clone());
        }
        let before = self.pool.clone();
        let ours = self.pool.admit(&ask, self.now).map(seen::told);
        if let Ok(model::Admission { decision: model::Decision::Granted(grant), .. }) = &ours {
            self.attempts[place].granted = Some((grant.account.clone(), grant.credential));
        }
        self.count(match &ours {
            Err(_) => "refused".to_owned(),
            Ok(admission) => match &admission.decision {
                model::Decision::Granted(grant) => {
                    format!("{:?}{}", grant.tier, if grant.tried { " again" } else { "" })
                }
                model::Decision::Wait { why, own, .. } => {
                    format!("wait: {why}{}", if *own { ", own" } else { "" })
                }
                model::Decision::Empty => "empty".to_owned(),
                model::Decision::NoEnabled => "none enabled".to_owned(),
                model::Decision::AllInvalid(reasons) => format!("invalid: {}", reasons.join(" ")),
            },
        });
        same("admission", &theirs, &ours)
            .map_err(|difference| format!("{difference}\n{:#?}", before.explain(&ask, self.now)))
    }

    pub(super) async fn explain(
        &mut self,
        model: &str,
        max_wait: Option<u32>,
        talk: Option<u8>,
    ) -> Result<(), String> {
        let talk = talk.map(|talk| conversation(talk, model));
        let explain =
            Explain { model, conversation: talk.as_ref(), probe_after: max_wait.map(|wait| ms(wait.into())) };
        let theirs = told(self.store.at(self.now).explain(&explain).await)?;
        let rounding = match &theirs.outcome {
            explain::Outcome::Chosen { account, .. } => Some(account.to_string()),
            _ => None,
        };
        let ask = model::Ask {
            model: model.to_owned(),
            max_wait: max_wait.map(i64::from),
            conversation: talk.map(|talk| talk.as_str().to_owned()),
            rounding,
            ..model::Ask::default()
        };
        let (mut outcome, candidates) = self.pool.explain(&ask, self.now);
        match &mut outcome {
            model::Explained::Refused(model::Decision::Wait { own, .. }) => *own = false,
            model::Explained::Refused(model::Decision::AllInvalid(reasons)) => reasons.clear(),
            _ => {}
        }
        same("explanation", &seen::explained(theirs.outcome), &outcome)?;
        let scored = theirs.strategy != "sticky" && theirs.strategy != "round-robin";
        let ours: Vec<_> = candidates.iter().map(|candidate| seen::of_model(candidate, scored)).collect();
        if self.pool.accounts.len() > 200 {
            return Ok(());
        }
        let theirs: Vec<_> = theirs.candidates.iter().map(seen::candidate).collect();
        same("candidates", &theirs.len(), &ours.len())?;
        for (theirs, ours) in theirs.iter().zip(&ours) {
            same("candidate", &theirs.0, &ours.0)?;
            let near = match (theirs.1, ours.1) {
                (Some(theirs), Some(ours)) => {
                    theirs.iter().zip(ours).all(|(left, right)| (left - right).abs() < 1e-6)
                }
                (theirs, ours) => theirs.is_none() == ours.is_none(),
            };
            if !near {
                return Err(format!("standing\nscripts: {theirs:?}\nmodel:   {ours:?}"));
            }
        }
        Ok(())
    }

    pub(super) async fn settle(
        &mut self,
        attempt: u8,
        outcome: &Outcome,
        received: bool,
        stray: Option<u8>,
        old: bool,
    ) -> Result<(), String> {
        let known = self.attempts[usize::from(attempt)].clone();
        let (mut account, mut credential) =
            known.granted.unwrap_or_else(|| (self.account(attempt % ACCOUNTS), 1));
        if let Some(place) = stray {
            account = self.account(place);
        }
        if old {
            credential = credential.saturating_sub(1);
        }
        self.attempts[usize::from(attempt)].ended = true;
        let (lease_id, model) = (self.lease(attempt), MODELS[known.model]);
        let usage = UsageEntry {
            model: attempt.is_multiple_of(5).then_some("other"),
            status: if received { StatusClass::Success } else { StatusClass::Cancelled },
            client_key: ["", "k"][usize::from(attempt % 2)],
            input: 7,
            output: 5,
            cache_read: 3,
            thinking: u64::from(attempt),
            latency: ms(11),
        };
        let counted = attempt.is_multiple_of(3);
        let settle = Settle {
            account: &id(&account),
            lease: &lease(&lease_id),
            credential: CredentialVersion(credential),
            model,
            admitted_at_ms: self.now,
            outcome: outcome.clone(),
            received,
            usage: counted.then_some(usage),
        };
        let theirs = match self.store.at(self.now).settle(&settle).await {
            Ok(settlement) => Ok(seen::settlement(settlement)),
            Err(error) => Err(seen::refusal(&error)?),
        };
        let hour = self.now.div_euclid(3_600_000);
        self.hours.insert(hour);
        let ours = |usage: &UsageEntry<'_>| model::Usage {
            hour,
            model: usage.model.unwrap_or(model).to_owned(),
            status: usage.status.as_str().to_owned(),
            key: usage.client_key.to_owned(),
            by: [usage.input, usage.output, usage.cache_read, usage.thinking, 11],
        };
        let of_request = ours(&usage);
        let usage_of_attempt = counted.then(|| ours(&usage));
        let settle = model::Settle {
            account,
            lease: lease_id,
            credential,
            model: model.to_owned(),
            outcome: seen::outcome(outcome),
            received,
            usage: usage_of_attempt,
        };
        let ours = self.pool.settle(&settle, self.now);
        self.count(match &ours {
            Err(_) => "mismatch".to_owned(),
            Ok(settlement) if settlement.gone => "gone".to_owned(),
            Ok(settlement) if settlement.stamp.seq < self.pool.seq => "settled again".to_owned(),
            Ok(settlement) if settlement.duplicate => "duplicate".to_owned(),
            Ok(_) => outcome.name().to_owned(),
        });
        same("settlement", &theirs, &ours)?;
        // Some requests end without an attempt that answers, and some of them are told of twice.
        if attempt.is_multiple_of(4) {
            let request = format!("r{attempt}-{}", self.attempts[usize::from(attempt)].round / 2);
            let count = CountRequest { id: &lease(&request), model, ended_at_ms: self.now, usage };
            let theirs = told(self.store.at(self.now).count_request(&count).await)?;
            let (ours, _) = self.pool.count_request(&request, &of_request, self.now);
            self.count(if ours { "counted" } else { "counted again" });
            same("counted", &theirs, &ours)?;
        }
        Ok(())
    }
}

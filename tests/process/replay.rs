//! Script calls as they were recorded, told to the model one after the other in the order of the store's sequence:
//! what many gateways did at once must be what one would have done alone.

use std::collections::BTreeMap;

use crate::model::{
    Admission, Ask, Begun, Decision, FailedRefresh, FinishedRefresh, Grant, Pool, Put, Quota, RefreshFailure,
    Released, Renewal, Set, Settle, Settlement, Stamp, Tier,
};
use crate::script_calls::{changes, count, grant, layer, new_account, number, outcome, present, seq, writes};
use crate::tap::Called;

/// The history as far as it was told.
#[derive(Default)]
pub(crate) struct Replay {
    pool: Pool,
    /// Grants by account since the usable accounts changed last, and which those were.
    turns: BTreeMap<String, u32>,
    usable: Vec<String>,
    pub(crate) admissions: usize,
    pub(crate) longest_turn: u32,
    /// How often each kind of answer was given.
    pub(crate) tally: BTreeMap<String, usize>,
}

impl Replay {
    /// Tells the next call; panics where the model answers otherwise.
    pub(crate) fn tell(&mut self, call: &Called) {
        let (args, reply) = (&call.args, &call.reply);
        let now = number(&reply[2]);
        self.pool.advance(now);
        let before = self.pool.seq;
        // Asked again, it repeats its first answer, whose place is taken.
        let again = writes(call) && seq(call) <= before && matches!(call.script, "admit" | "settle");
        if again && call.script == "admit" {
            return;
        }
        match call.script {
            "admit" => self.admit(call, now),
            "settle" => self.settle(call, now),
            "release" => {
                let model = call.keys[5].split_once("probe:").unwrap().1;
                self.configure(&args[1], &args[2]);
                let theirs = match reply[0].as_str() {
                    "RELEASED" => Released::Granted(reply[3].clone()),
                    "BARRED" => Released::Barred,
                    _ => Released::Ended,
                };
                let ours = self.pool.release(&args[0], model, now);
                Self::same(call, &theirs, &ours);
            }
            "heartbeat" => {
                let leases = &args[1..args.len() - 1];
                let renewals: Vec<_> = reply[4..]
                    .iter()
                    .map(|renewal| match renewal.as_str() {
                        "1" => Renewal::Renewed,
                        "2" => Renewal::Revived,
                        _ => Renewal::Unknown,
                    })
                    .collect();
                let ours = self.pool.heartbeat(leases, number(&args[0]), now);
                Self::same(call, &(renewals, usize::try_from(count(&reply[3])).unwrap()), &ours);
            }
            "put_account" => {
                self.configure(&args[15], &args[16]);
                let theirs = match reply[0].as_str() {
                    "ADDED" => Put::Added(count(&reply[5])),
                    "RENEWED" => Put::Renewed(count(&reply[4])),
                    "RESEAL" => Put::Reseal(reply[3].clone()),
                    "FULL" => Put::Full(count(&reply[3])),
                    _ => Put::Taken,
                };
                let ours = self.pool.put_account(&new_account(args), now);
                Self::same(call, &theirs, &ours);
            }
            "set_account" => {
                let ours = self.pool.set_account(&args[0], &changes(args), now);
                let theirs = match reply[0].as_str() {
                    "OK" | "SAME" => Set::Done(count(&reply[3])),
                    "CHANGED" => Set::Changed(count(&reply[3])),
                    _ => Set::Gone,
                };
                Self::same(call, &theirs, &ours);
            }
            "put_quota" => {
                let rows = args[1].split_terminator('\u{1e}').map(|row| {
                    let parts: Vec<_> = row.split('\u{1f}').collect();
                    Quota {
                        model: parts[0].to_owned(),
                        fraction: present(parts[1]).map(|fraction| fraction.parse().unwrap()),
                        reset: present(parts[2]),
                    }
                });
                let ours = self.pool.put_quota(&args[0], &rows.collect::<Vec<_>>(), now);
                Self::same(call, &(reply[0] == "OK"), &ours);
            }
            "invalidate_account" => {
                let ours = self.pool.invalidate(&args[0], count(&args[1]), &args[2], &args[3], now);
                Self::same(call, &(reply[0] == "OK"), &(ours == Some(true)));
            }
            "clear_invalid" => {
                let ours = self.pool.clear_invalid(&args[0], count(&args[1]), number(&args[2]), now);
                Self::same(call, &(reply[0] == "OK"), &(ours == Some(true)));
            }
            "begin_refresh" | "finish_refresh" | "fail_refresh" | "drop_token" => self.token(call, now),
            _ if writes(call) => self.pool.note_write(),
            _ => {}
        }
        assert_eq!(self.pool.seq, before + u64::from(writes(call) && !again), "{call:?}");
        assert_eq!(self.pool.seq, seq(call), "a place is free: {call:?}");
        self.examine(call, now);
    }

    /// What holds at any time.
    fn examine(&self, call: &Called, now: i64) {
        let settings = self.pool.settings();
        let max = settings.get("maxConcurrentPerAccount");
        for account in &self.pool.accounts {
            let (tokens, in_flight) = (account.tokens(&settings, now), self.pool.leases.of(&account.id));
            assert!(tokens >= 0.0, "the bucket of {} holds {tokens}: {call:?}", account.id);
            let within = max <= 0.0 || f64::from(in_flight) <= max;
            assert!(within, "{} serves {in_flight}: {call:?}", account.id);
        }
    }

    fn configure(&mut self, base: &str, pinned: &str) {
        (self.pool.base, self.pool.pinned) = (layer(base), layer(pinned));
    }

    fn same<T: PartialEq + std::fmt::Debug>(call: &Called, theirs: &T, ours: &T) {
        assert!(theirs == ours, "{call:?}\nscripts: {theirs:?}\nmodel:   {ours:?}");
    }

    fn admit(&mut self, call: &Called, now: i64) {
        let (args, reply) = (&call.args, &call.reply);
        if args[9] == "1" {
            return;
        }
        self.configure(&args[2], &args[3]);
        let words = |text: &str| text.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect();
        let known: Vec<String> = words(&args[6]);
        let known = known.iter().map(|pair| pair.split_once('=').unwrap());
        let mut ask = Ask {
            lease: args[0].clone(),
            lease_ms: number(&args[1]),
            model: args[4].clone(),
            tried: words(&args[5]),
            known: known.map(|(account, generation)| (account.to_owned(), count(generation))).collect(),
            max_wait: Some(number(&args[7])).filter(|wait| *wait >= 0),
            conversation: present(&args[8]),
            rounding: None,
        };
        let stamp = Stamp { seq: seq(call), now };
        let decision = match reply[0].as_str() {
            "OK" | "PROBE" => {
                ask.rounding = Some(reply[3].clone());
                Decision::Granted(grant(reply))
            }
            "WAIT" => Decision::Wait { ms: number(&reply[3]), why: reply[4].clone(), own: reply[5] == "1" },
            "EMPTY" => Decision::Empty,
            "NO_ENABLED" => Decision::NoEnabled,
            _ => Decision::AllInvalid(words(&reply[3])),
        };
        if let Decision::Granted(grant) = &decision {
            self.take_turn(call, &ask, grant, now);
        }
        let kind = match &decision {
            Decision::Granted(grant) => format!("{:?}", grant.tier),
            Decision::Wait { why, .. } => format!("wait: {why}"),
            other => format!("{other:?}"),
        };
        *self.tally.entry(kind).or_default() += 1;
        let ours = self.pool.admit(&ask, now);
        Self::same(call, &Ok(Admission { stamp, decision }), &ours);
    }

    /// A granted account may be used; round-robin uses equally usable accounts equally often.
    fn take_turn(&mut self, call: &Called, ask: &Ask, grant: &Grant, now: i64) {
        self.admissions += 1;
        let account = self.pool.account(&grant.account).unwrap_or_else(|| panic!("gone: {call:?}"));
        assert!(account.enabled && account.invalid.is_none(), "off or invalid: {call:?}");
        if grant.tier != Tier::Probe {
            let until = self.pool.record(&ask.model, &grant.account).until();
            assert!(until <= now && account.cooling_until <= now, "limited: {call:?}");
        }
        if call.args[2].contains("strategy=round-robin") {
            let (_, candidates) = self.pool.explain(&Ask { model: ask.model.clone(), ..Ask::default() }, now);
            let usable: Vec<_> =
                candidates.into_iter().filter(|one| one.verdict == "usable").map(|one| one.account).collect();
            if usable != self.usable || !ask.tried.is_empty() {
                self.turns.clear();
                self.usable = usable;
            }
            if ask.tried.is_empty() {
                *self.turns.entry(grant.account.clone()).or_default() += 1;
                let of = |account: &String| self.turns.get(account).copied().unwrap_or(0);
                let most = self.usable.iter().map(of).max().unwrap_or(0);
                let least = self.usable.iter().map(of).min().unwrap_or(0);
                assert!(most - least <= 1, "not in turn, {most} and {least}: {call:?}");
                self.longest_turn = self.longest_turn.max(most);
            }
        }
    }

    fn settle(&mut self, call: &Called, now: i64) {
        let (args, reply) = (&call.args, &call.reply);
        self.configure(&args[7], &args[8]);
        let settle = Settle {
            account: args[0].clone(),
            lease: args[1].clone(),
            credential: count(&args[2]),
            model: call.keys[5].split_once("m:").unwrap().1.to_owned(),
            outcome: outcome(args),
            received: args[6] == "1",
            usage: None,
        };
        let theirs = Settlement {
            stamp: Stamp { seq: seq(call), now },
            duplicate: reply[3] == "1",
            attempt: u32::try_from(count(&reply[4])).unwrap(),
            backoff: number(&reply[5]),
            invalidated: reply[6] == "1",
            limit: Settlement::kind_of_limit(&reply[7]),
            gone: reply[0] == "GONE",
        };
        *self.tally.entry(args[3].clone()).or_default() += 1;
        let ours = self.pool.settle(&settle, now);
        Self::same(call, &Ok(theirs), &ours);
    }

    fn token(&mut self, call: &Called, now: i64) {
        let (args, reply, pool) = (&call.args, &call.reply, &mut self.pool);
        let id = args[0].as_str();
        let equal = match call.script {
            "begin_refresh" => {
                let theirs = match reply[0].as_str() {
                    "TOKEN" => Begun::Token {
                        credential: count(&reply[3]),
                        generation: count(&reply[4]),
                        left: number(&reply[5]),
                        sealed: reply[6].clone(),
                    },
                    "GRANTED" => Begun::Granted {
                        credential: count(&reply[3]),
                        source: reply[4].clone(),
                        sealed: reply[5].clone(),
                    },
                    "WAIT" => Begun::Wait(number(&reply[3])),
                    "FAILED" => Begun::Failed(number(&reply[3])),
                    "INVALID" => Begun::Invalid(reply[3].clone()),
                    _ => Begun::Gone,
                };
                theirs == pool.begin_refresh(id, &args[1], number(&args[2]), number(&args[3]), now)
            }
            "finish_refresh" => {
                let theirs = match reply[0].as_str() {
                    "OK" => FinishedRefresh::Kept(count(&reply[3])),
                    "LOST" => FinishedRefresh::Lost,
                    "STALE" => FinishedRefresh::Stale,
                    _ => FinishedRefresh::Gone,
                };
                theirs == pool.finish_refresh(id, &args[1], count(&args[2]), number(&args[3]), &args[4], now)
            }
            "fail_refresh" => {
                let revoked = args[3] == "revoked";
                let failure = match args[3].as_str() {
                    "revoked" => RefreshFailure::Revoked,
                    "withdrawn" => RefreshFailure::Withdrawn,
                    _ => RefreshFailure::Transient,
                };
                let theirs = match (reply[0].as_str(), revoked) {
                    ("OK", true) if reply[4] == "1" => FailedRefresh::Invalidated,
                    ("OK", false) if reply[3] != "0" => FailedRefresh::Paused(number(&reply[3])),
                    ("NONE", _) => FailedRefresh::Gone,
                    _ => FailedRefresh::Ignored,
                };
                theirs == pool.fail_refresh(id, &args[1], count(&args[2]), failure, now)
            }
            _ => (reply[0] == "OK") == pool.drop_token(id, count(&args[1]), now),
        };
        assert!(equal, "{call:?}");
    }

    /// Requests in flight on all accounts.
    pub(crate) fn in_flight(&self) -> u32 {
        self.pool.accounts.iter().map(|account| self.pool.leases.of(&account.id)).sum()
    }
}

//! Recorded script calls in the model's words; their arguments and replies are as the heads of the scripts say.

use std::collections::BTreeMap;

use crate::model::{Changes, Edit, Grant, Held, Layer, NewAccount, Outcome, Tier};
use crate::tap::Called;

pub(crate) fn number(text: &str) -> i64 {
    text.parse().unwrap_or_else(|_| panic!("no number: {text:?}"))
}

pub(crate) fn count(text: &str) -> u64 {
    text.parse().unwrap_or_else(|_| panic!("no number: {text:?}"))
}

pub(crate) fn layer(lines: &str) -> Layer {
    let pairs = lines.lines().filter_map(|line| line.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

pub(crate) fn present(text: &str) -> Option<String> {
    Some(text.to_owned()).filter(|text| !text.is_empty())
}

fn edit(text: &str) -> Edit<String> {
    match text {
        "" => Edit::Keep,
        "-" => Edit::Clear,
        text => Edit::Set(text.to_owned()),
    }
}

fn floor(text: &str) -> Edit<f64> {
    match edit(text) {
        Edit::Keep => Edit::Keep,
        Edit::Clear => Edit::Clear,
        Edit::Set(text) => Edit::Set(text.parse().unwrap()),
    }
}

fn floors(text: &str) -> Edit<BTreeMap<String, f64>> {
    match edit(text) {
        Edit::Keep => Edit::Keep,
        Edit::Clear => Edit::Clear,
        Edit::Set(text) => {
            let pairs = text.split(' ').map(|pair| pair.split_once('=').unwrap());
            Edit::Set(pairs.map(|(model, floor)| (model.to_owned(), floor.parse().unwrap())).collect())
        }
    }
}

/// Whether the call wrote, by its own answer: writes have a place in the sequence of their own.
pub(crate) fn writes(call: &Called) -> bool {
    let code = call.reply[0].as_str();
    match call.script {
        "admit" => code != "EXPLAIN",
        "settle" | "put_signatures" | "put_models" | "announce_replica" | "touch_clients"
        | "refresh_accounts" | "forget_signatures" => true,
        "ask_replicas" => call.reply.len() > 3,
        "count_request" => call.reply[3] == "1",
        "heartbeat" => call.keys.len() > 4 || call.reply[3] != "0",
        "release" => code != "ENDED",
        "put_account" => matches!(code, "ADDED" | "RENEWED"),
        "begin_refresh" => code == "GRANTED",
        "finish_refresh" => matches!(code, "OK" | "STALE"),
        "reseal" | "add_key" | "forget_key" | "set_account" | "remove_account" | "invalidate_account"
        | "clear_invalid" | "fail_refresh" | "drop_token" | "put_quota" | "try_lock" | "unlock"
        | "put_settings" | "retire_replica" | "put_client" | "change_client" | "note_import"
        | "open_session" | "end_sessions" | "set_password" | "put_answer" | "end_question" => code == "OK",
        _ => false,
    }
}

/// The place of a call in the sequence.
pub(crate) fn seq(call: &Called) -> u64 {
    count(&call.reply[1])
}

pub(crate) fn grant(reply: &[String]) -> Grant {
    let (generation, left) = (count(&reply[13]), number(&reply[14]));
    Grant {
        account: reply[3].clone(),
        credential: count(&reply[4]),
        project: present(&reply[5]),
        session: reply[6].clone(),
        tier: match reply[7].as_str() {
            "normal" => Tier::Normal,
            "quota" => Tier::Quota,
            "emergency" => Tier::Emergency,
            "lastResort" => Tier::LastResort,
            _ => Tier::Probe,
        },
        throttle: number(&reply[8]),
        in_flight: u32::try_from(count(&reply[9])).unwrap(),
        tried: reply[10] == "1",
        accounts: usize::try_from(count(&reply[11])).unwrap(),
        source: reply[12].clone(),
        token: match (generation, reply[15].as_str()) {
            (0, _) => Held::Missing,
            (generation, "") => Held::Known { generation, left },
            (generation, sealed) => Held::Sent { generation, left, sealed: sealed.to_owned() },
        },
    }
}

pub(crate) fn new_account(args: &[String]) -> NewAccount {
    NewAccount {
        id: args[0].clone(),
        email: args[1].clone(),
        source: args[2].clone(),
        sealed: args[3].clone(),
        project: present(&args[4]),
        managed_project: present(&args[5]),
        session: args[6].clone(),
        added_at: present(&args[7]).map(|at| number(&at)),
        tier: present(&args[8]),
        tier_project: present(&args[9]),
        tier_seen_at: present(&args[10]).map(|at| number(&at)),
        database: present(&args[11]),
        enabled: present(&args[12]).map(|enabled| enabled == "1"),
        threshold: floor(&args[13]),
        thresholds: floors(&args[14]),
    }
}

pub(crate) fn changes(args: &[String]) -> Changes {
    Changes {
        expected: present(&args[1]).map(|version| count(&version)),
        enabled: present(&args[2]).map(|enabled| enabled == "1"),
        threshold: floor(&args[3]),
        thresholds: floors(&args[4]),
        models: args[5]
            .split(' ')
            .filter_map(|row| row.split_once('='))
            .map(|(model, value)| (model.to_owned(), value.parse().ok()))
            .collect(),
        project: edit(&args[6]),
        managed_project: edit(&args[7]),
        tier: present(&args[8]),
        tier_project: edit(&args[9]),
    }
}

/// The outcome of a settlement.
pub(crate) fn outcome(args: &[String]) -> Outcome {
    match args[3].as_str() {
        "success" => Outcome::Success,
        "rate_limited" => Outcome::RateLimited(args[4].clone(), Some(number(&args[5])).filter(|ms| *ms >= 0)),
        "capacity" => Outcome::Capacity { jitter: number(&args[5]) },
        "failure" => Outcome::Failure,
        "unauthorized" => Outcome::Unauthorized,
        "not_found" => Outcome::NotFound,
        "forbidden" => Outcome::Forbidden,
        reason @ ("revoked" | "banned" | "verification") => {
            Outcome::Invalid(reason.to_owned(), args[4].clone())
        }
        "client_error" => Outcome::ClientError,
        "cancelled" => Outcome::Cancelled,
        "released" => Outcome::Released,
        "empty" => Outcome::Empty,
        "blocked" => Outcome::Blocked,
        other => panic!("no outcome: {other}"),
    }
}

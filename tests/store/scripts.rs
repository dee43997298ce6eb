//! What holds for every script's text, and for every wrapper's call.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};

use antigravity_proxy::config::SelectionConfig;
use antigravity_proxy::store::Store;
use antigravity_proxy::store::embedded::EmbeddedHost;
use antigravity_proxy::store::host::{Call, Event, Reply, ScriptError, ScriptHost, StoreError};
use antigravity_proxy::store::ident::{CredentialVersion, Generation, InvalidReason, Version};
use antigravity_proxy::store::keys::{Keys, SigKey, SigKind};
use antigravity_proxy::store::ops::accounts::{Change, SetAccount};
use antigravity_proxy::store::ops::admit::Admit;
use antigravity_proxy::store::ops::asks::{Answered, Question};
use antigravity_proxy::store::ops::clients::ClientChange;
use antigravity_proxy::store::ops::console::Ending;
use antigravity_proxy::store::ops::imports::DocumentDigest;
use antigravity_proxy::store::ops::listing::Named;
use antigravity_proxy::store::ops::models::ModelQuota;
use antigravity_proxy::store::ops::presets::PresetChange;
use antigravity_proxy::store::ops::release::{self, Release};
use antigravity_proxy::store::ops::restore::{Merge, Past, PastModel, Presets};
use antigravity_proxy::store::ops::sealed::{Place, SealedSecret};
use antigravity_proxy::store::ops::settings::{SELECTION_SETTINGS, Scope};
use antigravity_proxy::store::ops::settle::{Outcome, Settle};
use antigravity_proxy::store::ops::signins::{SignInEnd, SignInState};
use antigravity_proxy::store::ops::tokens::RefreshFailure;
use antigravity_proxy::store::ops::usage::{CountRequest, Counters, UsageEntry};
use antigravity_proxy::store::registry::{ALL, REHEARSE};
use futures_util::future::BoxFuture;
use tokio::sync::broadcast;

use crate::clients::{client, new_client};
use crate::console::{attempt as trying, new_session};
use crate::harness::{M, id, lease, ms, new_account, owner};
use crate::replicas::{announcement, replica};
use crate::signins::new_signin;

/// Commands that scripts use.
const COMMANDS: &[&str] = &[
    "DEL",
    "GET",
    "HDEL",
    "HGET",
    "HGETALL",
    "HINCRBY",
    "HKEYS",
    "HLEN",
    "HMGET",
    "HSET",
    "HVALS",
    "PEXPIRE",
    "PTTL",
    "PUBLISH",
    "SET",
    "TIME",
    "ZADD",
    "ZCARD",
    "ZCOUNT",
    "ZRANGE",
    "ZRANGEBYSCORE",
    "ZREM",
    "ZREMRANGEBYRANK",
    "ZREVRANGEBYSCORE",
    "ZSCORE",
];

/// Globals a script may read.
const GLOBALS: &[&str] = &[
    "ARGV", "KEYS", "error", "ipairs", "math", "pairs", "redis", "string", "struct", "table", "tonumber",
    "type", "unpack",
];

const KEYWORDS: &[&str] = &[
    "and", "break", "do", "else", "elseif", "end", "false", "for", "function", "if", "in", "local", "nil",
    "not", "or", "repeat", "return", "then", "true", "until", "while",
];

#[test]
fn headers_match_their_registration() {
    for script in ALL {
        let header = script.header().unwrap_or_else(|error| panic!("{}: {error}", script.name));
        assert_eq!(header.args.last().map(|arg| arg.name), Some("now"), "{}", script.name);
        assert_eq!(header.keys.first().map(|key| key.name), Some("meta"), "{}", script.name);
        assert!(header.reply.contains("seq, now"), "{}", script.name);
    }
    let names: BTreeSet<_> = ALL.iter().map(|script| script.name).collect();
    assert_eq!(names.len(), ALL.len());
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/src/store/scripts");
    let files = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter_map(|name| name.strip_suffix(".lua").map(str::to_owned));
    assert_eq!(files.collect::<BTreeSet<_>>(), names.iter().map(|name| (*name).to_owned()).collect());
}

#[test]
fn commands_are_on_the_list() {
    let mut seen = BTreeSet::new();
    for script in ALL {
        for call in script.source.split("redis.call(").skip(1) {
            let command =
                call.strip_prefix('\'').and_then(|rest| rest.split_once('\'')).map(|(name, _)| name);
            let command = command.unwrap_or_else(|| panic!("{}: a computed command", script.name));
            assert!(COMMANDS.contains(&command), "{}: {command}", script.name);
            assert!(EmbeddedHost::knows_command(command), "{}: {command}", script.name);
            seen.insert(command);
        }
        for banned in ["cjson", "cmsgpack", "redis.pcall", "loadstring", "os.", "setmetatable"] {
            assert!(!script.source.contains(banned), "{}: {banned}", script.name);
        }
    }
    assert_eq!(seen, COMMANDS.iter().copied().collect());
}

#[test]
fn the_rehearsal_tries_every_command() {
    for command in COMMANDS {
        assert!(REHEARSE.source.contains(&format!("redis.call('{command}'")), "{command}");
    }
}

/// Identifiers, numbers and single marks of a Lua text, without comments; strings become `"`.
fn tokens(source: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    for line in source.lines() {
        let mut rest = line.trim_start();
        while let Some(first) = rest.chars().next() {
            if rest.starts_with("--") {
                break;
            }
            if first == '\'' {
                let mut end = 1;
                while !rest[end..].starts_with('\'') {
                    end += if rest[end..].starts_with('\\') { 2 } else { 1 };
                }
                tokens.push("\"".to_owned());
                rest = &rest[end + 1..];
            } else if first.is_alphanumeric() || first == '_' {
                let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
                tokens.push(rest[..end].to_owned());
                rest = &rest[end..];
            } else {
                tokens.push(first.to_string());
                rest = &rest[first.len_utf8()..];
            }
            rest = rest.trim_start();
        }
    }
    tokens
}

fn is_name(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_') && !KEYWORDS.contains(&token)
}

#[test]
fn no_script_reads_or_writes_a_global() {
    for script in ALL {
        let tokens = tokens(script.source);
        let mut declared: BTreeSet<&str> = GLOBALS.iter().copied().collect();
        for (at, token) in tokens.iter().enumerate() {
            let names = match token.as_str() {
                "local" | "for" => &tokens[at + 1..],
                "function" => {
                    let open = tokens[at..].iter().position(|t| t == "(").unwrap();
                    if is_name(&tokens[at + 1]) {
                        declared.insert(&tokens[at + 1]);
                    }
                    &tokens[at + open + 1..]
                }
                _ => continue,
            };
            declared.extend(
                names
                    .iter()
                    .take_while(|t| is_name(t) || *t == ",")
                    .map(String::as_str)
                    .filter(|t| is_name(t)),
            );
        }
        for (at, token) in tokens.iter().enumerate() {
            let before = at.checked_sub(1).map_or("", |at| tokens[at].as_str());
            let after = tokens.get(at + 1).map_or("", String::as_str);
            let field = before == "." || (matches!(before, "{" | ",") && after == "=");
            if is_name(token) && !field {
                assert!(declared.contains(token.as_str()), "{}: global `{token}`", script.name);
            }
        }
    }
}

#[test]
fn the_list_of_settings_is_the_scripts() {
    let lua = include_str!("../../src/store/scripts/lib/settings.lua");
    let names: BTreeSet<_> =
        lua.split("['").skip(1).filter_map(|rest| rest.split_once("'] =")).map(|(name, _)| name).collect();
    assert_eq!(names, SELECTION_SETTINGS.iter().copied().collect());
}

/// Keeps what it is asked and refuses it.
#[derive(Default)]
struct Refusing(Mutex<Vec<Call>>);

impl ScriptHost for Refusing {
    fn eval(&self, batch: Vec<Call>) -> BoxFuture<'_, Result<Vec<Reply>, StoreError>> {
        let replies = batch.iter().map(|_| Reply::Error(ScriptError::parse("ERR refused"))).collect();
        self.0.lock().unwrap().extend(batch);
        Box::pin(async move { Ok(replies) })
    }

    fn subscribe(&self) -> broadcast::Receiver<Event> {
        broadcast::channel(1).1
    }
}

#[tokio::test]
async fn calls_fit_their_headers_and_leave_time_to_the_store() {
    let host = Arc::new(Refusing::default());
    let keys = Keys::new("main").unwrap();
    let store = Store::new(host.clone(), keys.clone(), &SelectionConfig::default());
    let (account, attempt, holder) = (id("a"), lease("l"), owner("o"));
    let models = ["x".to_owned(), "y".to_owned()];
    let credential = CredentialVersion(1);
    let admit = Admit {
        lease: &attempt,
        lease_ttl: ms(30_000),
        model: M,
        tried: &[],
        known: &[],
        probe_after: None,
        conversation: None,
    };
    let settle = Settle {
        account: &account,
        lease: &attempt,
        credential,
        model: M,
        admitted_at_ms: 0,
        outcome: Outcome::Success,
        received: true,
        usage: None,
    };
    let signature = SigKey::new("k", SigKind::Tool, "t");
    let signatures = vec![(signature.clone(), "v".to_owned()); 1500];
    let wanted = vec![signature; 1500];
    let quota = ModelQuota { model: "x".into(), fraction: Some(0.5), reset: None, told: true };
    let changes = BTreeMap::from([((Scope::Selection, "health.initial".to_owned()), Some("1".to_owned()))]);

    assert!(store.admit(&admit).await.is_err());
    assert!(store.admit_with_signatures(&admit, &wanted, ms(1)).await.is_err());
    assert!(store.heartbeat(&[attempt.clone(), lease("k")], ms(1)).await.is_err());
    assert!(store.heartbeat(&[], ms(1)).await.is_err());
    assert!(store.settle(&settle).await.is_err());
    let release = Release { lease: &attempt, model: M };
    assert!(store.release(release).await.is_err());
    let count = CountRequest { id: &attempt, model: M, ended_at_ms: 0, usage: UsageEntry::default() };
    assert!(store.count_request(&count).await.is_err());
    let ends = [
        release::Ending::Settle(settle.clone()),
        release::Ending::Release(release),
        release::Ending::Count(count),
    ];
    let ends = store.end_all(&ends).await.unwrap();
    assert!(ends.iter().all(Result::is_err) && ends.len() == 3);
    assert!(store.note_capacity(0, &[]).await.is_err());
    assert!(store.read_capacity(0).await.is_err());
    assert!(store.usage_clock().await.is_err());
    assert!(store.read_usage(&[Counters::Hour(0); 20], |_| ControlFlow::Continue(())).await.is_err());
    assert!(store.find_account("a@example.com").await.is_err());
    assert!(store.get_credential(&account).await.is_err());
    assert!(store.get_account(Named::Id(&account)).await.is_err());
    assert!(store.get_account(Named::Email("a@example.com")).await.is_err());
    assert!(store.put_account(&new_account(&account, "a@example.com")).await.is_err());
    assert!(store.remove_account(&account, &models).await.is_err());
    assert!(store.list_accounts(0, 10, &models).await.is_err());
    assert!(store.count_accounts(&models).await.is_err());
    let set = SetAccount { threshold: Change::Set(0.5), ..SetAccount::default() };
    assert!(store.set_account(&account, &set).await.is_err());
    assert!(store.invalidate_account(&account, credential, InvalidReason::Banned, None).await.is_err());
    assert!(store.clear_invalid(&account, credential, 0).await.is_err());
    assert!(store.begin_refresh(&account, &holder, ms(1)).await.is_err());
    assert!(store.finish_refresh(&account, &holder, credential, ms(1), "s").await.is_err());
    assert!(store.fail_refresh(&account, &holder, credential, RefreshFailure::Transient).await.is_err());
    assert!(store.drop_token(&account, Generation(1)).await.is_err());
    assert!(store.put_signatures(&signatures, ms(1)).await.is_err());
    assert!(store.get_signatures(&wanted, ms(1)).await.is_err());
    assert!(store.put_quota(&account, &[quota]).await.is_err());
    assert!(store.put_models("{}").await.is_err());
    assert!(store.get_models().await.is_err());
    assert!(store.try_lock("work", &holder, ms(1)).await.is_err());
    assert!(store.pause("work", &holder, ms(1)).await.is_err());
    assert!(store.was_imported(&DocumentDigest::of(b"[]")).await.is_err());
    assert!(store.note_import(&DocumentDigest::of(b"[]")).await.is_err());
    assert!(store.unlock("work", &holder).await.is_err());
    assert!(store.rehearse().await.is_err());
    assert!(store.get_settings(None).await.is_err());
    assert!(store.put_settings(None, &changes).await.is_err());
    assert!(store.announce_replica(&announcement(&replica("r"))).await.is_err());
    assert!(store.retire_replica(&replica("r")).await.is_err());
    assert!(store.fetching_fails().await.is_err());
    assert!(store.list_sealed(0, 10).await.is_err());
    let secret = SealedSecret { account: account.clone(), place: Place::Token, sealed: "s".into() };
    assert!(store.reseal(&secret, "t").await.is_err());
    assert!(store.list_keys().await.is_err());
    assert!(store.add_key("k", "s", &[]).await.is_err());
    assert!(store.forget_key("k").await.is_err());
    assert!(store.list_replicas().await.is_err());
    let question = Question::LiveRequests;
    assert!(store.ask_replicas(&replica("r"), &holder, &question, ms(1)).await.is_err());
    assert!(store.put_answer(&replica("r"), &holder, "{}").await.is_err());
    let known = Answered { replica: replica("r"), at_ms: 0, text: String::new() };
    assert!(store.get_answers(&holder, &[known]).await.is_err());
    assert!(store.end_question(&holder).await.is_err());
    let many = vec![(account.clone(), credential); 300];
    assert!(store.refresh_accounts(&many, true).await.is_err());
    let names = vec![format!("{}x", keys.signatures()); 1500];
    assert!(store.forget_signatures(&names).await.is_err());
    assert!(store.put_client(&new_client(&client("k"), "n")).await.is_err());
    assert!(store.change_client(&client("k"), &ClientChange::default()).await.is_err());
    assert!(store.list_clients(None).await.is_err());
    assert!(store.touch_clients(&[(client("k"), ms(1))]).await.is_err());
    let state = SignInState::from_bytes([0; 16]);
    assert!(store.begin_signin(&new_signin(&state)).await.is_err());
    assert!(store.take_signin(&state, &holder, ms(1)).await.is_err());
    assert!(store.end_signin(&state, &holder, &SignInEnd::Pending, ms(1)).await.is_err());
    assert!(store.get_signin(&state).await.is_err());
    let past =
        Past { models: vec![PastModel { model: "x".into(), ..PastModel::default() }], ..Past::default() };
    assert!(store.restore_account(&account, credential, &past).await.is_err());
    assert!(store.append_audit("{}").await.is_err());
    assert!(store.list_audit(None, 10).await.is_err());
    assert!(store.check_session(None, None, Some(ms(1))).await.is_err());
    assert!(store.begin_attempt(&trying("p", "m"), None, false).await.is_err());
    assert!(store.end_attempt(&trying("p", "m"), Version(0), true, ["", ""]).await.is_err());
    assert!(store.open_session(&new_session("d")).await.is_err());
    assert!(store.end_sessions(Ending::All).await.is_err());
    assert!(store.set_password(Version(0), None, None).await.is_err());
    assert!(store.put_setup("d", ms(1)).await.is_err());
    assert!(store.put_ticket("d", "w", ms(1)).await.is_err());
    assert!(store.take_ticket("d").await.is_err());
    let preset = [("a".to_owned(), "{}".to_owned())];
    assert!(store.list_trackers(0, 10).await.is_err());
    assert!(store.list_presets(Presets::Claude).await.is_err());
    assert!(store.put_preset(Presets::Server, "n", "{}", 10).await.is_err());
    let change = PresetChange { name: "n", known: "{}", new_name: "o", json: "{}" };
    assert!(store.change_preset(Presets::Server, &change).await.is_err());
    assert!(store.remove_preset(Presets::Claude, "n", true).await.is_err());
    assert!(store.merge_presets(Presets::Server, Merge::Look, &preset).await.is_err());
    assert!(store.merge_usage(0, Merge::Add, &[("x".into(), 1)]).await.is_err());

    let calls = host.0.lock().unwrap();
    let mut called = BTreeSet::new();
    for call in calls.iter() {
        let name = call.script.name;
        called.insert(name);
        let header = call.script.header().unwrap();
        assert!(
            header.accepts(call.keys.len(), call.args.len()),
            "{name}: {} keys, {} args",
            call.keys.len(),
            call.args.len()
        );
        assert!(call.args.last().unwrap().as_bytes().is_empty(), "{name} sends a time");
        assert!(call.keys.len() <= 1025, "{name}: {} keys", call.keys.len());
        assert!(call.keys.iter().all(|key| key.as_str().starts_with(keys.prefix())), "{name}");
    }
    assert_eq!(called, ALL.iter().map(|script| script.name).collect());
}

#[tokio::test]
async fn text_that_would_break_a_record_is_refused() {
    let store =
        Store::new(Arc::new(Refusing::default()), Keys::new("main").unwrap(), &SelectionConfig::default());
    let refused = |result: Result<(), StoreError>| matches!(result, Err(StoreError::BadArgument { .. }));
    assert!(refused(store.find_account("a\u{1f}b").await.map(|_| ())));
    assert!(refused(store.get_account(Named::Email("a\u{1f}b")).await.map(|_| ())));
    assert!(refused(store.put_account(&new_account(&id("a"), "a\nb")).await.map(|_| ())));
    let spaced = BTreeMap::from([("a b".to_owned(), 0.5)]);
    let set = SetAccount { model_thresholds: Change::Set(spaced), ..SetAccount::default() };
    assert!(refused(store.set_account(&id("a"), &set).await.map(|_| ())));
}

//! The referee: calls as the embedded store answered them, told again to a server. Every reply must be equal, and
//! at the end every key: its type, its content, and when it ends.

use std::collections::BTreeMap;
use std::sync::Arc;

use antigravity_proxy::clock::Clock;
use antigravity_proxy::store::embedded::EmbeddedHost;
use antigravity_proxy::store::host::{Call, Reply, ScriptHost};
use antigravity_proxy::store::script::Script;

use crate::harness::{Host, Recorder, SCRIPTS, hosts};
use crate::server::by_value;

/// Calls in one round trip.
const BATCH: usize = 32;

/// What the embedded store was told, and what came of it. Its clock stood still, so that the end of a key says
/// exactly how long it was given.
pub(crate) struct Record {
    told: Vec<(Call, Reply)>,
    dump: String,
    at: i64,
}

impl Record {
    /// Tells `story` to an empty embedded store.
    pub(crate) async fn of(story: impl AsyncFnOnce(Arc<dyn ScriptHost>)) -> Self {
        let at = Clock::system().epoch_ms();
        let embedded = Arc::new(EmbeddedHost::in_memory(Clock::manual(at), &SCRIPTS).unwrap());
        let recorder = Arc::new(Recorder::new(embedded.clone()));
        story(recorder.clone()).await;
        Self { told: recorder.told(), dump: by_value(&embedded.dump().unwrap()), at }
    }

    /// Tells the same to `host`, emptied before; the first difference as text.
    pub(crate) async fn compare(&self, host: &mut Host) -> Result<(), String> {
        let Some(server) = &mut host.server else { return Ok(()) };
        server.command(&[b"FLUSHALL"]);
        let begun = Clock::system().epoch_ms();
        for (batch, part) in self.told.chunks(BATCH).enumerate() {
            let calls = part.iter().map(|(call, _)| call.clone()).collect();
            let replies =
                host.scripts.eval(calls).await.map_err(|error| format!("{}: {error}", host.name))?;
            for (place, ((call, ours), theirs)) in part.iter().zip(&replies).enumerate() {
                let (ours, theirs) = (comparable(call, ours), comparable(call, theirs));
                if ours != theirs {
                    let Call { script, keys, args } = call;
                    return Err(format!(
                        "call {}, {} {keys:?} {args:?}:\nembedded answers {ours:?}\n{} {theirs:?}",
                        batch * BATCH + place,
                        script.name,
                        host.name
                    ));
                }
            }
        }
        let ended = Clock::system().epoch_ms();
        let theirs = server.dump();
        let (ours, theirs) = (contents(&self.dump), contents(&theirs));
        for key in ours.keys().chain(theirs.keys()) {
            let (ours, theirs) = (ours.get(key), theirs.get(key));
            let alike = match (ours, theirs) {
                (Some((Some(at), ours)), Some((Some(end), theirs))) => {
                    // Set while the calls ran, for so long as the embedded store was told.
                    ours == theirs && (begun..=ended).contains(&(end - (at - self.at)))
                }
                _ => ours == theirs,
            };
            if !alike {
                let begun = begun - self.at;
                return Err(format!(
                    "{key}, times as of {} and {begun} to {} ms after:\nembedded has {ours:?}\n{} {theirs:?}",
                    self.at,
                    ended - self.at,
                    host.name
                ));
            }
        }
        Ok(())
    }

    /// How many calls.
    pub(crate) fn len(&self) -> usize {
        self.told.len()
    }
}

/// `reply` with what may differ between equals in one order: pairs of a hash come in any.
pub(crate) fn comparable(call: &Call, reply: &Reply) -> Reply {
    let Reply::Array(items) = reply else { return reply.clone() };
    let sorted = |pairs: &[Reply]| {
        let mut pairs: Vec<_> = pairs.chunks(2).collect();
        pairs.sort_by_key(|pair| pair[0].as_bytes());
        pairs.concat()
    };
    let ordered_from = match call.script.name {
        "get_hash" => 0,
        "get_settings" => 4,
        "get_usage" => {
            let (head, mut rest) = items.split_at(3);
            let mut items = head.to_vec();
            // Of each hash how many pairs follow.
            while let Some((Reply::Int(count), pairs)) = rest.split_first() {
                let (pairs, behind) = pairs.split_at(2 * usize::try_from(*count).unwrap());
                items.push(Reply::Int(*count));
                items.extend(sorted(pairs));
                rest = behind;
            }
            return Reply::Array(items);
        }
        "list_presets" => 3,
        _ => return reply.clone(),
    };
    let (head, pairs) = items.split_at(ordered_from);
    Reply::Array(head.iter().cloned().chain(sorted(pairs)).collect())
}

/// The lines of a dump: key → end, type and content.
fn contents(dump: &str) -> BTreeMap<&str, (Option<i64>, &str)> {
    dump.lines()
        .map(|line| {
            let (key, rest) = line.split_once(" expires=").unwrap();
            let (end, content) = rest.split_once(' ').unwrap();
            (key, (end.parse().ok(), content))
        })
        .collect()
}

/// A difference of each kind, made by scripts that ask which host they are on.
#[tokio::test]
async fn differences_are_seen() {
    // Only Redis lets its scripts see `bit`.
    const TELLS: &str = "local redis_host = pcall(function() return bit end) ";
    let differences = [
        ("reply", "return redis_host and 1 or 2"),
        ("content", "redis.call('SET', KEYS[1], redis_host and 1 or 2)"),
        (
            "kind",
            "if redis_host then redis.call('SET', KEYS[1], '') else redis.call('HSET', KEYS[1], '', '') end",
        ),
        (
            "no end",
            "redis.call('SET', KEYS[1], 1) if redis_host then redis.call('PEXPIRE', KEYS[1], 60000) end",
        ),
        ("later", "redis.call('SET', KEYS[1], 1, 'PX', redis_host and 70000 or 60000)"),
        ("earlier", "redis.call('SET', KEYS[1], 1, 'PX', redis_host and 50000 or 60000)"),
        ("more", "if redis_host then redis.call('SET', KEYS[1], 1) end"),
        ("less", "if not redis_host then redis.call('SET', KEYS[1], 1) end"),
    ];
    let mut hosts = hosts().await;
    for (what, source) in differences {
        let source = [TELLS, source].concat().leak();
        let script: &'static Script = Box::leak(Box::new(Script::periodic("differing", source)));
        let record = Record::of(async |host| {
            host.eval(vec![Call::new(script).key("agp:v1:{test}:k")]).await.unwrap();
        })
        .await;
        assert_eq!(record.len(), 1);
        for host in hosts.iter_mut().filter(|host| host.server.is_some()) {
            let verdict = record.compare(host).await;
            assert!(verdict.is_err(), "{what} on {}", host.name);
        }
    }
}

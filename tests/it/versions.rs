//! Two versions of the scripts on one Redis, as during a rolling update: a gateway of this version over HTTP, and
//! beside it the store of a version that has another `admit.lua`. Each settles what the other admitted, too.

use std::sync::Arc;
use std::time::Duration;

use antigravity_proxy::clock::Clock;
use antigravity_proxy::config::{RedisConfig, SelectionConfig};
use antigravity_proxy::simulator::Scenario;
use antigravity_proxy::store::Store;
use antigravity_proxy::store::host::{Call, Event, Reply, ScriptHost, StoreError};
use antigravity_proxy::store::ident::LeaseId;
use antigravity_proxy::store::keys::Keys;
use antigravity_proxy::store::ops::admit::{Admit, Decision};
use antigravity_proxy::store::ops::settle::{Outcome, Settle};
use antigravity_proxy::store::redis::RedisHost;
use antigravity_proxy::store::registry;
use antigravity_proxy::store::script::Script;
use futures_util::future::BoxFuture;
use tokio::sync::broadcast;

use crate::redis_server::RedisServer;
use crate::support::{PLAIN, TestGateway, ask};

const LENGTH: Duration = Duration::from_secs(10);
const LEASE: Duration = Duration::from_secs(30);

/// The host of a version in which `admit.lua` has another text.
struct NextVersion {
    host: RedisHost,
    admit: &'static Script,
}

impl ScriptHost for NextVersion {
    fn eval(&self, mut batch: Vec<Call>) -> BoxFuture<'_, Result<Vec<Reply>, StoreError>> {
        for call in &mut batch {
            if call.script.name == self.admit.name {
                call.script = self.admit;
            }
        }
        self.host.eval(batch)
    }

    fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.host.subscribe()
    }
}

fn next_admit() -> &'static Script {
    let mark = "local function answer(";
    let source = registry::ADMIT.source.replace(mark, &format!("local next_version = true\n{mark}"));
    assert_ne!(source, registry::ADMIT.source);
    // Scripts are made at compile time; this one lasts as long.
    Box::leak(Box::new(Script::periodic("admit", source.leak())))
}

async fn host(server: &RedisServer, keys: &Keys) -> RedisHost {
    let config = RedisConfig::parse(&server.url()).unwrap();
    RedisHost::connect(&config, keys.channel(), registry::ALL, Clock::system()).await.unwrap()
}

/// One attempt: admitted by one version, renewed and settled by the other.
async fn attempt(lease: &LeaseId, admits: &Store, settles: &Store) {
    let known = Admit {
        lease,
        lease_ttl: LEASE,
        model: PLAIN,
        tried: &[],
        known: &[],
        probe_after: None,
        conversation: None,
    };
    let admission = admits.admit(&known).await.unwrap();
    // The other version repeats what was decided.
    let repeated = settles.admit(&known).await.unwrap();
    let (Decision::Granted(grant), Decision::Granted(again)) = (&admission.decision, &repeated.decision)
    else {
        panic!("{admission:?}, then {repeated:?}")
    };
    assert_eq!((&grant.account, admission.stamp), (&again.account, repeated.stamp));
    settles.heartbeat(std::slice::from_ref(lease), LEASE).await.unwrap();
    let settle = Settle {
        account: &grant.account,
        lease,
        credential: grant.credential,
        model: PLAIN,
        admitted_at_ms: admission.stamp.now_ms,
        outcome: Outcome::Success,
        received: true,
        usage: None,
    };
    settles.settle(&settle).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_versions_of_a_script_share_a_redis() {
    let server = RedisServer::start();
    let gateway = TestGateway::start(Scenario::default().with_accounts(3), |config| {
        config.store.redis = RedisConfig::parse(&server.url());
        config.store.encryption_keys = vec!["MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=".to_owned().into()];
    })
    .await;
    let (keys, selection) = (Keys::new("main").unwrap(), SelectionConfig::default());
    let this = Store::new(Arc::new(host(&server, &keys).await), keys.clone(), &selection);
    let admit = next_admit();
    let next = NextVersion { host: host(&server, &keys).await, admit };
    let next = Store::new(Arc::new(next), keys, &selection);

    let began = Clock::system().instant();
    let over_http = async {
        let mut answered = 0;
        while began.elapsed() < LENGTH {
            let answer =
                gateway.client.send(&ask(PLAIN, "reply with exactly: fine", answered % 2 == 1)).await;
            assert_eq!(answer.status, 200, "{:?}", answer.body);
            answered += 1;
        }
        answered
    };
    let beside = async {
        let mut settled = 0;
        while began.elapsed() < LENGTH {
            let lease = LeaseId::new(&format!("beside-{settled}")).unwrap();
            let (admits, settles) = if settled % 2 == 0 { (&this, &next) } else { (&next, &this) };
            attempt(&lease, admits, settles).await;
            settled += 1;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        settled
    };
    let forgetting = async {
        let mut connection = server.connect();
        let digests = [registry::ADMIT.sha1(), admit.sha1()];
        while began.elapsed() < LENGTH {
            // Whoever needs a script loads it again; so both versions use theirs.
            let () = redis::cmd("SCRIPT").arg("FLUSH").query(&mut connection).unwrap();
            let mut known = async || loop {
                let known: Vec<bool> =
                    redis::cmd("SCRIPT").arg("EXISTS").arg(&digests).query(&mut connection).unwrap();
                if known == [true, true] {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            };
            tokio::time::timeout(LENGTH, known()).await.expect("both versions admit");
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    };
    let (answered, settled, ()) = tokio::join!(over_http, beside, forgetting);
    assert!(answered > 5 && settled > 20, "{answered} requests, {settled} attempts beside them");
    gateway.settled().await;
}

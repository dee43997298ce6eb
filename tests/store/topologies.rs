//! The Redis host in a cluster, behind Sentinels and over TLS: it finds the pool, and follows it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use antigravity_proxy::clock::Clock;
use antigravity_proxy::config::{RedisConfig, SelectionConfig};
use antigravity_proxy::store::Store;
use antigravity_proxy::store::feed::redis::{RedisFeed, RedisFeedSize};
use antigravity_proxy::store::feed::{Feed, Topic};
use antigravity_proxy::store::host::{Call, Event, Reply, ScriptHost, StoreError};
use antigravity_proxy::store::ident::ReplicaId;
use antigravity_proxy::store::keys::Keys;
use antigravity_proxy::store::redis::RedisHost;
use antigravity_proxy::store::registry::ALL;
use antigravity_proxy::store::script::Script;
use tokio::sync::broadcast::Receiver;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::redis_host::patiently;
use crate::redis_server::{Flavour, RedisServer};
use crate::tls::Authority;
use crate::topology::{Cluster, Watched};

const CHANNEL: &str = "agp:v1:{test}:ev";
const POOL: &str = "{test}";

static SUM: Script = Script::periodic("sum", "return redis.call('HINCRBY', KEYS[1], 'n', ARGV[1])");
static SUM_FSYNC: Script = Script::fsync("sum_fsync", "return redis.call('HINCRBY', KEYS[1], 'n', ARGV[1])");
static SAY: Script = Script::periodic("say", "return redis.call('PUBLISH', ARGV[1], ARGV[2])");

fn config(url: &str) -> RedisConfig {
    RedisConfig::parse(url).unwrap_or_else(|| panic!("{url}"))
}

async fn host(url: &str) -> Result<RedisHost, StoreError> {
    RedisHost::connect(&config(url), CHANNEL.into(), ALL, Clock::system()).await
}

/// What is wrong with the servers at `url`, by the host's word.
async fn problem(url: &str) -> String {
    match host(url).await {
        Err(error @ StoreError::Unsuitable { .. }) => error.to_string(),
        Err(error) => panic!("{url}: {error}"),
        Ok(_) => panic!("{url} is accepted"),
    }
}

fn sum(by: i64) -> Call {
    Call::new(&SUM).key("agp:v1:{test}:meta").arg(by)
}

/// Waits for an event that `holds`.
async fn event(events: &mut Receiver<Event>, holds: impl Fn(&Event) -> bool) {
    let waiting = async { while !holds(&events.recv().await.unwrap()) {} };
    tokio::time::timeout(Duration::from_secs(20), waiting).await.expect("the event comes");
}

/// A message that is published now comes, sooner or later: the subscription follows the pool.
async fn events_come(host: &RedisHost, text: &str) {
    let mut events = host.subscribe();
    let saying = async {
        loop {
            let _ = host.eval(vec![Call::new(&SAY).key("agp:v1:{test}:meta").arg(CHANNEL).arg(text)]).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::select! {
        () = saying => {}
        () = event(&mut events, |event| matches!(event, Event::Message { payload, .. } if payload == text)) => {}
    }
}

/// A feed with its writer at work.
struct Kept {
    feed: RedisFeed,
    _writer: JoinSet<()>,
}

impl Kept {
    fn new(url: &str) -> Self {
        let keys = Keys::new("test").unwrap();
        let writer = ReplicaId::new("writer").unwrap();
        let dropped: antigravity_proxy::store::feed::Dropped = Arc::new(|_, _| {});
        let (feed, writer) =
            RedisFeed::new(&config(url), keys, writer, Clock::system(), RedisFeedSize::default(), dropped)
                .unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(writer.run(CancellationToken::new()));
        Self { feed, _writer: tasks }
    }

    /// What is appended now can be read, sooner or later.
    async fn works(&self, text: &'static str) {
        self.feed.append(Topic::Events, text.into());
        let reading = async {
            loop {
                let page = self.feed.recent(Topic::Events, 10).await;
                if page.is_ok_and(|page| page.entries.iter().any(|entry| entry.text == text)) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), reading).await.expect("the feed works");
    }
}

#[tokio::test]
async fn a_pool_that_moves_to_another_node_is_followed_without_an_error() {
    for flavour in [Flavour::Redis7, Flavour::Valkey] {
        if !flavour.installed() {
            continue;
        }
        let cluster = Cluster::start(flavour);
        let host = host(&cluster.url()).await.unwrap();
        let feed = Kept::new(&cluster.url());
        let mut events = host.subscribe();
        feed.works(r#"{"at":0}"#).await;
        let mut expected = 0;
        for round in 1..=4 {
            let twice = vec![sum(1), Call::new(&SUM_FSYNC).key("agp:v1:{test}:meta").arg(1)];
            assert_eq!(
                host.eval(twice).await.unwrap(),
                [Reply::Int(expected + 1), Reply::Int(expected + 2)],
                "round {round} on {flavour:?}"
            );
            expected += 2;
            cluster.migrate(POOL);
        }
        assert_eq!(host.eval(vec![sum(0)]).await.unwrap(), [Reply::Int(expected)]);
        event(&mut events, |event| *event == Event::Gap).await;
        events_come(&host, "account a 1").await;
        feed.works(r#"{"at":1}"#).await;
    }
}

#[tokio::test]
async fn scripts_that_a_node_forgot_are_loaded_again_and_run_once() {
    let cluster = Cluster::start(Flavour::Redis7);
    let host = host(&cluster.url()).await.unwrap();
    for round in 1..=3 {
        redis::cmd("SCRIPT").arg("FLUSH").exec(&mut cluster.node_of(POOL).connect()).unwrap();
        assert_eq!(host.eval(vec![sum(1)]).await.unwrap(), [Reply::Int(round)]);
    }
}

#[tokio::test]
async fn any_one_node_leads_to_the_pool() {
    let cluster = Cluster::start(Flavour::Redis7);
    let mut sums = 0;
    for node in cluster.nodes() {
        let host = host(&format!("redis+cluster://{}", node.address())).await.unwrap();
        sums += 1;
        assert_eq!(host.eval(vec![sum(1)]).await.unwrap(), [Reply::Int(sums)]);
    }
    // One that is not there does not matter, the first neither.
    let there = cluster.nodes()[0].address();
    host(&format!("redis+cluster://127.0.0.1:1,{there}")).await.unwrap();
}

#[tokio::test]
async fn a_killed_owner_is_replaced_by_its_replica() {
    for flavour in [Flavour::Redis7, Flavour::Valkey] {
        if !flavour.installed() {
            continue;
        }
        let mut cluster = Cluster::with_replicas(flavour);
        // Only the node that is going to die is named.
        let url = format!("redis+cluster://{}", cluster.node_of(POOL).address());
        let host = host(&url).await.unwrap();
        let feed = Kept::new(&url);
        feed.works(r#"{"at":0}"#).await;
        let mut events = host.subscribe();
        assert_eq!(host.eval(vec![sum(5)]).await.unwrap(), [Reply::Int(5)]);
        cluster.kill_owner(POOL);
        let error = host.eval(vec![sum(0)]).await.unwrap_err();
        assert!(matches!(error, StoreError::Unavailable { .. }), "{error}");
        let replies = patiently(async || host.eval(vec![sum(0)]).await).await;
        assert!(matches!(replies[..], [Reply::Int(_)]), "{replies:?}");
        cluster.wait_for_failover(POOL);
        event(&mut events, |event| *event == Event::Gap).await;
        events_come(&host, "account a 1").await;
        feed.works(r#"{"at":1}"#).await;
    }
}

#[tokio::test]
async fn a_killed_primary_is_replaced_as_the_sentinels_say() {
    let mut watched = Watched::start();
    let host = host(&watched.url()).await.unwrap();
    let feed = Kept::new(&watched.url());
    feed.works(r#"{"at":0}"#).await;
    let mut events = host.subscribe();
    assert_eq!(host.eval(vec![sum(5)]).await.unwrap(), [Reply::Int(5)]);
    watched.kill_primary();
    let error = host.eval(vec![sum(0)]).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error}");
    patiently(async || host.eval(vec![sum(1)]).await).await;
    event(&mut events, |event| *event == Event::Gap).await;
    watched.wait_for_failover();
    let mut primary = watched.primary().connect();
    let kept: i64 = redis::cmd("HGET").arg("agp:v1:{test}:meta").arg("n").query(&mut primary).unwrap();
    assert_eq!(host.eval(vec![sum(0)]).await.unwrap(), [Reply::Int(kept)], "it is the Sentinels' primary");
    events_come(&host, "account a 1").await;
    feed.works(r#"{"at":1}"#).await;
    // The old one comes back, and is a replica soon.
    watched.restart_primary();
    for _ in 0..50 {
        host.eval(vec![sum(0)]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_primary_that_hangs_is_left_for_the_new_one() {
    let watched = Watched::start();
    let host = host(&watched.url()).await.unwrap();
    watched.servers()[0].pause();
    let error = host.eval(vec![sum(0)]).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error}");
    patiently(async || host.eval(vec![sum(1)]).await).await;
    watched.servers()[0].resume();
}

#[tokio::test]
async fn sentinels_have_credentials_of_their_own_or_none_or_the_same() {
    let open = Watched::locked("data", "");
    let with = |watched: &Watched, credentials: &str, query: &str| {
        watched.url().replace("://", &format!("://{credentials}")) + query
    };
    host(&with(&open, ":data@", "")).await.unwrap();
    let text = problem(&open.url()).await;
    assert!(text.contains("REDIS_PASSWORD"), "{text}");
    drop(open);

    let own = Watched::locked("data", "watch");
    host(&with(&own, ":data@", "?sentinel_pass=watch")).await.unwrap();
    for wrong in ["", "?sentinel_pass=wrong"] {
        let text = problem(&with(&own, ":data@", wrong)).await;
        assert!(text.contains("this Sentinel refuses the credentials"), "{text}");
        assert!(!text.contains("wrong") && !text.contains("data@"), "{text}");
    }
    let text = problem(&own.url().replace(crate::topology::PRIMARY, "other")).await;
    assert!(text.contains("sentinel_pass"), "{text}");
    let text =
        problem(&with(&own, ":data@", "?sentinel_pass=watch").replace(crate::topology::PRIMARY, "other"))
            .await;
    assert!(text.contains("watches no primary called other"), "{text}");
    drop(own);

    let same = Watched::locked("data", "data");
    host(&with(&same, ":data@", "")).await.unwrap();
}

#[tokio::test]
async fn an_address_of_another_kind_is_refused_with_the_right_one() {
    let single = RedisServer::start();
    let cluster = Cluster::start(Flavour::Redis7);
    let watched = Watched::start();
    let node = cluster.nodes()[0].url();
    assert!(problem(&node).await.contains("redis+cluster://"));
    let text = problem(&single.url().replace("redis:", "redis+cluster:")).await;
    assert!(text.contains("no node of a cluster"), "{text}");
    let text = problem(&(single.url().replace("redis:", "redis+sentinel:") + "/main")).await;
    assert!(text.contains("no Sentinel"), "{text}");
    let (sentinel, _) = watched.url().split_once(',').map(|(first, rest)| (first.to_owned(), rest)).unwrap();
    assert!(problem(&sentinel.replace("redis+sentinel:", "redis:")).await.contains("redis+sentinel://"));
    let mut numbered = config(&cluster.url());
    numbered.db = 3;
    let refused = RedisHost::connect(&numbered, CHANNEL.into(), ALL, Clock::system()).await;
    assert!(refused.is_err_and(|error| error.to_string().contains("REDIS_DB")));
}

#[tokio::test]
async fn a_private_authority_is_trusted_when_it_is_named() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let authority = Authority::new();
    let server = authority.server(&["--requirepass", "pw"]);
    let connect = async |host: &str, roots: Option<PathBuf>| {
        let url = format!("rediss://:pw@{host}:{}", server.port());
        let config = RedisConfig { extra_roots: roots, ..config(&url) };
        RedisHost::connect(&config, CHANNEL.into(), ALL, Clock::system()).await
    };
    for name in ["127.0.0.1", "localhost"] {
        let host = connect(name, Some(authority.root())).await.unwrap();
        host.eval(vec![sum(1)]).await.unwrap();
        // And again, after the connection broke.
        redis::cmd("AUTH").arg("pw").exec(&mut server.connect()).unwrap();
        let mut admin = server.connect();
        redis::cmd("AUTH").arg("pw").exec(&mut admin).unwrap();
        redis::cmd("CLIENT").arg("KILL").arg("TYPE").arg("normal").exec(&mut admin).unwrap();
        patiently(async || host.eval(vec![sum(1)]).await).await;
        let store = Store::new(Arc::new(host), Keys::new("test").unwrap(), &SelectionConfig::default());
        store.rehearse().await.unwrap();
    }
    let other = Authority::new();
    for roots in [None, Some(other.root())] {
        let error = connect("127.0.0.1", roots).await.err().expect("a stranger is not trusted").to_string();
        assert!(error.contains("certificate"), "{error}");
    }
    let missing = connect("127.0.0.1", Some("/nowhere/ca.pem".into())).await.err().unwrap().to_string();
    assert!(missing.contains("SSL_CERT_FILE") && missing.contains("/nowhere/ca.pem"), "{missing}");
}

#[tokio::test]
async fn clusters_and_sentinels_over_tls_are_followed() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let authority = Authority::new();
    let (cluster, watched) = (Cluster::over_tls(&authority), Watched::over_tls(&authority));
    let connect = async |url: String| {
        let url = url.replace("redis+", "rediss+");
        let config = RedisConfig { extra_roots: Some(authority.root()), ..config(&url) };
        RedisHost::connect(&config, CHANNEL.into(), ALL, Clock::system()).await
    };
    let host = connect(cluster.url()).await.unwrap();
    for round in 1..=2 {
        assert_eq!(host.eval(vec![sum(1)]).await.unwrap(), [Reply::Int(round)]);
        cluster.migrate(POOL);
    }
    let host = connect(watched.url()).await.unwrap();
    assert_eq!(host.eval(vec![sum(1)]).await.unwrap(), [Reply::Int(1)]);
}

#[tokio::test]
async fn a_pool_in_the_middle_of_a_move_is_away_until_it_has_arrived() {
    static BOTH: Script = Script::periodic("both", "return redis.call('EXISTS', KEYS[1], KEYS[2])");
    let both = || Call::new(&BOTH).key("agp:v1:{test}:meta").key("agp:v1:{test}:other");
    let cluster = Cluster::start(Flavour::Redis7);
    let host = host(&cluster.url()).await.unwrap();
    host.eval(vec![sum(1), Call::new(&SUM).key("agp:v1:{test}:other").arg(1)]).await.unwrap();
    let begun = cluster.begin_migration(POOL);
    assert_eq!(host.eval(vec![both()]).await.unwrap(), [Reply::Int(2)], "nothing has left yet");
    begun.send(&["agp:v1:{test}:other"]);
    let error = host.eval(vec![both()]).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error}");
    begun.send(&["agp:v1:{test}:meta"]);
    let error = host.eval(vec![both()]).await.unwrap_err();
    assert!(error.to_string().contains("moves from one node to another"), "{error}");
    begun.end();
    assert_eq!(host.eval(vec![both()]).await.unwrap(), [Reply::Int(2)]);
}

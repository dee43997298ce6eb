//! Who serves a pool: seen by all of its gateways, while they live and drain, and in the feed of events.

use antigravity_proxy::app::Running;
use antigravity_proxy::clock::Clock;
use antigravity_proxy::config::RedisConfig;
use antigravity_proxy::server::drain::Drain;
use antigravity_proxy::simulator::{Scenario, Simulator};
use antigravity_proxy::store::feed::redis::{RedisFeed, RedisFeedSize};
use antigravity_proxy::store::feed::{Feed as _, Topic};
use antigravity_proxy::store::ident::ReplicaId;
use antigravity_proxy::store::keys::Keys;
use antigravity_proxy::store::registry;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::redis_server::RedisServer;
use crate::support::replicas::{on_redis, until};
use crate::support::{Client, settings};

struct Gateway {
    running: Running,
    client: Client,
    drain: Drain,
    _data: TempDir,
}

/// A gateway on the Redis of `url`, or on a store of its own.
async fn gateway(simulator: &Simulator, url: Option<&str>) -> Gateway {
    let data = tempfile::tempdir().unwrap();
    let mut config = settings(simulator, data.path());
    if let Some(url) = url {
        on_redis(&mut config, url);
    }
    let drain = Drain::new();
    let running = Box::pin(Running::start(config, drain.clone())).await.unwrap();
    let client = Client::new(&running.listening().url);
    Gateway { running, client, drain, _data: data }
}

impl Gateway {
    async fn replicas(&self) -> Vec<Value> {
        let (status, body) = self.client.get("/api/replicas").await;
        assert_eq!(status, 200, "{body}");
        let replicas = body["replicas"].as_array().unwrap();
        let version = serde_json::json!(env!("CARGO_PKG_VERSION"));
        assert!(replicas.is_empty() || body["versions"] == serde_json::json!([version]), "{body}");
        assert_eq!(body["scriptsEqual"], true);
        replicas.clone()
    }

    async fn end(self) {
        drop(self.client);
        self.running.shutdown().await.unwrap();
    }
}

#[tokio::test]
async fn a_gateway_alone_sees_itself() {
    let simulator = Simulator::start(Scenario::default()).await.unwrap();
    let alone = gateway(&simulator, None).await;
    assert!(until(async || alone.replicas().await.len() == 1).await);
    let replica = &alone.replicas().await[0];
    assert_eq!((&replica["self"], &replica["state"]), (&true.into(), &"serving".into()));
    assert_eq!((&replica["scripts"], &replica["inFlight"]), (&registry::DIGEST.as_str().into(), &0.into()));
    assert!(!replica["host"].as_str().unwrap().is_empty());
    for name in ["startedAt", "uptimeMs", "lastSeenMs", "settingsGeneration"] {
        assert!(replica[name].as_i64().is_some_and(|number| number >= 0), "{name} in {replica}");
    }
    assert!(alone.running.gateway().metrics().contains("antigravity_proxy_replicas 1\n"));
    alone.end().await;
}

#[tokio::test]
async fn gateways_of_a_pool_see_each_other_come_drain_and_go() {
    let redis = RedisServer::start();
    let simulator = Simulator::start(Scenario::default()).await.unwrap();
    let stays = gateway(&simulator, Some(&redis.url())).await;
    let goes = gateway(&simulator, Some(&redis.url())).await;
    for gateway in [&stays, &goes] {
        assert!(until(async || gateway.replicas().await.len() == 2).await);
        let own = gateway.replicas().await.iter().filter(|replica| replica["self"] == true).count();
        assert_eq!(own, 1);
    }
    let of = async |gateway: &Gateway| {
        let replicas = gateway.replicas().await;
        replicas.into_iter().find(|replica| replica["self"] == true).unwrap()["id"].clone()
    };
    let (first, second) = (of(&stays).await, of(&goes).await);
    let state = async || {
        let replicas = stays.replicas().await;
        replicas.iter().find(|replica| replica["id"] == second).map(|replica| replica["state"].clone())
    };
    assert_eq!(state().await, Some("serving".into()));
    // A request whose body has not arrived keeps it from ending.
    let address = goes.running.listening().url.strip_prefix("http://").unwrap().to_owned();
    let mut request = TcpStream::connect(&address).await.unwrap();
    let head = format!(
        "POST /v1/messages HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\
         expect: 100-continue\r\n\r\n"
    );
    request.write_all(head.as_bytes()).await.unwrap();
    let mut go_on = [0; 12];
    request.read_exact(&mut go_on).await.unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100", "it is being read");
    goes.drain.begin();
    assert!(until(async || state().await == Some("draining".into())).await);
    drop(request);
    goes.end().await;
    assert_eq!(state().await, None, "it said goodbye");
    stays.end().await;

    let config = RedisConfig::parse(&redis.url()).unwrap();
    let (keys, reader) = (Keys::new("main").unwrap(), ReplicaId::new("reader").unwrap());
    let size = RedisFeedSize::default();
    let dropped = std::sync::Arc::new(|_, _| {});
    let (feed, _) = RedisFeed::new(&config, keys, reader, Clock::system(), size, dropped).unwrap();
    let entries = feed.recent(Topic::Events, 100).await.unwrap().entries;
    let notices: Vec<Value> =
        entries.iter().map(|entry| serde_json::from_slice(&entry.text).unwrap()).collect();
    let mut told: Vec<_> =
        notices.iter().map(|notice| (notice["kind"].as_str().unwrap(), &notice["replica"])).collect();
    told.sort_by_key(|(kind, replica)| (*kind, replica.as_str() != first.as_str()));
    let expected = [
        ("replica.joined", &first),
        ("replica.joined", &second),
        ("replica.left", &first),
        ("replica.left", &second),
    ];
    assert_eq!(told, expected, "each once");
}

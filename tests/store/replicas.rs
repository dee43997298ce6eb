//! Which replicas are alive: joining, beating, leaving, lapsing.

use antigravity_proxy::store::host::Event;
use antigravity_proxy::store::ident::{ReplicaId, Version};
use antigravity_proxy::store::ops::PoolEvent;
use antigravity_proxy::store::ops::replicas::{Announced, Announcement, LapsedReplica, ReplicaState};
use antigravity_proxy::store::registry;

use crate::harness::{Pool, T, ms, on_every_host};

pub(crate) fn replica(text: &str) -> ReplicaId {
    ReplicaId::new(text).unwrap()
}

/// A replica that has been running for a second.
pub(crate) fn announcement(id: &ReplicaId) -> Announcement<'_> {
    Announcement {
        id,
        ttl: ms(15_000),
        host: "host-1",
        uptime: ms(1000),
        in_flight: 0,
        generation: Version(0),
        state: ReplicaState::Serving,
        keys: &[],
    }
}

async fn beat(pool: &Pool, id: &str, at: i64) -> Announced {
    pool.store.at(at).announce_replica(&announcement(&replica(id))).await.unwrap()
}

async fn alive(pool: &Pool, at: i64) -> Vec<String> {
    let replicas = pool.store.at(at).list_replicas().await.unwrap().replicas;
    replicas.into_iter().map(|replica| replica.id.as_str().to_owned()).collect()
}

#[tokio::test]
pub(crate) async fn replicas_join_beat_and_leave() {
    on_every_host(async |pool: Pool| {
        assert!(alive(&pool, T).await.is_empty());
        let first = beat(&pool, "b", T).await;
        assert_eq!((first.joined, first.known, first.lapsed.len()), (true, 1, 0));
        let second = beat(&pool, "a", T + 100).await;
        assert_eq!((second.joined, second.known), (true, 2));
        let id = replica("b");
        let busy = Announcement {
            uptime: ms(6000),
            in_flight: 7,
            generation: Version(3),
            state: ReplicaState::Draining,
            keys: &["bbbbbbbb".to_owned(), "aaaaaaaa".to_owned()],
            ..announcement(&id)
        };
        let renewed = pool.store.at(T + 5003).announce_replica(&busy).await.unwrap();
        assert_eq!((renewed.joined, renewed.known), (false, 2));

        let replicas = pool.store.at(T + 6000).list_replicas().await.unwrap();
        assert_eq!(replicas.stamp.now_ms, T + 6000);
        let [a, b] = &replicas.replicas[..] else { panic!("{replicas:?}") };
        assert_eq!((a.id.as_str(), a.host.as_str(), a.started_at_ms), ("a", "host-1", T - 900));
        assert!(a.keys.is_empty());
        assert_eq!(b.keys, ["bbbbbbbb", "aaaaaaaa"]);
        assert_eq!((a.version.as_str(), a.scripts.as_str()), ("0.1.0", registry::DIGEST.as_str()));
        assert_eq!(
            (a.in_flight, a.generation, a.state, a.seen_at_ms),
            (0, Version(0), ReplicaState::Serving, T + 100)
        );
        // Its start does not move with the jitter of its beats.
        assert_eq!((b.started_at_ms, b.seen_at_ms), (T - 1000, T + 5003));
        assert_eq!((b.in_flight, b.generation, b.state), (7, Version(3), ReplicaState::Draining));

        assert!(pool.store.at(T + 6000).retire_replica(&id).await.unwrap());
        assert!(!pool.store.at(T + 6000).retire_replica(&id).await.unwrap(), "twice");
        assert_eq!(alive(&pool, T + 6000).await, ["a"]);
    })
    .await;
}

#[tokio::test]
pub(crate) async fn a_replica_is_told_when_the_list_lacks_the_key_it_seals_with() {
    on_every_host(async |pool: Pool| {
        let store = pool.store.at(T);
        let (id, ids) = (replica("a"), ["bbbbbbbb".to_owned(), "aaaaaaaa".to_owned()]);
        let listed = async |keys: &[String]| {
            store.announce_replica(&Announcement { keys, ..announcement(&id) }).await.unwrap().listed
        };
        assert!(listed(&[]).await, "it seals nothing");
        assert!(!listed(&ids).await);
        store.add_key("aaaaaaaa", "x", &ids).await.unwrap();
        assert!(!listed(&ids).await, "that is the other one");
        assert!(listed(&ids[1..]).await);
        store.add_key("bbbbbbbb", "y", &ids).await.unwrap();
        assert!(listed(&ids).await && listed(&ids[..1]).await);
        pool.lose("vault").await;
        assert!(!listed(&ids).await);
    })
    .await;
}

#[tokio::test]
pub(crate) async fn a_silent_replica_lapses_for_everybody_and_is_reported_once() {
    on_every_host(async |pool: Pool| {
        for id in ["c", "a", "b"] {
            beat(&pool, id, T).await;
        }
        beat(&pool, "b", T + 14_999).await;
        assert_eq!(alive(&pool, T + 14_999).await, ["a", "b", "c"]);
        assert_eq!(alive(&pool, T + 15_000).await, ["b"], "dead ones are not listed, swept or not");
        let swept = beat(&pool, "b", T + 15_000).await;
        let lapsed = |id| LapsedReplica { id: replica(id), host: "host-1".into() };
        assert_eq!((swept.known, swept.lapsed), (1, vec![lapsed("a"), lapsed("c")]));
        assert!(beat(&pool, "b", T + 16_000).await.lapsed.is_empty());
        assert!(!pool.store.at(T + 16_000).retire_replica(&replica("a")).await.unwrap());
        // One that was only late, or suspended, is back without having been reported.
        let back = beat(&pool, "a", T + 20_000).await;
        assert!(back.joined);
        let late = beat(&pool, "b", T + 31_000).await;
        assert!(!late.joined && late.lapsed.is_empty(), "{late:?}");
        assert_eq!(alive(&pool, T + 31_000).await, ["a", "b"]);
    })
    .await;
}

#[tokio::test]
pub(crate) async fn who_comes_and_goes_is_published() {
    on_every_host(async |pool: Pool| {
        let mut events = pool.store.subscribe();
        let channel = pool.keys.channel();
        let mut published = async || {
            let event: Event = tokio::time::timeout(ms(20_000), events.recv()).await.unwrap().unwrap();
            match PoolEvent::parse(&channel, &event) {
                Some(PoolEvent::Replica(id)) => id.as_str().to_owned(),
                other => panic!("{other:?}"),
            }
        };
        beat(&pool, "a", T).await;
        assert_eq!(published().await, "a", "joins");
        beat(&pool, "a", T + 5000).await;
        beat(&pool, "b", T + 5000).await;
        assert_eq!(published().await, "b", "a beat is no event");
        beat(&pool, "b", T + 20_000).await;
        assert_eq!(published().await, "a", "lapses; b was late only");
        pool.store.at(T + 20_000).retire_replica(&replica("b")).await.unwrap();
        assert_eq!(published().await, "b", "leaves");
    })
    .await;
}

#[tokio::test]
pub(crate) async fn replicas_of_a_later_layout_are_read_too() {
    on_every_host(async |pool: Pool| {
        let later = [
            "2",
            &(T + 9000).to_string(),
            "9.0",
            "feed",
            "h",
            &T.to_string(),
            "1",
            "2",
            "serving",
            &T.to_string(),
            "new",
        ];
        pool.put_field("replicas", "n", later.join("\u{1f}").as_bytes()).await;
        assert_eq!(beat(&pool, "a", T).await.known, 2);
        let replicas = pool.store.at(T).list_replicas().await.unwrap().replicas;
        assert_eq!((replicas[1].version.as_str(), replicas[1].scripts.as_str()), ("9.0", "feed"));
        assert_eq!(beat(&pool, "a", T + 9000).await.lapsed.len(), 1);
    })
    .await;
}

#[tokio::test]
pub(crate) async fn a_host_name_that_would_break_the_record_is_refused() {
    let pool = Pool::new(std::sync::Arc::new(crate::harness::embedded()));
    let id = replica("a");
    let odd = Announcement { host: "a\u{1f}b", ..announcement(&id) };
    assert!(pool.store.announce_replica(&odd).await.is_err());
}

//! What a request costs at the store, seen on the wire.

use antigravity_proxy::simulator::Scenario;
use serde_json::json;

use crate::fault_proxy::FaultProxy;
use crate::redis_server::RedisServer;
use crate::support::replicas::{carry_on, until};
use crate::support::{GEMINI, Replicas, ask};

/// What a gateway asks for by itself, and the connection's own commands.
const BACKGROUND: &[&str] = &[
    "heartbeat",
    "announce_replica",
    "list_replicas",
    "get_settings",
    "list_clients",
    "touch_clients",
    "get_models",
    "put_models",
    "put_quota",
    "list_accounts",
    "count_accounts",
    "try_lock",
    "unlock",
    "PING",
    "HELLO",
    "CLIENT",
    "SUBSCRIBE",
    "SSUBSCRIBE",
    "INFO",
    "SCRIPT",
];

/// Admission and recall of signatures are one turn; nothing else is asked before the upstream is called, and the
/// rest comes after it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_turn_before_the_upstream_is_called() {
    let redis = RedisServer::start();
    let proxy = FaultProxy::start(redis.address()).await;
    let replicas = Replicas::start(Scenario::default(), &[proxy.url()]).await;
    // The first request may still have to learn the list of models.
    assert_eq!(replicas.client(0).send(&ask(GEMINI, "hello", true)).await.status, 200);
    assert!(until(async || replicas.in_flight(0).await == 0).await);
    // Holds every answer until what was asked before it has been looked at.
    replicas.fault(&json!({}), &json!({"delay_ms": 2_000}));

    for stream in [true, false] {
        let mut body = ask(GEMINI, "call 2 tools one after another", stream);
        for turn in 0..3 {
            let calls = replicas.model_calls().len();
            proxy.forget();
            let before = async {
                assert!(until(async || replicas.model_calls().len() > calls).await, "the upstream is called");
                proxy.turns_without(BACKGROUND)
            };
            let (answer, before) = tokio::join!(replicas.client(0).send(&body), before);
            assert_eq!(answer.status, 200, "{}", answer.body);
            let expected = if turn == 0 { vec!["admit"] } else { vec!["admit", "get_signatures"] };
            assert_eq!(before, [expected], "stream: {stream}, turn {turn}");
            let settled =
                until(async || proxy.turns_without(BACKGROUND).concat().contains(&"settle".to_owned()));
            assert!(settled.await, "{:?}", proxy.turns());
            let after = proxy.turns_without(BACKGROUND)[1..].concat();
            assert!(after.iter().all(|name| name == "settle" || name == "put_signatures"), "{after:?}");
            assert_eq!(after.iter().filter(|name| *name == "settle").count(), 1, "{after:?}");
            assert_eq!(carry_on(&mut body, &answer, "done"), turn < 2, "{}", answer.body);
        }
    }
    replicas.settled().await;
    replicas.shutdown().await;
}

//! SIGTERM while answers are streamed.

use std::time::Duration;

use antigravity_proxy::clock::Clock;
use serde_json::json;
use tokio::net::TcpStream;

use crate::gateway::{Home, SOON, until};
use crate::http;
use crate::simulator::Simulator;
use crate::stream::Stream;

async fn refused(url: &str) -> bool {
    TcpStream::connect(http::split(url).0).await.is_err()
}

async fn pool(simulator: &Simulator, home: &Home) {
    home.succeed(&["accounts", "import", "-"], simulator.accounts.to_string().as_bytes()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_fails_probes_then_refuses_connections_and_lets_streams_finish() {
    const DELAY: Duration = Duration::from_millis(1500);
    let simulator = Simulator::with_accounts(1).await;
    let paced = json!({"mode": "paced", "interval_ms": 100, "chunk_chars": 8});
    simulator.rule(&json!({"when": {"text": "slowly"}, "then": {"delivery": paced}})).await;
    let home = Home::with(&simulator).file(&json!({"drainDelayMs": 1500}));
    pool(&simulator, &home).await;
    let mut gateway = home.start().await;
    let ready = async |url: &str| http::get(&format!("{url}/readyz")).await;
    assert_eq!(ready(&gateway.url).await.status, 200);
    // About 60 pieces, 6 s: well beyond the delay.
    let stream = Stream::open(&gateway, "slowly write 80 words").await;

    let clock = Clock::system();
    let signalled = clock.instant();
    gateway.terminate().await;
    until("the probe fails", async || ready(&gateway.url).await.status == 503).await;
    let noticed = clock.instant().duration_since(signalled);
    assert!(noticed < DELAY / 2, "the probe failed after {noticed:?}");
    let answer = ready(&gateway.metrics_url).await;
    assert_eq!((answer.status, &answer.json()["checks"]["accepting"]), (503, &json!(false)));
    assert_eq!(http::get(&format!("{}/livez", gateway.url)).await.status, 200);
    // Within the delay the whole service is there for those who have not noticed yet.
    let late = gateway.ask("reply with exactly: late").await;
    assert_eq!(late.status, 200, "{}", late.text());

    until("connections are refused", async || refused(&gateway.url).await).await;
    let closed = clock.instant().duration_since(signalled);
    assert!(closed >= DELAY, "refused after {closed:?} already");
    assert!(gateway.runs(), "the stream is still open");
    assert_eq!(ready(&gateway.metrics_url).await.status, 503);

    let text = stream.read_out().await;
    assert!(text.contains("event: message_stop"), "{text}");
    assert!(text.contains("\r\n0\r\n\r\n"), "the framing has its end: {text}");
    assert_eq!(gateway.ended(SOON).await.code(), Some(0), "{}", gateway.log.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_cuts_what_is_open() {
    let simulator = Simulator::with_accounts(1).await;
    simulator.rule(&json!({"when": {"text": "for ever"}, "then": {"stall_after": 1}})).await;
    let home = Home::with(&simulator);
    pool(&simulator, &home).await;
    let mut gateway = home.start().await;
    let stream = Stream::open(&gateway, "write 80 words for ever").await;
    gateway.terminate().await;
    until("connections are refused", async || refused(&gateway.url).await).await;
    assert!(gateway.runs(), "one signal waits");
    gateway.terminate().await;
    assert_eq!(gateway.ended(SOON).await.code(), Some(0), "{}", gateway.log.text());
    let text = stream.read_out().await;
    assert!(!text.contains("message_stop"), "{text}");
    until("the upstream's connection is closed", async || {
        let counts = http::get(&format!("{}/sim/connections", simulator.url)).await.json();
        counts["disconnects"].as_u64().is_some_and(|count| count > 0)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_grace_ends_by_itself() {
    let simulator = Simulator::with_accounts(1).await;
    simulator.rule(&json!({"when": {"text": "for ever"}, "then": {"stall_after": 1}})).await;
    let home = Home::with(&simulator).file(&json!({"shutdownGraceMs": 300}));
    pool(&simulator, &home).await;
    let mut gateway = home.start().await;
    let stream = Stream::open(&gateway, "write 80 words for ever").await;
    gateway.terminate().await;
    assert_eq!(gateway.ended(SOON).await.code(), Some(0), "{}", gateway.log.text());
    assert!(!stream.read_out().await.contains("message_stop"));
    // What was going on is settled or lapses; the account is as good as before.
    let gateway = home.start().await;
    let answer = gateway.ask("reply with exactly: again").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}
